"""Rotary positions: `rope_parameters`, or the older `rope_theta` with `rope_scaling`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, final

import msgspec

from archcalc.errors import nearest
from archcalc.hf.config import AMOUNT, FACTORS, FLAG, MAPPING, POSITIVE, SHARE, SIZE, Config
from archcalc.hf.lens import ConfigDraft, ConfigLens, Key, MismatchError, read, write

if TYPE_CHECKING:
    from archcalc.spec.document import Document

CONTEXT = Key("max_position_embeddings", SIZE)

_FACTOR = Key("factor", POSITIVE)
_ORIGINAL_CONTEXT = "original_max_position_embeddings"

# The key under which a scaling's template reads the model's context length.
_CURRENT_CONTEXT = "(context)"


def _context_ratio(config: Config) -> float:
    """Return the context length divided by the original one."""
    return float(config.data[_CURRENT_CONTEXT] / config.get(_ORIGINAL_CONTEXT, SIZE))


# The fields of each scaling, with their keys. None: no scaling.
_SCALINGS: dict[str, Document | None] = {
    "default": None,
    # The class uses the model's context length, even if the config states an original one.
    "dynamic": {"kind": "dynamic", "factor": _FACTOR, "n_ctx_original": Key(_CURRENT_CONTEXT, SIZE)},
    "linear": {"kind": "linear", "factor": _FACTOR},
    "llama3": {
        "kind": "llama3",
        "factor": _FACTOR,
        "low_freq_factor": Key("low_freq_factor", POSITIVE),
        "high_freq_factor": Key("high_freq_factor", POSITIVE),
        "n_ctx_original": Key(_ORIGINAL_CONTEXT, SIZE),
    },
    "yarn": {
        "kind": "yarn",
        "factor": _FACTOR,
        "n_ctx_original": Key(_ORIGINAL_CONTEXT, SIZE),
        "beta_fast": Key("beta_fast", POSITIVE, 32.0, null=32.0),
        "beta_slow": Key("beta_slow", POSITIVE, 1.0, null=1.0),
        "attention_factor": Key("attention_factor", POSITIVE, None, null=None),
        "mscale": Key("mscale", POSITIVE, None, null=None),
        "mscale_all_dim": Key("mscale_all_dim", POSITIVE, None, null=None),
        "truncate": Key("truncate", FLAG, True),
    },
    "longrope": {
        "kind": "longrope",
        "factor": Key("factor", POSITIVE, _context_ratio, null=_context_ratio),
        "short": Key("short_factor", FACTORS),
        "long": Key("long_factor", FACTORS),
        "n_ctx_original": Key(_ORIGINAL_CONTEXT, SIZE),
        "attention_factor": Key("attention_factor", POSITIVE, None, null=None),
    },
}
# PhiMoE states the factors of cosine and sine, for short and for long texts.
PHI_SCALINGS: dict[str, Document | None] = {
    "default": None,
    "longrope": {
        **(_SCALINGS["longrope"] or {}),
        "attention_factor": Key("short_mscale", POSITIVE),
        "long_attention_factor": Key("long_mscale", POSITIVE),
    },
}
_COMMON_KEYS = {"rope_type", "type", "rope_theta", "partial_rotary_factor"}
# The words under which parameters of kinds of layers are nested.
_LAYER_KINDS = ("full_attention", "sliding_attention", "indexed_attention", "hybrid", "hybrid_sliding")
# Some configs have these keys with scalings that do not use them.
_UNUSED = frozenset({_ORIGINAL_CONTEXT, "factor", "finetuned"})


@final
class RopeLens(ConfigLens, msgspec.Struct, frozen=True):
    """The `position` of an attention with rotary embedding.

    - `theta`: the class's default.
    - `share_key`: the key of the rotated share of each head's width, if there is one, with `default_share`.
      `head_width` returns that width; None: the class always rotates the whole head.
    - `default`: the class's parameters if the config has none.
    - `n_ctx`: the key of the context length, which is also the default of a scaling's original length.
    - `layer_kind`: the word of the layers whose parameters are nested under it, if each kind has its own.
    - `needs_kind`: parameters that are stated must have that word, with a theta.
    - `theta_key`: an older key of theta, if there is one.
    - `scalings`: the fields of each scaling that the class has.
    - `rounds_up`: if the rotated width is odd, the class rotates one more dimension, with the odd width's frequencies.
    - `extra_keys`: keys of the same mapping that other lenses read, or that have no effect.
    """

    theta: float = 10_000.0
    interleaved: bool | ConfigLens = False
    default: Document | None = None
    n_ctx: Key = CONTEXT
    share_key: str | None = "partial_rotary_factor"
    default_share: float | Callable[[Config], float] = 1.0
    head_width: Callable[[Config], int] | None = None
    theta_key: str | None = "rope_theta"
    layer_kind: str = ""
    needs_kind: bool = False
    scalings: Mapping[str, Document | None] = msgspec.field(default_factory=lambda: _SCALINGS)
    rounds_up: bool = False
    extra_keys: frozenset[str] = frozenset()

    def names(self) -> Iterator[str]:
        """Yield the keys of both spellings."""
        yield from (
            "rope_parameters",
            "rope_scaling",
            _ORIGINAL_CONTEXT,
            *filter(None, [self.share_key, self.theta_key]),
        )
        if isinstance(self.interleaved, ConfigLens):
            yield from self.interleaved.names()

    def read(self, config: Config) -> Document:
        """Return a position of kind rope."""
        parameters = self.parameters(config)
        scaling = self._scaling_template(parameters)
        position = {
            "kind": "rope",
            "theta": self._theta(config, parameters),
            "interleaved": read(self.interleaved, config),
        }
        if scaling is not None:
            position["scaling"] = read(
                scaling, Config({**parameters.data, **self._contexts(config, parameters)}, parameters.path)
            )
        share = self._share(config, parameters)
        if self.head_width is not None and share != 1.0:
            position["d_rotary"] = width = int(self.head_width(config) * share)
            if width % 2 and self.rounds_up and scaling is None:
                position |= {"d_rotary": width + 1, "theta": position["theta"] ** ((width + 1) / width)}
        elif share != 1.0 and scaling is not None:
            # A class without partial rotation ignores the share, except in scalings, which then do not fit its heads.
            is_nested = "partial_rotary_factor" in parameters.data
            source, name = (parameters, "partial_rotary_factor") if is_nested else (config, str(self.share_key))
            raise source.error(name, share, "1.0, which rotates the whole head")
        return position

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put `rope_parameters`, the newer spelling."""
        if not isinstance(value, dict) or value.get("kind") != "rope":
            raise MismatchError
        parameters = ConfigDraft(rope_theta=value["theta"])
        rope_type, template = self._scaling_type(value.get("scaling"))
        parameters["rope_type"] = rope_type
        if template is not None:
            write(template, value["scaling"], parameters)
        if self.head_width is not None:
            parameters["partial_rotary_factor"] = share_of(value["d_rotary"], self.head_width(Config(draft)))
        write(self.interleaved, value["interleaved"], draft)
        parameters.pop(_CURRENT_CONTEXT, None)  # Reading back shows whether it is the model's.
        self._put(draft, {name: item for name, item in parameters.items() if item is not None})

    def _contexts(self, config: Config, parameters: Config) -> Document:
        """Return the context length and the original one: from the config, from the scaling, or else the same."""
        current = self.n_ctx.read(config)
        nested = parameters.data.get(_ORIGINAL_CONTEXT, current)
        return {
            _CURRENT_CONTEXT: current,
            _ORIGINAL_CONTEXT: Key(_ORIGINAL_CONTEXT, SIZE, nested, null=nested).read(config),
        }

    def _put(self, draft: ConfigDraft, parameters: Document) -> None:
        """Put the parameters, nested under the kind of layers if there is one."""
        if not self.layer_kind:
            draft.put("rope_parameters", parameters)
            return
        others = draft.get("rope_parameters", {})
        if others.get(self.layer_kind, parameters) != parameters:
            raise MismatchError
        draft["rope_parameters"] = {**others, self.layer_kind: parameters}

    def parameters(self, config: Config) -> Config:
        """Return the mapping with the rotary parameters, whatever its key. Like transformers, prefer the older key."""
        if self.layer_kind:
            return self._nested_parameters(config)
        for name in ("rope_scaling", "rope_parameters"):
            if config.data.get(name) is not None and (mapping := config.get(name, MAPPING)):
                return config.nested(mapping, config.where(name))
        return config.nested(dict(self.default or {}), "rope_parameters")

    def _nested_parameters(self, config: Config) -> Config:
        """Return the parameters of this kind of layers. The older `rope_scaling` applies to global layers only."""
        parameters = config.nested(Key("rope_parameters", MAPPING, {}, null={}).read(config), "rope_parameters")
        parameters.ignore_but(_LAYER_KINDS)
        of_kind = Key(self.layer_kind, MAPPING, {}, null={}).read(parameters)
        if self.needs_kind and config.data.get("rope_parameters") is not None:
            if not of_kind:
                stated = config.data["rope_parameters"]
                raise config.error("rope_parameters", stated, f"a mapping with {self.layer_kind}, or null")
            Key("rope_theta", POSITIVE).read(parameters.nested(of_kind, parameters.where(self.layer_kind)))
        older = Key("rope_scaling", MAPPING, {}, null={}).read(config) if self.layer_kind == "full_attention" else {}
        return config.nested(of_kind | older, "rope_scaling" if older else parameters.where(self.layer_kind))

    def _scaling_template(self, parameters: Config) -> Document | None:
        """Return the template of the scaling. Raises InputError for one that the class does not have."""
        name = next((name for name in ("rope_type", "type") if parameters.data.get(name) is not None), None)
        rope_type = parameters.data[name] if name else "default"
        if not isinstance(rope_type, str) or rope_type not in self.scalings:
            hint = nearest(rope_type, self.scalings) if isinstance(rope_type, str) else ""
            raise parameters.error(name or "rope_type", rope_type, ", ".join(self.scalings), hint)
        template = self.scalings[rope_type]
        scaling_keys = {key.name for key in (template or {}).values() if isinstance(key, Key)}
        parameters.ignore_but(_COMMON_KEYS | scaling_keys | _UNUSED | self.extra_keys)
        return template

    def theta_of(self, config: Config) -> float:
        """Return the config's theta, or the class's."""
        return self._theta(config, self.parameters(config))

    def original_context(self, config: Config) -> int:
        """Return the original context length of the scaling."""
        return int(self._contexts(config, self.parameters(config))[_ORIGINAL_CONTEXT])

    def _theta(self, config: Config, parameters: Config) -> float:
        default = (
            Key(self.theta_key, POSITIVE, self.theta, null=self.theta).read(config) if self.theta_key else self.theta
        )
        return float(Key("rope_theta", POSITIVE, default, null=default).read(parameters))

    def _share(self, config: Config, parameters: Config) -> float:
        default = self.default_share(config) if callable(self.default_share) else self.default_share
        if self.share_key is not None:
            default = Key(self.share_key, SHARE, default, null=default).read(config)
        return float(Key("partial_rotary_factor", SHARE, default, null=default).read(parameters))

    def _scaling_type(self, scaling: Document | None) -> tuple[str, Document | None]:
        if scaling is None:
            return "default", None
        return scaling["kind"], self.scalings.get(scaling["kind"])


@final
class LayerTheta(ConfigLens, msgspec.Struct, frozen=True):
    """A rotary position with a theta for each layer. A theta of 0 means no position (Granite)."""

    rope: RopeLens
    key: Key = Key("layer_rope_theta", AMOUNT, None, null=None)

    def names(self) -> Iterator[str]:
        """Yield the keys of the rotation and of the theta."""
        yield from (*self.rope.names(), *self.key.names())

    def read(self, config: Config) -> Document | None:
        """Return the position with the layer's theta, or None."""
        theta = self.key.read(config)
        if theta == 0:
            return None
        return self.rope.read(config) | ({} if theta is None else {"theta": float(theta)})

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the layer's theta, and the class's default, which no layer reads then."""
        if value is None:
            draft.put(self.key.name, 0)
            return
        self.rope.write({**value, "theta": self.rope.theta}, draft)
        draft.put(self.key.name, value["theta"])


@final
class RotationFlag(ConfigLens, msgspec.Struct, frozen=True):
    """Whether a kind of layers has rotary positions: a null in `rope_parameters` means no (Beam).

    `default`: what it means if the mapping does not have the kind; None: it must.
    """

    layer_kind: str
    default: bool | None = None

    def names(self) -> Iterator[str]:
        """Yield the key of the mapping."""
        yield "rope_parameters"

    def read(self, config: Config) -> bool:
        """Return whether this kind of layers rotates."""
        parameters = Key("rope_parameters", MAPPING, {}, null={}).read(config)
        if self.layer_kind in parameters:
            return parameters[self.layer_kind] is not None
        if self.default is None:
            raise config.error(
                "rope_parameters", parameters or None, f"a mapping with {self.layer_kind}, null without positions"
            )
        return self.default

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put a null if it does not."""
        if not value:
            draft["rope_parameters"] = {**draft.get("rope_parameters", {}), self.layer_kind: None}


@final
class NtkAlphaRope(ConfigLens, msgspec.Struct, frozen=True):
    """A rotary position whose theta is scaled by a constant `alpha`, which configs call "dynamic" (HunYuan)."""

    rope: RopeLens
    head_width: Callable[[Config], int]

    def names(self) -> Iterator[str]:
        """Yield the keys of the rotation."""
        yield from self.rope.names()

    def read(self, config: Config) -> Document:
        """Return the position with theta · alpha^(d / (d − 2)); without an alpha, with theta."""
        parameters = self.rope.parameters(config)
        rope_type = parameters.data.get("rope_type", parameters.data.get("type"))
        alpha = Key("alpha", POSITIVE, None, null=None).read(parameters)
        if rope_type != "dynamic" or alpha is None:
            return self.rope.read(config)
        width = self.head_width(config)
        theta = self.rope.theta_of(config) * alpha ** (width / (width - 2))
        return self.rope.read(Config({"rope_parameters": {"rope_theta": theta}}, config.path))

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the scaled theta, without an alpha."""
        self.rope.write(value, draft)


@final
class LogTemperatureLens(ConfigLens, msgspec.Struct, frozen=True):
    """A query that grows with the log of its position, by a factor in the rotary parameters (Ministral 3)."""

    rope: RopeLens
    name: str = "llama_4_scaling_beta"

    def names(self) -> Iterator[str]:
        """Yield the keys of the rotation."""
        yield from self.rope.names()

    def read(self, config: Config) -> Document | None:
        """Return a temperature of kind log, or None if the factor is 0."""
        factor = Key(self.name, AMOUNT).read(self.rope.parameters(config))
        return {"kind": "log", "factor": factor, "n_tokens": self.rope.original_context(config)} if factor else None

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the factor and the original context length into the rotary parameters, which are in the draft already."""
        parameters = ConfigDraft(draft["rope_parameters"])
        if value is None:
            parameters.put(self.name, 0)
        elif value["kind"] == "log":
            parameters.put(self.name, value["factor"])
            parameters.put(_ORIGINAL_CONTEXT, value["n_tokens"])
        else:
            raise MismatchError
        draft["rope_parameters"] = dict(parameters)


def share_of(d_rotary: int, width: int) -> float:
    """Return the share of `width` that `int` rounds to `d_rotary`."""
    share = d_rotary / width
    while int(width * share) < d_rotary:
        share += 2**-53
    return share
