"""Rotary positions: `rope_parameters`, or the older `rope_theta` with `rope_scaling`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, final

import msgspec

from archcalc.errors import nearest
from archcalc.hf.config import AMOUNT, FACTORS, FLAG, MAPPING, POSITIVE, SHARE, SIZE, Config
from archcalc.hf.lens import ConfigDraft, Key, Lens, MismatchError, read, write

if TYPE_CHECKING:
    from archcalc.spec.document import Document

CONTEXT = Key("max_position_embeddings", SIZE)

_FACTOR = Key("factor", POSITIVE)
_CONTEXT_BEFORE = "original_max_position_embeddings"

# Where a scaling finds the model's context beside its own keys.
_CONTEXT_NOW = "(context)"


def _stretch(config: Config) -> float:
    """How much longer the context is than before."""
    return float(config.data[_CONTEXT_NOW] / config.get(_CONTEXT_BEFORE, SIZE))


# Our fields of each scaling, and the keys they stand under. None: no scaling at all.
_SCALINGS: dict[str, Document | None] = {
    "default": None,
    # Goes by the context that the model has, whatever is said of one before it.
    "dynamic": {"kind": "dynamic", "factor": _FACTOR, "n_ctx_original": Key(_CONTEXT_NOW, SIZE)},
    "linear": {"kind": "linear", "factor": _FACTOR},
    "llama3": {
        "kind": "llama3",
        "factor": _FACTOR,
        "low_freq_factor": Key("low_freq_factor", POSITIVE),
        "high_freq_factor": Key("high_freq_factor", POSITIVE),
        "n_ctx_original": Key(_CONTEXT_BEFORE, SIZE),
    },
    "yarn": {
        "kind": "yarn",
        "factor": _FACTOR,
        "n_ctx_original": Key(_CONTEXT_BEFORE, SIZE),
        "beta_fast": Key("beta_fast", POSITIVE, 32.0, null=32.0),
        "beta_slow": Key("beta_slow", POSITIVE, 1.0, null=1.0),
        "attention_factor": Key("attention_factor", POSITIVE, None, null=None),
        "mscale": Key("mscale", POSITIVE, None, null=None),
        "mscale_all_dim": Key("mscale_all_dim", POSITIVE, None, null=None),
        "truncate": Key("truncate", FLAG, True),
    },
    "longrope": {
        "kind": "longrope",
        "factor": Key("factor", POSITIVE, _stretch, null=_stretch),
        "short": Key("short_factor", FACTORS),
        "long": Key("long_factor", FACTORS),
        "n_ctx_original": Key(_CONTEXT_BEFORE, SIZE),
        "attention_factor": Key("attention_factor", POSITIVE, None, null=None),
    },
}
# PhiMoE says what cos and sin are scaled by, for short texts and for long ones.
MSCALES: dict[str, Document | None] = {
    "default": None,
    "longrope": {
        **(_SCALINGS["longrope"] or {}),
        "attention_factor": Key("short_mscale", POSITIVE),
        "long_attention_factor": Key("long_mscale", POSITIVE),
    },
}
_ALWAYS = {"rope_type", "type", "rope_theta", "partial_rotary_factor"}
# Kept by some configs beside scalings that do not use them.
_UNUSED = frozenset({_CONTEXT_BEFORE, "factor", "finetuned"})


@final
class RopeLens(Lens, msgspec.Struct, frozen=True):
    """The `position` of an attention with rotary embedding.

    `theta` is the class's default. `share` is the key of the part of each head's width that is turned, where the class
    has one; its default stands in `shared`, and `width` gives the head's width. `default` is what the class takes where
    nothing is said. `n_ctx` is the key of the context, from which a scaling may take the one before it. `kind` is the
    word of the layers whose parameters stand under it, where each kind of layer has its own; `base` is None where the
    theta stands nowhere else. `scalings`: the fields of each scaling that the class has. `widens`: where the part that
    is turned is odd, the class turns one dimension more, at the frequencies of the odd width. `beside`: keys that stand
    among the rotation's, and that others read, or nobody.
    """

    theta: float = 10_000.0
    interleaved: bool | Lens = False
    default: Document | None = None
    n_ctx: Key = CONTEXT
    share_key: str = "partial_rotary_factor"
    default_share: float | Callable[[Config], float] = 1.0
    width: Callable[[Config], int] | None = None
    theta_key: str | None = "rope_theta"
    kind: str = ""
    scalings: Mapping[str, Document | None] = msgspec.field(default_factory=lambda: _SCALINGS)
    rounds_up: bool = False
    extra_keys: frozenset[str] = frozenset()

    def names(self) -> Iterator[str]:
        """Both spellings' keys."""
        yield from ("rope_parameters", "rope_scaling", _CONTEXT_BEFORE, self.share_key, *filter(None, [self.theta_key]))
        if isinstance(self.interleaved, Lens):
            yield from self.interleaved.names()

    def read(self, config: Config) -> Document:
        """A position of kind rope."""
        stated = self.stated(config)
        kind = self._kind(stated)
        position = {"kind": "rope", "theta": self._theta(config, stated), "interleaved": read(self.interleaved, config)}
        if kind is not None:
            position["scaling"] = read(kind, Config({**stated.data, **self._contexts(config, stated)}, stated.path))
        share_key = self._share(config, stated)
        if self.width is not None and share_key != 1.0:
            position["d_rotary"] = width = int(self.width(config) * share_key)
            if width % 2 and self.rounds_up and kind is None:
                position |= {"d_rotary": width + 1, "theta": position["theta"] ** ((width + 1) / width)}
        elif share_key != 1.0 and kind is not None:
            # A class that has no partial rotation ignores the share, but for scalings, which then do not fit its heads.
            inside = "partial_rotary_factor" in stated.data
            holder, name = (stated, "partial_rotary_factor") if inside else (config, self.share_key)
            raise holder.error(name, share_key, "1.0, which rotates the whole head")
        return position

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """`rope_parameters`, the newer spelling."""
        if not isinstance(value, dict) or value.get("kind") != "rope":
            raise MismatchError
        parameters = ConfigDraft(rope_theta=value["theta"])
        rope_type, kind = self._written(value.get("scaling"))
        parameters["rope_type"] = rope_type
        if kind is not None:
            write(kind, value["scaling"], parameters)
        if self.width is not None:
            parameters["partial_rotary_factor"] = _share_of(value["d_rotary"], self.width(Config(draft)))
        write(self.interleaved, value["interleaved"], draft)
        parameters.pop(_CONTEXT_NOW, None)  # reading back shows whether it is the model's
        self._put(draft, {name: item for name, item in parameters.items() if item is not None})

    def _contexts(self, config: Config, stated: Config) -> Document:
        """The model's context and the one before it: beside the rotation's keys, among them, or the same."""
        now = self.n_ctx.read(config)
        inside = stated.data.get(_CONTEXT_BEFORE, now)
        return {_CONTEXT_NOW: now, _CONTEXT_BEFORE: Key(_CONTEXT_BEFORE, SIZE, inside, null=inside).read(config)}

    def _put(self, draft: ConfigDraft, parameters: Document) -> None:
        """Beside those of the other kinds of layers, or alone."""
        if not self.kind:
            draft.put("rope_parameters", parameters)
            return
        others = draft.get("rope_parameters", {})
        if others.get(self.kind, parameters) != parameters:
            raise MismatchError
        draft["rope_parameters"] = {**others, self.kind: parameters}

    def stated(self, config: Config) -> Config:
        """Return the mapping that speaks of rotary positions, by whichever name; transformers prefers the older."""
        if self.kind:
            return self._of_kind(config)
        for name in ("rope_scaling", "rope_parameters"):
            if config.data.get(name) is not None and (found := config.get(name, MAPPING)):
                return config.nested(found, config.where(name))
        return config.nested(dict(self.default or {}), "rope_parameters")

    def _of_kind(self, config: Config) -> Config:
        """The mapping of this kind of layers; the older `rope_scaling` speaks of the global ones alone."""
        stated = config.nested(Key("rope_parameters", MAPPING, {}, null={}).read(config), "rope_parameters")
        stated.ignore_but(("full_attention", "sliding_attention"))
        of_kind = Key(self.kind, MAPPING, {}, null={}).read(stated)
        older = Key("rope_scaling", MAPPING, {}, null={}).read(config) if self.kind == "full_attention" else {}
        return config.nested(of_kind | older, "rope_scaling" if older else stated.where(self.kind))

    def _kind(self, stated: Config) -> Document | None:
        """The template of the scaling that is stated. Raises InputError for one that we cannot express."""
        name = next((name for name in ("rope_type", "type") if stated.data.get(name) is not None), None)
        rope_type = stated.data[name] if name else "default"
        if not isinstance(rope_type, str) or rope_type not in self.scalings:
            hint = nearest(rope_type, self.scalings) if isinstance(rope_type, str) else ""
            raise stated.error(name or "rope_type", rope_type, ", ".join(self.scalings), hint)
        kind = self.scalings[rope_type]
        known = {key.name for key in (kind or {}).values() if isinstance(key, Key)}
        stated.ignore_but(_ALWAYS | known | _UNUSED | self.extra_keys)
        return kind

    def stated_theta(self, config: Config) -> float:
        """Return the theta that is stated, or the class's."""
        return self._theta(config, self.stated(config))

    def context_before(self, config: Config) -> int:
        """Return the context before the scaling's stretch."""
        return int(self._contexts(config, self.stated(config))[_CONTEXT_BEFORE])

    def _theta(self, config: Config, stated: Config) -> float:
        outside = (
            Key(self.theta_key, POSITIVE, self.theta, null=self.theta).read(config) if self.theta_key else self.theta
        )
        return float(Key("rope_theta", POSITIVE, outside, null=outside).read(stated))

    def _share(self, config: Config, stated: Config) -> float:
        outside = Key(self.share_key, SHARE, self.default_share, null=self.default_share).read(config)
        return float(Key("partial_rotary_factor", SHARE, outside, null=outside).read(stated))

    def _written(self, scaling: Document | None) -> tuple[str, Document | None]:
        if scaling is None:
            return "default", None
        return scaling["kind"], self.scalings.get(scaling["kind"])


@final
class LayerTheta(Lens, msgspec.Struct, frozen=True):
    """A rotary position whose theta is the layer's own, if one is said; a theta of 0 is no position (Granite)."""

    rope: RopeLens
    key: Key = Key("layer_rope_theta", AMOUNT, None, null=None)

    def names(self) -> Iterator[str]:
        """Those of both."""
        yield from (*self.rope.names(), *self.key.names())

    def read(self, config: Config) -> Document | None:
        """The position with its own theta, or None."""
        own = self.key.read(config)
        if own == 0:
            return None
        return self.rope.read(config) | ({} if own is None else {"theta": float(own)})

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """The layer's own theta, beside the class's, which no layer then reads."""
        if value is None:
            draft.put(self.key.name, 0)
            return
        self.rope.write({**value, "theta": self.rope.theta}, draft)
        draft.put(self.key.name, value["theta"])


@final
class RotationFlag(Lens, msgspec.Struct, frozen=True):
    """Whether layers of a kind rotate: a null among `rope_parameters` says that they do not (Beam)."""

    kind: str
    default: bool

    def names(self) -> Iterator[str]:
        """The mapping that speaks of all kinds."""
        yield "rope_parameters"

    def read(self, config: Config) -> bool:
        """True or false."""
        stated = Key("rope_parameters", MAPPING, {}, null={}).read(config)
        return stated[self.kind] is not None if self.kind in stated else self.default

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """The null."""
        if not value:
            draft["rope_parameters"] = {**draft.get("rope_parameters", {}), self.kind: None}


@final
class NtkAlphaRope(Lens, msgspec.Struct, frozen=True):
    """A rotary position whose theta a fixed `alpha` stretches, beside the word "dynamic" (HunYuan)."""

    rope: RopeLens
    width: Callable[[Config], int]

    def names(self) -> Iterator[str]:
        """Those of the rotation."""
        yield from self.rope.names()

    def read(self, config: Config) -> Document:
        """The position with theta · alpha^(d / (d − 2)), or without an alpha as it stands."""
        stated = self.rope.stated(config)
        rope_type = stated.data.get("rope_type", stated.data.get("type"))
        alpha = Key("alpha", POSITIVE, None, null=None).read(stated)
        if rope_type != "dynamic" or alpha is None:
            return self.rope.read(config)
        width = self.width(config)
        theta = self.rope.stated_theta(config) * alpha ** (width / (width - 2))
        return self.rope.read(Config({"rope_parameters": {"rope_theta": theta}}, config.path))

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """The theta as it is."""
        self.rope.write(value, draft)


@final
class LogTemperature(Lens, msgspec.Struct, frozen=True):
    """A query that grows with the log of its position, by a factor among the rotation's keys (Ministral 3)."""

    rope: RopeLens
    name: str = "llama_4_scaling_beta"

    def names(self) -> Iterator[str]:
        """Those of the rotation."""
        yield from self.rope.names()

    def read(self, config: Config) -> Document | None:
        """A temperature of kind log; a factor of 0 is none."""
        factor = Key(self.name, AMOUNT).read(self.rope.stated(config))
        return {"kind": "log", "factor": factor, "n_tokens": self.rope.context_before(config)} if factor else None

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """The factor and the context before the stretch, beside the rotation that is written already."""
        parameters = ConfigDraft(draft["rope_parameters"])
        if value is None:
            parameters.put(self.name, 0)
        elif value["kind"] == "log":
            parameters.put(self.name, value["factor"])
            parameters.put(_CONTEXT_BEFORE, value["n_tokens"])
        else:
            raise MismatchError
        draft["rope_parameters"] = dict(parameters)


def _share_of(d_rotary: int, width: int) -> float:
    """The share of `width` that `int` takes back to `d_rotary`."""
    share_key = d_rotary / width
    while int(width * share_key) < d_rotary:
        share_key += 2**-53
    return share_key
