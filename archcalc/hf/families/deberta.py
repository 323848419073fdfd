"""DeBERTa and its second version, which v3 shares: BERT with relative positions in attention."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, final

import msgspec

from archcalc.hf.config import COUNT, TEXT, Config, ValueType
from archcalc.hf.families.bert_like import BERT
from archcalc.hf.family import Family, derive, row_builder
from archcalc.hf.lens import Cases, ConfigDraft, ConfigLens, Constraint, ImpliedValue, Key, MismatchError, read, write
from archcalc.hf.templates.bert_like import EMBEDDING_NAMES, LAYER_NAMES, HeadNames, bert_like
from archcalc.hf.tensors import TensorEntry
from archcalc.hf.vocabulary import QKV, activation, biases, flag, layernorm, layers, size

TERMS = ("c2p", "p2c")
NORM = layernorm(1e-7, "layer_norm_eps")
RELATIVE = flag("relative_attention", False)
_NUMBER = ValueType(lambda value: type(value) is int and value >= -1, "an integer from -1")
_ODD = ValueType(
    lambda value: type(value) is int and (value % 2 == 1 or not value) and value >= 0, "0, or an odd number"
)
_WORDS = ValueType(lambda value: isinstance(value, str | list), "a list of c2p and p2c")


@final
class Distances(ConfigLens, msgspec.Struct, frozen=True):
    """The relative positions of attention; None if it has none. `fixed` are the fields that no key decides.

    `buckets`, `shared` and `norms` are keys of DeBERTa-v2 alone.
    """

    n_ctx: Key
    fixed: dict[str, Any]
    buckets: Key | None = None
    shared: Key | None = None
    norms: Key | None = None
    furthest: Key = Key("max_relative_positions", _NUMBER, -1)
    terms: Key = Key("pos_att_type", _WORDS, None, null=None)

    def names(self) -> Iterator[str]:
        """Yield all keys."""
        for key in (RELATIVE, self.furthest, self.terms, self.buckets, self.shared, self.norms):
            if key is not None:
                yield from key.names()

    def read(self, config: Config) -> dict[str, Any] | None:
        """Return the relative positions. Raises InputError for an unknown product of contents and positions."""
        terms = self._terms(config)
        if not RELATIVE.read(config):
            if terms:
                raise config.error(self.terms.name, terms, "null, without relative_attention")
            return None
        stated, n_ctx = self.furthest.read(config), self.n_ctx.read(config)
        furthest = stated if stated > 0 else n_ctx
        buckets = self.buckets.read(config) if self.buckets else -1
        return {
            "kind": "disentangled",
            "n_distances": buckets if buckets > 0 else furthest,
            "max_distance": furthest if buckets > 0 else None,
            "content_to_position": "c2p" in terms,
            "position_to_content": "p2c" in terms,
            "shares_projections": bool(self.shared and self.shared.read(config)),
            "norm": read(NORM, config) if self._has_norm(config) else None,
            **self.fixed,
        }

    def _terms(self, config: Config) -> list[str]:
        """Return the names of the products."""
        stated = self.terms.read(config) or []
        words = [word.strip() for word in stated.lower().split("|")] if isinstance(stated, str) else stated
        if len(set(map(str, words))) < len(words) or not all(word in TERMS for word in words):
            raise config.error(self.terms.name, stated, "c2p and p2c, each once")
        return list(words)

    def _has_norm(self, config: Config) -> bool:
        if self.norms is None:
            return False
        words = [word.strip() for word in self.norms.read(config).lower().split("|")]
        if not set(words) <= {"none", "layer_norm"}:
            raise config.error(self.norms.name, self.norms.read(config), "none, layer_norm")
        return "layer_norm" in words

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the keys. Raises MismatchError for relative positions that none express."""
        draft.put(RELATIVE.name, value is not None)
        if value is None:
            return
        if value["kind"] != "disentangled" or any(value[field] != fixed for field, fixed in self.fixed.items()):
            raise MismatchError
        draft.put(self.furthest.name, value["max_distance"] or value["n_distances"])
        named = zip(("content_to_position", "position_to_content"), TERMS, strict=True)
        draft.put(self.terms.name, [term for field, term in named if value[field]])
        if self.buckets and self.shared and self.norms:
            draft.put(self.buckets.name, value["n_distances"] if value["max_distance"] else -1)
            draft.put(self.shared.name, value["shares_projections"])
            draft.put(self.norms.name, "layer_norm" if value["norm"] else "none")
            if value["norm"]:
                write(NORM, value["norm"], draft)
        elif value["max_distance"] or value["shares_projections"] or value["norm"]:
            raise MismatchError


@final
class PoolerActivation(ConfigLens, msgspec.Struct, frozen=True):
    """The activation of a pooler, which must be as wide as the model."""

    width: Key

    def names(self) -> Iterator[str]:
        """Yield the keys of the activation and of the width."""
        yield from ("pooler_hidden_act", "pooler_hidden_size")

    def read(self, config: Config) -> Any:
        """Return the activation. Raises InputError for a pooler of another width."""
        width = self.width.read(config)
        if config.data.get("pooler_hidden_size", width) != width:
            raise config.error("pooler_hidden_size", config.data["pooler_hidden_size"], f"{width}, as hidden_size")
        return read(activation("gelu", "pooler_hidden_act"), config)

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the activation and the width."""
        write(activation("gelu", "pooler_hidden_act"), value, draft)
        draft.put("pooler_hidden_size", draft[self.width.name])


@row_builder
def deberta_like(model_type: str, *classes: str, **switches: Any) -> Family:
    """Return a family with two heads: that of older configs, and one whose matrix is always the token table."""
    constraints = switches.pop("constraints")
    older = bert_like(
        model_type, *classes, **switches, constraints=(*constraints, Constraint("legacy", (True,)))
    ).family
    newer = bert_like(
        model_type,
        *classes,
        **switches
        | {
            "head_names": NEWER_HEAD,
            "tied": True,
            "fixed_keys": {"legacy": False},
            "constraints": (*constraints, Constraint("legacy", (False,))),
            "irrelevant": f"{switches['irrelevant']} tie_word_embeddings",
            "stored_names": {},
        },
    ).family
    is_newer = msgspec.structs.replace(newer, when=lambda data: data.get("legacy") is False)
    return msgspec.structs.replace(older, forms=(is_newer,))


NEWER_HEAD = HeadNames(
    decoder="lm_predictions.lm_head.decoder",
    bias="lm_predictions.lm_head.bias",
    transform="lm_predictions.lm_head.dense",
    norm="lm_predictions.lm_head.LayerNorm",
)
OLDER_HEAD = HeadNames(
    decoder="cls.predictions.decoder",
    bias="cls.predictions.bias",
    has_decoder_bias=True,
    transform="cls.predictions.transform.dense",
    norm="cls.predictions.transform.LayerNorm",
)
NAMES = EMBEDDING_NAMES | LAYER_NAMES | {"distances": "{root}.encoder.rel_embeddings"}
SELF = "{root}.encoder.layer.{i}.attention.self"
V1_SELF = "deberta.encoder.layer.{i}.attention.self"
N_CTX = size("max_position_embeddings", 512)


def as_wide(width: Key, n_heads: Key) -> tuple[Constraint, ...]:
    """Return the constraints on widths that must follow from the model's."""
    return (
        Constraint("embedding_size", (None, ImpliedValue(width.read))),
        Constraint(
            "attention_head_size", (None, ImpliedValue(lambda config: width.read(config) // n_heads.read(config)))
        ),
    )


COMMON: dict[str, Any] = {
    "root": "deberta",
    "n_ctx": N_CTX,
    "norm": NORM,
    "n_types": Key("type_vocab_size", COUNT, 0),
    "positions": Cases(flag("position_biased_input", True), {True: {"kind": "learned"}, False: None}),
    "pooler": None,
    "causal_key": None,
    "head_names": OLDER_HEAD,
    # Published files have the newer head's names, whatever the config says.
    "stored_names": {
        r"^lm_predictions\.lm_head\.dense\.": "cls.predictions.transform.dense.",
        r"^lm_predictions\.lm_head\.LayerNorm\.": "cls.predictions.transform.LayerNorm.",
        r"^lm_predictions\.lm_head\.bias": "cls.predictions.bias",
    },
    "unused": {
        r"mask_predictions\..*": "the head of replaced-token detection, which the masked-LM class does not have",
        r"deberta\.embeddings\.position_embeddings\..*": "absolute positions, which the config leaves out",
    },
    "irrelevant": "cls_dropout pooler_dropout pooler_hidden_act pooler_hidden_size",
}
_BERT = {**BERT.switches, **COMMON, "gguf": None}
WIDTH, HEADS = size("hidden_size", 768), size("num_attention_heads", 12)
DEBERTA = deberta_like(
    "deberta",
    "DebertaForMaskedLM",
    **_BERT
    | {
        "vocab_size": size("vocab_size", 50265),
        "classifier": PoolerActivation(WIDTH),
        "entries": (
            TensorEntry(f"{V1_SELF}.in_proj.weight", tuple(f"{part}.weight" for part in QKV), order="by_head"),
            *(TensorEntry(f"{V1_SELF}.{name}_bias", (f"layers.{{i}}.attn.{name}.bias",)) for name in "qv"),
        ),
        "names": {ours: name for ours, name in NAMES.items() if not ours.endswith((".attn.q", ".attn.k", ".attn.v"))}
        | {"layers.{i}.attn.relative.k": f"{SELF}.pos_proj", "layers.{i}.attn.relative.q": f"{SELF}.pos_q_proj"},
        "attention": biases(True)
        | {"k_bias": False, "position": Distances(N_CTX, {"rows": "near", "key_bias": False, "query_bias": True})},
        "constraints": (*as_wide(WIDTH, HEADS), Constraint("talking_head", (False,))),
    },
)
V2_WIDTH, V2_HEADS = size("hidden_size", 1536), size("num_attention_heads", 24)
DEBERTA_V2 = derive(
    DEBERTA,
    "deberta-v2",
    "DebertaV2ForMaskedLM",
    vocab_size=size("vocab_size", 128100),
    d_model=V2_WIDTH,
    n_layers=layers(24),
    n_heads=V2_HEADS,
    classifier=PoolerActivation(V2_WIDTH),
    entries=(),
    d_ff=size("intermediate_size", 6144),
    names=NAMES
    | {
        "distances.norm": "{root}.encoder.LayerNorm",
        "layers.0.mixer.conv": "{root}.encoder.conv.conv",
        "layers.0.mixer_norm": "{root}.encoder.conv.LayerNorm",
        "layers.{i}.attn.q": f"{SELF}.query_proj",
        "layers.{i}.attn.k": f"{SELF}.key_proj",
        "layers.{i}.attn.v": f"{SELF}.value_proj",
        "layers.{i}.attn.relative.k": f"{SELF}.pos_key_proj",
        "layers.{i}.attn.relative.q": f"{SELF}.pos_query_proj",
    },
    attention=biases(True)
    | {
        "position": Distances(
            N_CTX,
            {"rows": "all", "key_bias": True, "query_bias": True},
            buckets=Key("position_buckets", _NUMBER, -1, null=-1),
            shared=flag("share_att_key", False),
            norms=Key("norm_rel_ebd", TEXT, "none"),
        )
    },
    conv=(Key("conv_kernel_size", _ODD, 0), activation("tanh", "conv_act")),
    constraints=(*as_wide(V2_WIDTH, V2_HEADS), Constraint("conv_groups", (1,))),
)

FAMILIES = (DEBERTA, DEBERTA_V2)
