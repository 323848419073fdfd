"""Gemma 4's text models: full layers with heads of their own width, and last layers that read the keys of others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, final

import msgspec

from archcalc.hf.config import LAYERS_OR_NONE, MAPPING, SIZE, Config, ValueType
from archcalc.hf.families.llama_like import GEMMA_NORMS, TANH, root_of_width
from archcalc.hf.family import derive
from archcalc.hf.lens import (
    Cases,
    ConfigDraft,
    ConfigLens,
    Constraint,
    Conversion,
    ImpliedValue,
    Key,
    MismatchError,
    ScaledKey,
    Template,
)
from archcalc.hf.rope import RopeLens
from archcalc.hf.stack import ListSchedule, Schedule
from archcalc.hf.templates.decoder import BIASED, WINDOWS, decoder
from archcalc.hf.tensors import TensorEntry
from archcalc.hf.vocabulary import (
    LLAMA_ATTENTION,
    LLAMA_FFN,
    LLAMA_OUTSIDE,
    QK_NORMS,
    flag,
    layers,
    positive,
    rmsnorm,
    size,
)

N_LAYERS, N_SHARED = layers(30), Key("num_kv_shared_layers", LAYERS_OR_NONE, 0)
KEY_IS_VALUE = flag("attention_k_eq_v", False)
OVERRIDES = Key(
    "per_layer_config",
    ValueType(
        lambda value: MAPPING.allows(value) and all(str(index).isdecimal() for index in value),
        "a mapping of layers' indices",
    ),
    None,
    null=None,
)
OVERRIDDEN = ("head_dim", "num_key_value_heads")


@final
class Gemma4Schedule(Schedule, msgspec.Struct, frozen=True):
    """`layer_types`, of which the last is always full; the last layers of all share keys: "sliding_shared"."""

    types: ListSchedule = ListSchedule(WINDOWS, lambda config, index: "sliding" if (index + 1) % 6 else "global")

    def names(self) -> Iterator[str]:
        """Yield the keys of the types and of the number of layers that share."""
        yield from self.types.names()
        yield from N_SHARED.names()

    def read(self, config: Config, n_layers: int) -> list[str]:
        """Return the kinds. Raises InputError if no layer computes the keys that another reads."""
        kinds, n_shared = self.kinds(config, n_layers), N_SHARED.read(config)
        n_own = n_layers - n_shared
        if n_shared and (n_own < 1 or set(kinds[:n_own]) != set(kinds)):
            raise config.error(N_SHARED.name, n_shared, "fewer, so that layers of each type compute keys")
        return kinds[:n_own] + [f"{kind}_shared" for kind in kinds[n_own:]]

    def kinds(self, config: Config, n_layers: int) -> list[str]:
        """Return 'sliding' or 'global' for each layer."""
        return [*self.types.read(config, n_layers)[:-1], "global"]

    def write(self, kinds: Sequence[str], draft: ConfigDraft) -> None:
        """Put the types, and the number of layers that share."""
        self.types.write([kind.removesuffix("_shared") for kind in kinds], draft)
        draft.put(N_SHARED.name, sum(kind.endswith("_shared") for kind in kinds))


SCHEDULE = Gemma4Schedule()


@final
class LayerSize(ConfigLens, msgspec.Struct, frozen=True):
    """A size of one kind of layers: `per_layer_config` overrides it; without that, `own` gives it, if anything does."""

    kind: str
    key: Key
    own: Key | None = None

    def names(self) -> Iterator[str]:
        """Yield all keys."""
        yield from (OVERRIDES.name, *self.key.names(), *(self.own.names() if self.own else ()))

    def read(self, config: Config) -> int:
        """Return the size. Raises InputError for overrides that a kind's layers do not share, or of other keys."""
        overrides = OVERRIDES.read(config)
        if overrides is None:
            value = self.own.read(config) if self.own and self._reads_own(config) else None
            return int(self.key.read(config) if value is None else value)
        kinds = SCHEDULE.kinds(config, N_LAYERS.read(config))
        by_index = {int(index): fields for index, fields in overrides.items()}
        found = [by_index.get(index, {}) for index, kind in enumerate(kinds) if kind == self.kind]
        if any(fields != found[0] for fields in found) or not _are_known(overrides):
            raise config.error(OVERRIDES.name, overrides, f"{' and '.join(OVERRIDDEN)}, alike in layers of one type")
        return int(found[0].get(self.key.name) or self.key.read(config)) if found else int(self.key.read(config))

    def _reads_own(self, config: Config) -> bool:
        return self.key.name == "head_dim" or bool(KEY_IS_VALUE.read(config))

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the kind's own key, or the common one."""
        (self.own or self.key).write(value, draft)


def _are_known(overrides: Mapping[str, Any]) -> bool:
    return all(isinstance(fields, dict) and set(fields) <= set(OVERRIDDEN) for fields in overrides.values())


@final
class ProportionalRope(ConfigLens, msgspec.Struct, frozen=True):
    """The rotary position of full layers: by default, only a part of the pairs rotates."""

    rope: RopeLens
    width: LayerSize

    def names(self) -> Iterator[str]:
        """Yield the keys of the rotation and of the width."""
        yield from (*self.rope.names(), *self.width.names())

    def read(self, config: Config) -> Any:
        """Return the position."""
        stated = config.data.get("rope_parameters")
        parameters: Mapping[str, Any] = self.rope.parameters(config).data if stated else DEFAULT
        if parameters.get("rope_type") != "proportional":
            return self.rope.read(config)
        share, width = parameters.get("partial_rotary_factor", 1.0), self.width.read(config)
        n_pairs = int(share * width // 2)
        if not n_pairs:
            raise config.error("rope_parameters", share, f"a partial_rotary_factor that rotates a pair of {width}")
        scaling = {"kind": "proportional", "n_pairs": n_pairs, "factor": float(parameters.get("factor", 1.0))}
        theta = float(parameters.get("rope_theta", self.rope.theta))
        return {"kind": "rope", "theta": theta, "interleaved": False, "scaling": scaling}

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the parameters of full layers."""
        scaling = value and value.get("scaling")
        if not scaling or scaling["kind"] != "proportional":
            self.rope.write(value, draft)
            return
        if value["interleaved"] or value["stored"] or value["values"]:
            raise MismatchError
        parameters = {
            "rope_type": "proportional",
            "rope_theta": value["theta"],
            "partial_rotary_factor": 2 * scaling["n_pairs"] / value["d_rotary"],
            "factor": scaling["factor"],
        }
        others = draft.get("rope_parameters", {})
        if others.get(self.rope.layer_kind, parameters) != parameters:
            raise MismatchError
        draft["rope_parameters"] = {**others, self.rope.layer_kind: parameters}


DEFAULT: dict[str, Any] = {"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1_000_000.0}
WIDTHS = {
    "sliding": LayerSize("sliding", size("head_dim", 256)),
    "global": LayerSize("global", size("head_dim", 256), Key("global_head_dim", SIZE, 512)),
}
N_KV = size("num_key_value_heads", 4)
KV_HEADS = {
    "sliding": LayerSize("sliding", N_KV),
    "global": LayerSize("global", N_KV, Key("num_global_key_value_heads", SIZE, None, null=None)),
}
FULL_ROPE = RopeLens(theta=1_000_000.0, layer_kind="full_attention", theta_key=None)
ROPES: dict[str, ConfigLens] = {
    "sliding": RopeLens(theta=10_000.0, layer_kind="sliding_attention", theta_key=None),
    "global": ProportionalRope(FULL_ROPE, WIDTHS["global"]),
}


def lender(kind: str) -> ImpliedValue:
    """Return the index of the layer whose keys and values layers of this kind read: the last that has its own."""

    def index(config: Config) -> int:
        n_layers = N_LAYERS.read(config)
        own = SCHEDULE.kinds(config, n_layers)[: n_layers - N_SHARED.read(config)]
        return len(own) - 1 - own[::-1].index(kind)

    return ImpliedValue(index)


def kinds(window: ConfigLens) -> dict[str, dict[str, Any]]:
    """Return the fields of the attention of each kind of layers."""
    found: dict[str, dict[str, Any]] = {}
    for kind in ("global", "sliding"):
        common = {
            "d_head": WIDTHS[kind],
            "n_kv_heads": KV_HEADS[kind],
            "position": lambda _, kind=kind: ROPES[kind],
            "window": window if kind == "sliding" else None,
        }
        found[kind] = dict(common)
        found[f"{kind}_shared"] = common | {"k_bias": False, "v_bias": False, "v_norm": None, "value_is_key": False}
    found["global"] |= {
        "value_is_key": KEY_IS_VALUE,
        "v_bias": Cases(KEY_IS_VALUE, {False: flag("attention_bias", False), True: False}),
    }
    return found


FF = size("intermediate_size", 9216)
DOUBLED = Cases(flag("use_double_wide_mlp", False), {False: FF, True: ScaledKey(FF, lambda config: 2)})


def with_shares(kind: str, layer: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a layer, with what it shares and a wider feed-forward if its keys are an earlier layer's."""
    if not kind.endswith("_shared"):
        return layer
    shares = {"weights": None, "keys_values": lender(kind.removesuffix("_shared"))}
    return {**layer, "shares": shares, "ffn": {**layer["ffn"], "d_ff": DOUBLED}}


NORM: Template = rmsnorm(1e-6)
GEMMA4_UNIFIED = decoder(
    "gemma4_unified_text",
    "Gemma4UnifiedForCausalLM",
    vocab=262144,
    width=2304,
    d_ff=9216,
    depth=30,
    heads=8,
    n_ctx=262144,
    tie=True,
    act=TANH,
    norm=NORM,
    layer={"placement": "sandwich", "out_scalar": True},
    # Whether values are keys decides what the biases are, so it is written first.
    attention={"value_is_key": False} | BIASED | {"qk_norm": "head", "scale": 1.0, "v_norm": {**NORM, "weight": False}},
    kinds=kinds(size("sliding_window", 1024)),
    schedule=SCHEDULE,
    to_branches=with_shares,
    model_fields={"embedding": root_of_width(2304)},
    head={"softcap": positive("final_logit_softcapping", None, null=None)},
    tensors=(
        LLAMA_OUTSIDE,
        LLAMA_ATTENTION,
        QK_NORMS,
        GEMMA_NORMS,
        LLAMA_FFN,
        TensorEntry("model.layers.{i}.layer_scalar", ("layers.{i}.out_scalar",)),
    ),
    # Tokens of images, which see each other both ways, are not part of a text.
    constraints=(Constraint("use_bidirectional_attention", ("vision", None)),),
)
GEMMA4_UNIFIED_ENCODER = derive(
    GEMMA4_UNIFIED,
    "gemma4_unified_text",
    stack="encoder",
    # The class halves the window and adds one; its mask for both ways reaches one token further.
    kinds=kinds(Conversion(size("sliding_window", 1024), lambda n: n // 2 + 2, lambda window: 2 * (window - 2))),
    when=lambda data: data.get("use_bidirectional_attention") == "all",
    constraints=(Constraint("use_bidirectional_attention", ("all",)),),
    fixed_keys={"use_bidirectional_attention": "all"},
)
GEMMA4_UNIFIED = derive(GEMMA4_UNIFIED, "gemma4_unified_text", forms=(GEMMA4_UNIFIED_ENCODER,))

FAMILIES = (GEMMA4_UNIFIED,)
