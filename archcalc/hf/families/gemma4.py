"""Gemma 4's text models: full layers with heads of their own width, and last layers that read the keys of others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from typing import Any, final

import msgspec

from archcalc.formats.gguf_file import Header, read_numbers
from archcalc.hf.config import LAYERS_OR_NONE, MAPPING, SIZE, Config, ValueType
from archcalc.hf.families.llama_like import GEMMA_NORMS, TANH, root_of_width
from archcalc.hf.family import FamilyRow, derive
from archcalc.hf.gguf_map import (
    BLOCK,
    HYBRID_SIZES,
    UNPERMUTED_ENTRIES,
    WINDOW_PATTERN,
    GgufMap,
    count_of,
    layer_values,
    short_float,
    value_of,
    window_words,
)
from archcalc.hf.gguf_map import OUT_NORMS as GGUF_OUT_NORMS
from archcalc.hf.gguf_rope import FACTORS
from archcalc.hf.lens import (
    REQUIRED,
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
from archcalc.hf.shared_keys import SharedKeys
from archcalc.hf.stack import ListSchedule
from archcalc.hf.templates.decoder import BIASED, LAYER, WINDOWS, decoder
from archcalc.hf.tensors import TensorEntry, modules, table
from archcalc.hf.vocabulary import (
    LLAMA_ATTENTION,
    LLAMA_FFN,
    LLAMA_OUTSIDE,
    QK_NORMS,
    flag,
    keys,
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


TYPES = ListSchedule(WINDOWS, lambda config, index: "sliding" if (index + 1) % 6 else "global")
SCHEDULE = SharedKeys(TYPES, N_SHARED, N_LAYERS, last="global")


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
    width: ConfigLens
    share: float = 0.25

    def names(self) -> Iterator[str]:
        """Yield the keys of the rotation and of the width."""
        yield from (*self.rope.names(), *self.width.names())

    def read(self, config: Config) -> Any:
        """Return the position."""
        stated = config.data.get("rope_parameters")
        parameters: Mapping[str, Any] = (
            self.rope.parameters(config).data if stated else DEFAULT | {"partial_rotary_factor": self.share}
        )
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


DEFAULT: dict[str, Any] = {"rope_type": "proportional", "rope_theta": 1_000_000.0}
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
    shares = {"weights": None, "keys_values": SCHEDULE.lender(kind.removesuffix("_shared"))}
    return {**layer, "shares": shares, "ffn": {**layer["ffn"], "d_ff": DOUBLED}}


def explicit(layer: Mapping[str, Any], *, ffn_arms: tuple[Any, ...], last: tuple[Any, ...] = ()) -> Mapping[str, Any]:
    """Return a layer in the explicit form: these arms in the branch of the feed-forward, and further branches."""
    attention = {"name": "attn", "part": layer["attention"], "reads": "shared" if "shares" in layer else "stream"}
    branches = (
        {"norm_in": NORM, "arms": (attention,), "norm_out": NORM},
        {"norm_in": None, "arms": ffn_arms, "norm_out": NORM},
        *last,
    )
    return {"branches": branches, **{name: layer[name] for name in ("out_scalar", "shares") if name in layer}}


NORM: Template = rmsnorm(1e-6)
ROOT_OF_WIDTH = root_of_width(2304)
EXPERTS = {
    "kind": "moe",
    "n_experts": size("num_experts", REQUIRED),
    "n_active": size("top_k_experts", REQUIRED),
    "d_expert": size("moe_intermediate_size", REQUIRED),
    "activation": TANH,
    "normalize": True,
    "router_norm": NORM,
    "router_scale": ImpliedValue(lambda config: size("hidden_size", 2304).read(config) ** -0.5),
    "input_norm": NORM,
    "expert_scales": True,
}
D_PER_LAYER = size("hidden_size_per_layer_input", 256)
PER_LAYER = {"d_per_layer": D_PER_LAYER, "n_rows": size("vocab_size_per_layer_input", 262144), "norm": NORM}
PER_LAYER_GATE = {"kind": "per_layer_gate", "d_per_layer": D_PER_LAYER, "activation": TANH}


def to_branches(kind: str, layer: Mapping[str, Any], *, has_experts: bool, has_per_layer: bool) -> Mapping[str, Any]:
    """Return a layer with experts beside the feed-forward, and with a gate on its own embedding."""
    layer = with_shares(kind, layer)
    dense: dict[str, Any] = {"name": "ffn", "part": layer["ffn"], "norm": NORM}
    experts = {"name": "experts", "part": EXPERTS, "norm_out": NORM}
    gate = {"arms": ({"name": "per_layer", "part": PER_LAYER_GATE},), "norm_out": NORM}
    return explicit(
        layer,
        ffn_arms=({**dense, "norm_out": NORM}, experts) if has_experts else (dense,),
        last=(gate,) if has_per_layer else (),
    )


TENSORS = (
    LLAMA_OUTSIDE,
    LLAMA_ATTENTION,
    QK_NORMS,
    GEMMA_NORMS,
    LLAMA_FFN,
    TensorEntry("model.layers.{i}.layer_scalar", ("layers.{i}.out_scalar",)),
)
EXPERT_TENSORS = (
    TensorEntry(
        "model.layers.{i}.experts.gate_up_proj",
        ("layers.{i}.experts.experts.gate.weight", "layers.{i}.experts.experts.up.weight"),
        axis=1,
    ),
    TensorEntry("model.layers.{i}.experts.down_proj", ("layers.{i}.experts.experts.down.weight",)),
    TensorEntry("model.layers.{i}.router.scale", ("layers.{i}.experts.router_norm.weight",)),
    TensorEntry("model.layers.{i}.router.per_expert_scale", ("layers.{i}.experts.expert_scales",)),
    *modules(
        {
            "experts.router": "router.proj",
            "experts.input_norm": "pre_feedforward_layernorm_2",
            "ffn_post_norm": "post_feedforward_layernorm_1",
            "experts_post_norm": "post_feedforward_layernorm_2",
        },
        *LAYER,
    ),
)
PER_LAYER_TENSORS = (
    *modules(
        {
            "table": "embed_tokens_per_layer",
            "project": "per_layer_model_projection",
            "norm": "per_layer_projection_norm",
        },
        "per_layer.",
        "model.",
    ),
    *modules(
        {
            "per_layer.gate": "per_layer_input_gate",
            "per_layer.down": "per_layer_projection",
            "per_layer_out_norm": "post_per_layer_input_norm",
        },
        *LAYER,
    ),
)

GGUF_PER_LAYER = (
    *modules(
        {"table": "per_layer_token_embd", "project": "per_layer_model_proj", "norm": "per_layer_proj_norm"},
        "per_layer.",
    ),
    *modules({"per_layer.gate": "inp_gate", "per_layer.down": "proj", "per_layer_out_norm": "post_norm"}, *BLOCK),
)
UNUSED_KEYS = {r"blk\.\d+\.attn_(k|v|k_norm)\.weight": "of a layer that reads the keys of another"}
PER_LAYER_ROWS = "per_layer_token_embd.weight"
# Of layers that read the keys of others, whose own are not used.
GGUF_SHARED = ("attention.shared_kv_layers", "embedding_length_per_layer_input")


def per_layer_keys(header: Header) -> dict[str, Any]:
    """Return the width and the rows of per-layer embeddings, and the layers that read the keys of others."""
    n_shared, width = (count_of(header, key) for key in GGUF_SHARED)
    rows = header.tensors[PER_LAYER_ROWS].shape[0] if PER_LAYER_ROWS in header.tensors else None
    found = {"num_kv_shared_layers": n_shared, "hidden_size_per_layer_input": width}
    return found | ({"vocab_size_per_layer_input": rows} if rows else {})


def of_kind(header: Header, key: str, words: Sequence[str], kind: str) -> Any:
    """Return a key's value for the first layer of a kind; None if there is none."""
    return next((value for value, word in zip(layer_values(header, key), words, strict=False) if word == kind), None)


def gemma4_gguf(header: Header, config: dict[str, Any]) -> dict[str, Any]:
    """Return the sizes of both kinds of layers, and the rotations: of full layers some pairs rotate."""
    words = window_words(header, 6)
    d_head = {"full_attention": value_of(header, "attention.key_length")}
    d_head["sliding_attention"] = value_of(header, "attention.key_length_swa") or d_head["full_attention"]
    widths = layer_values(header, "feed_forward_length")
    shared = per_layer_keys(header)
    own = words[: max(0, len(words) - shared["num_kv_shared_layers"])]
    full = [index for index, word in enumerate(own) if word == "full_attention"]
    reads_keys = any(f"blk.{index}.attn_v.weight" not in header.tensors for index in full)
    thetas = {"full_attention": config.get("rope_theta", 1e6), "sliding_attention": value_of(header, SWA_THETA) or 1e4}
    ropes = {kind: {"rope_type": "default", "rope_theta": short_float(theta)} for kind, theta in thetas.items()}
    if FACTORS in header.tensors:
        factors = read_numbers(header.tensors[FACTORS])
        share = sum(factor < 2 for factor in factors) / max(1, len(factors))
        ropes["full_attention"] |= {"rope_type": "proportional", "partial_rotary_factor": share}
    found = {
        "layer_types": words,
        "head_dim": d_head["sliding_attention"],
        "global_head_dim": d_head["full_attention"],
        "num_key_value_heads": of_kind(header, "attention.head_count_kv", words, "sliding_attention"),
        "intermediate_size": widths[0] if widths else None,
        "use_double_wide_mlp": len(set(widths)) > 1,
        "attention_k_eq_v": reads_keys,
        "rope_parameters": ropes,
        "enable_moe_block": "num_experts" in config,
        **shared,
    }
    config.pop("rope_theta", None)
    if reads_keys:
        found["num_global_key_value_heads"] = of_kind(header, "attention.head_count_kv", words, "full_attention")
    return found


SWA_THETA = "rope.freq_base_swa"
GEMMA4_GGUF = GgufMap(
    "gemma4",
    {key: name for key, name in HYBRID_SIZES.items() if key != "feed_forward_length"}
    | {
        "attention.sliding_window": "sliding_window",
        "final_logit_softcapping": "final_logit_softcapping",
        "expert_count": "num_experts",
        "expert_used_count": "top_k_experts",
        "expert_feed_forward_length": "moe_intermediate_size",
    },
    table(
        GGUF_PER_LAYER,
        modules(GGUF_OUT_NORMS, *BLOCK),
        modules(
            {
                "experts.router": "ffn_gate_inp",
                "experts.input_norm": "pre_ffw_norm_2",
                "ffn_post_norm": "post_ffw_norm_1",
                "experts_post_norm": "post_ffw_norm_2",
                "experts.experts.down": "ffn_down_exps",
            },
            *BLOCK,
        ),
        TensorEntry("blk.{i}.ffn_gate_inp.scale", ("layers.{i}.experts.router_norm.weight",)),
        TensorEntry("blk.{i}.ffn_down_exps.scale", ("layers.{i}.experts.expert_scales",)),
        TensorEntry(
            "blk.{i}.ffn_gate_up_exps.weight",
            ("layers.{i}.experts.experts.gate.weight", "layers.{i}.experts.experts.up.weight"),
            axis=1,
        ),
        TensorEntry("blk.{i}.layer_output_scale.weight", ("layers.{i}.out_scalar",)),
        UNPERMUTED_ENTRIES,
    ),
    config_keys=gemma4_gguf,
    own_keys=(
        *("attention.key_length", "attention.value_length", "attention.key_length_swa", "attention.value_length_swa"),
        *("attention.head_count_kv", "feed_forward_length", "rope.dimension_count", "rope.dimension_count_swa"),
        *(SWA_THETA, WINDOW_PATTERN, FACTORS, *GGUF_SHARED),
    ),
    unused=UNUSED_KEYS,
    origins={
        "layer_types": WINDOW_PATTERN,
        "head_dim": "attention.key_length_swa",
        "global_head_dim": "attention.key_length",
        "num_key_value_heads": "attention.head_count_kv",
        "num_global_key_value_heads": "attention.head_count_kv",
        "intermediate_size": "feed_forward_length",
        "num_kv_shared_layers": "attention.shared_kv_layers",
        "hidden_size_per_layer_input": "embedding_length_per_layer_input",
    },
)

# Tokens of images, which see each other both ways, are not part of a text.
CAUSAL = Constraint("use_bidirectional_attention", ("vision", None))
BOTH_WAYS: dict[str, Any] = {"use_bidirectional_attention": "all"}


def both_ways(data: Mapping[str, Any]) -> bool:
    """Return whether a config's tokens see the later ones too."""
    return bool(data.get("use_bidirectional_attention") == "all")


def halved(window: Key) -> Conversion:
    """Return the window of a model whose tokens see both ways.

    The class halves the window and adds one; its mask for both ways reaches one token further.
    """
    return Conversion(window, lambda n: n // 2 + 2, lambda window: 2 * (window - 2))


UNIFIED_WINDOW = size("sliding_window", 1024)
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
    kinds=kinds(UNIFIED_WINDOW),
    schedule=SCHEDULE,
    to_branches=with_shares,
    model_fields={"embedding": ROOT_OF_WIDTH},
    head={"softcap": positive("final_logit_softcapping", None, null=None)},
    tensors=TENSORS,
    constraints=(CAUSAL,),
)
GEMMA4_UNIFIED_ENCODER = derive(
    GEMMA4_UNIFIED,
    "gemma4_unified_text",
    stack="encoder",
    kinds=kinds(halved(UNIFIED_WINDOW)),
    when=both_ways,
    constraints=(Constraint("use_bidirectional_attention", ("all",)),),
    fixed_keys=BOTH_WAYS,
)
GEMMA4_UNIFIED = derive(GEMMA4_UNIFIED, "gemma4_unified_text", forms=(GEMMA4_UNIFIED_ENCODER,))


def has_experts(data: Mapping[str, Any]) -> bool:
    """Return whether a config's layers have experts beside the feed-forward."""
    return bool(data.get("enable_moe_block", False))


def has_per_layer(data: Mapping[str, Any]) -> bool:
    """Return whether a config has per-layer embeddings."""
    return bool(data.get("hidden_size_per_layer_input", 256))


def gemma4(*, experts: bool, per_layer: bool, reads_all: bool = False) -> FamilyRow:
    """Return the row of a form: with experts or not, with per-layer embeddings or not, both ways or causal."""
    window = size("sliding_window", 512)
    fixed: dict[str, Any] = {"enable_moe_block": True} if experts else {}
    unread = [] if experts else ["num_experts", "top_k_experts", "moe_intermediate_size"]
    unread += [] if per_layer else ["vocab_size_per_layer_input"]
    return derive(
        GEMMA4_UNIFIED,
        "gemma4_text",
        "Gemma4ForCausalLM",
        n_ctx=131072,
        stack="encoder" if reads_all else "decoder",
        kinds=kinds(halved(window) if reads_all else window),
        to_branches=partial(to_branches, has_experts=experts, has_per_layer=per_layer)
        if experts or per_layer
        else with_shares,
        stack_fields={"per_layer": PER_LAYER} if per_layer else {},
        tensors=(*TENSORS, *(EXPERT_TENSORS if experts else ()), *(PER_LAYER_TENSORS if per_layer else ())),
        constraints=(
            Constraint("use_bidirectional_attention", ("all",)) if reads_all else CAUSAL,
            Constraint("enable_moe_block", (experts,)),
            *(() if per_layer else (Constraint("hidden_size_per_layer_input", (0, None)),)),
        ),
        fixed_keys=fixed | ({} if per_layer else {"hidden_size_per_layer_input": 0}) | (BOTH_WAYS if reads_all else {}),
        irrelevant=keys(" ".join(unread)),
        when=lambda data: (has_experts(data), has_per_layer(data), both_ways(data)) == (experts, per_layer, reads_all),
        forms=(),
    )


GEMMA4_FORMS = tuple(
    gemma4(experts=experts, per_layer=per_layer, reads_all=reads_all)
    for experts, per_layer, reads_all in product((False, True), (True, False), (False, True))
)
GEMMA4 = derive(GEMMA4_FORMS[0], "gemma4_text", forms=GEMMA4_FORMS[1:], gguf=GEMMA4_GGUF)

FAMILIES = (GEMMA4_UNIFIED, GEMMA4)
