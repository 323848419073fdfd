"""X-MOD: RoBERTa with an adapter for each language after every feed-forward."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, final

import msgspec

from archcalc.hf.config import SIZE, TEXT, WORDS, Config
from archcalc.hf.families.bert_like import ROBERTA
from archcalc.hf.family import Family, row_builder
from archcalc.hf.lens import Cases, ConfigDraft, ConfigLens, Key, MismatchError, Template, write
from archcalc.hf.templates.bert_like import EMBEDDING_NAMES, LAYER_NAMES, bert_like
from archcalc.hf.tensors import TensorEntry, TensorMap, modules
from archcalc.hf.vocabulary import activation, flag, size

WIDTH = size("hidden_size", 768)
ACTIVATION = activation("gelu")
LANGUAGES = Key("languages", WORDS, ("en_XX",))
DEFAULT = Key("default_language", TEXT, None, null=None)
# Without a default language, the class does not run.
RUNS = {DEFAULT.name: "en_XX"}
FACTOR = Key("adapter_reduction_factor", SIZE, 2)


@final
class LanguageAdapters(ConfigLens, msgspec.Struct, frozen=True):
    """An adapter for each language; that of the default language is computed, or the first."""

    def names(self) -> Iterator[str]:
        """Yield all keys."""
        for key in (LANGUAGES, DEFAULT, FACTOR, ACTIVATION):
            yield from key.names()

    def read(self, config: Config) -> dict[str, Any]:
        """Return the adapters. Raises InputError for a default language that is not in the list."""
        languages, default = self.languages(config), DEFAULT.read(config)
        if default is not None and default not in languages:
            raise config.error(DEFAULT.name, default, ", ".join(languages))
        factor, width = FACTOR.read(config), WIDTH.read(config)
        if factor > width:
            raise config.error(FACTOR.name, factor, f"at most hidden_size, {width}")
        return {
            "kind": "adapters",
            "n_adapters": len(languages),
            "d_adapter": width // factor,
            "activation": ACTIVATION.read(config),
            "active": 0 if default is None else languages.index(default),
        }

    @staticmethod
    def languages(config: Config) -> list[str]:
        """Return the languages. Raises InputError if there are none, or one is there twice."""
        languages = list(LANGUAGES.read(config))
        if not languages or len(set(languages)) < len(languages):
            raise config.error(LANGUAGES.name, languages, "a language at least, each once")
        return languages

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the keys; languages have numbers for names. Raises MismatchError for other parts and widths."""
        if value["kind"] != "adapters" or not value["bias"]:
            raise MismatchError
        languages = [f"language_{i}" for i in range(value["n_adapters"])]
        draft.put(LANGUAGES.name, languages)
        draft.put(DEFAULT.name, languages[value["active"]])
        factor = max(1, draft[WIDTH.name] // value["d_adapter"])
        if draft[WIDTH.name] // factor != value["d_adapter"]:
            raise MismatchError(FACTOR.name)
        draft.put(FACTOR.name, factor)
        write(ACTIVATION, value["activation"], draft)


class Norms(msgspec.Struct, frozen=True):
    """Where a class has norms: before its parts, and before the adapters, with their own weights or the layer's.

    `inside`: the adapter's output is added to what its norm gives, else to what it reads.
    """

    before: bool
    own: bool
    reused: bool
    inside: bool

    @property
    def adapter_norm(self) -> str:
        """Return the module of the norm before the adapters; empty if there is none."""
        return "adapter_layer_norm" if self.own else "LayerNorm" if self.reused else ""

    def modules(self) -> dict[str, str]:
        """Return the module of each norm of the feed-forward's and the adapters' branches, by its place."""
        places = {"ffn.norm_in": "LayerNorm"} if self.before else {}
        if self.adapter_norm:
            places["ffn.norm_after" if self.inside else "adapter.norm_in"] = self.adapter_norm
        return places if self.before else {**places, "adapter.norm_after": "LayerNorm"}


NORM_KEYS = (
    flag("pre_norm", False),
    flag("adapter_layer_norm", False),
    flag("adapter_reuse_layer_norm", True),
    flag("ln_before_adapter", True),
)


@final
class NormFlags(ConfigLens, msgspec.Struct, frozen=True):
    """The keys that decide about norms, together."""

    def names(self) -> Iterator[str]:
        """Yield the keys."""
        yield from (key.name for key in NORM_KEYS)

    def read(self, config: Config) -> Norms:
        """Return the places of norms."""
        return Norms(*(key.read(config) for key in NORM_KEYS))

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the keys."""
        for key, flag_value in zip(NORM_KEYS, msgspec.structs.astuple(value), strict=True):
            draft.put(key.name, flag_value)


FLAGS = NormFlags()
EVERY = [Norms(*(bool(bits >> i & 1) for i in range(4))) for bits in range(16)]


def with_adapters(layer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the branches of a layer whose feed-forward is followed by adapters."""
    parts = {"attn": layer["attention"], "ffn": layer["ffn"], "adapter": LanguageAdapters()}
    return {"branches": Cases(FLAGS, {norms: _branches(parts, layer["norm"], norms) for norms in EVERY})}


def _branches(parts: Mapping[str, Template], norm: Template, norms: Norms) -> tuple[dict[str, Any], ...]:
    # All fields are stated, so that no other case fits.
    fields = {name: dict[str, Any].fromkeys(("norm_in", "norm_after", "norm_of")) for name in parts}
    fields["attn"]["norm_in" if norms.before else "norm_after"] = norm
    holders: dict[str, str] = {}
    for place, module in norms.modules().items():
        branch, field = place.split(".")
        fields[branch][field] = norm
        if module in holders:
            fields[branch]["norm_of"] = holders[module]
        holders.setdefault(module, branch)
    return tuple({"arms": ({"name": name, "part": part},), **fields[name]} for name, part in parts.items())


def norm_names(norms: Norms) -> dict[str, str]:
    """Return the module of each norm that holds weights, by its canonical name."""
    found: dict[str, str] = {}
    for place, module in norms.modules().items():
        branch, field = place.split(".")
        is_second = field == "norm_after" and f"{branch}.norm_in" in norms.modules()
        found.setdefault(module, f"{branch}_after_norm" if is_second else f"{branch}_norm")
    return {name: module for module, name in found.items()}


OUTPUT = "roberta.encoder.layer.{i}.output"


def _with_languages(family: Family) -> Family:
    """Return the family with the tensors of a config's languages."""

    def tensors(config: Config) -> TensorMap:
        languages = tuple(LanguageAdapters.languages(config))
        adapters = tuple(
            TensorEntry(
                f"{OUTPUT}.adapter_modules.{{e}}.{theirs}.{kind}",
                (f"layers.{{i}}.adapter.experts.{ours}.{kind}",),
                row_names=languages,
            )
            for ours, theirs in (("up", "dense1"), ("down", "dense2"))
            for kind in ("weight", "bias")
        )
        norms = modules(norm_names(FLAGS.read(config)), "layers.{i}.", f"{OUTPUT}.")
        return msgspec.structs.replace(family.tensors, entries=(*adapters, *norms, *family.tensors.entries))

    return msgspec.structs.replace(family, tensors_of=tensors)


@row_builder
def xmod_like(model_type: str, *classes: str, **switches: Any) -> Family:
    """Return RoBERTa's family with adapters."""
    family = _with_languages(bert_like(model_type, *classes, **switches).family)
    return msgspec.structs.replace(family, forms=tuple(map(_with_languages, family.forms)), small=RUNS)


XMOD = xmod_like(
    "xmod",
    "XmodForMaskedLM",
    "XmodForCausalLM",
    **dict(ROBERTA.switches)
    | {
        "vocab_size": size("vocab_size", 30522),
        "d_model": WIDTH,
        "activation": ACTIVATION,
        "layer": with_adapters,
        "ffn": {"kind": "plain", "bias": True},
        "final_norm": NORM_KEYS[0],
        "fixed_keys": RUNS,
        "names": EMBEDDING_NAMES | LAYER_NAMES | {"final_norm": "{root}.encoder.LayerNorm"},
    },
)

FAMILIES = (XMOD,)
