"""Decoders with experts whose layers differ in more than that: gates, windows, heads or widths by kind or by layer."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from archcalc.errors import InputError, shown
from archcalc.formats.gguf_file import Header
from archcalc.hf.config import AMOUNT, LAYERS_OR_NONE, MAPPING, SIZE, Config, ValueType
from archcalc.hf.families.granite_like import SINKS
from archcalc.hf.families.llama_like import GEMMA_NORMS, root_of_width, stretched
from archcalc.hf.families.moe_like import (
    CORRECTED,
    GROUPED,
    bare,
    corrected_gguf,
    experts,
    layers_that,
)
from archcalc.hf.gguf_map import (
    BLOCK,
    CORRECTED_EXPERTS,
    HEAD_DIM,
    KV_HEADS,
    OUT_NORMS,
    PARTIAL_ROTARY,
    SIGMOID,
    SIZES,
    UNPERMUTED,
    UNPERMUTED_ENTRIES,
    WINDOW_PATTERN,
    GgufMap,
    layer_values,
    partial_rotary,
    short_float,
    stored,
    value_of,
    window_words,
)
from archcalc.hf.lens import REQUIRED, Cases, Choice, Constraint, Conversion, ImpliedValue, Key, NullCases
from archcalc.hf.rope import RotationFlag
from archcalc.hf.spellings import TIED_EXPERTS
from archcalc.hf.stack import INDEX, CombinedSchedule, DenseFirstSchedule, ListSchedule, Schedule
from archcalc.hf.templates.decoder import BIASED, LAYER, WINDOWS, cross_product, decoder, windows
from archcalc.hf.tensors import TensorEntry, module, modules, table
from archcalc.hf.vocabulary import (
    CORRECTION,
    LLAMA_ATTENTION,
    LLAMA_DENSE,
    LLAMA_EXPERTS,
    LLAMA_FFN,
    LLAMA_NORMS,
    LLAMA_OUTSIDE,
    QK_NORMS,
    SHARED_EXPERTS,
    flag,
    keys,
    layers,
    positive,
    rmsnorm,
    size,
)
from archcalc.words import msg


def unless_said(share: float) -> Callable[[Config], float]:
    """Return the share of a head that turns: a default where the config sets no rotation, else all of it."""
    return lambda config: share if config.data.get("rope_parameters") is None else 1.0


def unless_scaled(share: float, kind: str) -> Callable[[Config], float]:
    """Return the part of a head that turns where a kind of layers says none; all of it, if its rotation is scaled."""

    def part(config: Config) -> float:
        parameters = Key("rope_parameters", MAPPING, {}, null={}).read(config)
        stated = Key(kind, MAPPING, {}, null={}).read(Config(parameters, "rope_parameters"))
        return share if stated.get("rope_type", stated.get("type", "default")) == "default" else 1.0

    return part


GATED = modules({"attn.gate": "self_attn.gate_proj"}, *LAYER)
AFMOE = decoder(
    "afmoe",
    "AfmoeForCausalLM",
    vocab=200192,
    n_ctx=16384,
    width=2048,
    heads=16,
    d_head=size("head_dim", 128),
    d_ff=6144,
    norm=rmsnorm(1e-5),
    layer={"placement": "sandwich"},
    attention=BIASED | {"qk_norm": "head", "gate": {"over": "channel", "activation": "sigmoid"}},
    schedule=CombinedSchedule(
        windows(Key("global_attn_every_n_layers", SIZE, 4)),
        DenseFirstSchedule(Key("num_dense_layers", LAYERS_OR_NONE, 1)),
    ),
    model_fields={
        "embedding": {"scale": Cases(flag("mup_enabled", False), {False: None, True: root_of_width(2048)["scale"]})}
    },
    tensors=(
        LLAMA_OUTSIDE,
        LLAMA_ATTENTION,
        QK_NORMS,
        GATED,
        modules(
            {
                "attn_norm": "input_layernorm",
                "attn_out_norm": "post_attention_layernorm",
                "ffn_norm": "pre_mlp_layernorm",
                "ffn_out_norm": "post_mlp_layernorm",
            },
            *LAYER,
        ),
        LLAMA_FFN,
        module("layers.{i}.ffn.router", "model.layers.{i}.mlp.router.gate"),
        LLAMA_EXPERTS,
        SHARED_EXPERTS,
        replace(CORRECTION, name="model.layers.{i}.mlp.expert_bias"),
    ),
    # Said by some configs; the class has no choice.
    constraints=(
        Constraint("score_func", ("sigmoid",)),
        Constraint("route_norm", (True,)),
        Constraint("n_group", (1,)),
        Constraint("topk_group", (1,)),
    ),
    spelling=TIED_EXPERTS,
    gguf=GgufMap(
        "afmoe",
        SIZES
        | HEAD_DIM
        | {
            "expert_count": "num_experts",
            "expert_used_count": "num_experts_per_tok",
            "expert_feed_forward_length": "moe_intermediate_size",
            "expert_shared_count": "num_shared_experts",
            "expert_weights_scale": "route_scale",
            "leading_dense_block_count": "num_dense_layers",
            "attention.sliding_window": "sliding_window",
        },
        table(
            modules({"attn.gate": "attn_gate", **OUT_NORMS}, *BLOCK),
            UNPERMUTED_ENTRIES,
        ),
        # llama.cpp src/models/afmoe.cpp: the table is always scaled by the root of the width.
        fixed={"mup_enabled": True},
        config_keys=stored(attention_bias="attn_q.bias"),
        values={
            "expert_gating_func": (SIGMOID,),
            "expert_weights_norm": (True,),
            "expert_group_count": (1,),
            "expert_group_used_count": (1,),
        },
    ),
    **cross_product(
        bare(1024),
        {
            "dense": None,
            "moe": experts(
                size("num_experts", 64),
                size("num_experts_per_tok", 6),
                size("moe_intermediate_size", 1408),
                choose="sigmoid",
                correction="parameter",
                normalize=True,
                scale=positive("route_scale", 1.0),
                n_shared=size("num_shared_experts", 2),
            ),
        },
    ),
)


def unrotated(kind: str, default: bool) -> dict[str, Any]:
    """Return what is of a kind of Beam's layers: without a rotation, their queries grow with the position."""
    rotates = RotationFlag(kind, default)
    grows = {"kind": "power", "exponent": 0.1, "n_tokens": 2048, "from_one": True}
    return {
        "position": lambda rope: Cases(rotates, {True: replace(rope, layer_kind=kind), False: None}),
        "temperature": Cases(rotates, {True: None, False: grows}),
    }


def scaled_by_depth(kind: str, layer: Mapping[str, Any]) -> dict[str, Any]:
    """Weigh each sum so that all that came before counts alike (Beam): the n-th is √((n-1)/n)·x + √(1/n)·f(x)."""
    norm, first = layer["norm"], {"attn": 2, "ffn": 3}

    def branch(name: str, part: Any) -> dict[str, Any]:
        def number(config: Config) -> int:
            return int(2 * config.data[INDEX] + first[name])

        return {
            "norm_in": norm,
            "arms": ({"name": name, "part": part},),
            "norm_out": norm,
            "scale": ImpliedValue(lambda config: 1 / math.sqrt(number(config))),
            "skip": ImpliedValue(lambda config: math.sqrt((number(config) - 1) / number(config))),
        }

    return {"branches": (branch("attn", layer["attention"]), branch("ffn", layer["ffn"]))}


DEPTH_52 = layers(52)
BEAM = decoder(
    "beam",
    "BeamForCausalLM",
    vocab=151936,
    n_ctx=8192,
    width=5120,
    depth=52,
    heads=48,
    kv=8,
    d_head=size("head_dim", 128),
    d_ff=20480,
    rope={"theta_key": None},
    to_branches=scaled_by_depth,
    by_index=True,
    attention=BIASED | {"qk_norm": "head", "gate": {"over": "channel", "activation": "sigmoid", "bias": True}},
    schedule=CombinedSchedule(
        ListSchedule(
            WINDOWS,
            lambda config, index: "sliding" if (index + 1) % 6 and index != DEPTH_52.read(config) - 1 else "global",
            (DEPTH_52,),
        ),
        layers_that(lambda config, index: index < 3),
    ),
    head={"softcap": positive("final_logit_softcapping", 30.0, null=None)},
    tensors=(
        LLAMA_OUTSIDE,
        LLAMA_ATTENTION,
        QK_NORMS,
        GATED,
        TensorEntry("model.layers.{i}.self_attn.gate_bias", ("layers.{i}.attn.gate_bias",)),
        GEMMA_NORMS,
        LLAMA_FFN,
        LLAMA_EXPERTS,
        CORRECTION,
    ),
    spelling=TIED_EXPERTS,
    **cross_product(
        {
            "global": {"window": None, **unrotated("full_attention", False)},
            "sliding": {"window": size("sliding_window", 512), **unrotated("sliding_attention", True)},
        },
        {
            "dense": None,
            "moe": experts(
                size("num_experts", 256),
                size("num_experts_per_tok", 8),
                size("moe_intermediate_size", 2560),
                **CORRECTED,
                n_groups=size("n_group", 8),
                n_active_groups=size("topk_group", 4),
                normalize=flag("norm_topk_prob", True),
                scale=positive("routed_scaling_factor", 2.5),
            ),
        },
    ),
)
HUNYUAN_MOE = decoder(
    "hunyuan_v1_moe",
    "HunYuanMoEV1ForCausalLM",
    vocab=290943,
    norm=rmsnorm(1e-5),
    attention=BIASED | {"qk_norm": {"norm": rmsnorm(1e-5), "over": "head", "when": "after"}},
    base_ffn=experts(
        size("num_experts", 1, aliases=("num_local_experts",)),
        size("num_experts_per_tok", 1, aliases=("moe_topk",)),
        size("intermediate_size", 11008),
        choose="softmax",
        normalize=True,
        n_shared=1,
    ),
    kinds={"layer": {"position": stretched}},
    lists={"moe_topk": "num_experts_per_tok"},
    tensors=(
        LLAMA_OUTSIDE,
        LLAMA_ATTENTION,
        modules({"attn.q_norm": "self_attn.query_layernorm", "attn.k_norm": "self_attn.key_layernorm"}, *LAYER),
        LLAMA_NORMS,
        module("layers.{i}.ffn.router", "model.layers.{i}.mlp.gate.wg"),
        LLAMA_EXPERTS,
        modules(
            {"gate": "gate_proj", "up": "up_proj", "down": "down_proj"},
            "layers.{i}.ffn.shared.",
            "model.layers.{i}.mlp.shared_mlp.",
        ),
    ),
    irrelevant=keys("eod_token_id"),
    spelling=TIED_EXPERTS,
    gguf=GgufMap(
        "hunyuan-moe",
        SIZES
        | HEAD_DIM
        | {
            "expert_count": "num_experts",
            "expert_used_count": "num_experts_per_tok",
            "expert_feed_forward_length": "intermediate_size",
        },
        UNPERMUTED,
        config_keys=stored(attention_bias="attn_q.bias"),
        own_keys=("feed_forward_length", "expert_shared_feed_forward_length", "expert_shared_count"),
    ),
)
GATING = ValueType(lambda value: type(value) is bool or isinstance(value, str), "true, false or a word")
SOFTCAP = Key("moe_router_logit_softcapping", AMOUNT, 0.0)
LAGUNA = decoder(
    "laguna",
    "LagunaForCausalLM",
    vocab=100352,
    n_ctx=131072,
    width=2048,
    depth=40,
    heads=48,
    kv=8,
    d_head=size("head_dim", 128),
    d_ff=8192,
    theta=500_000.0,
    rope={"layer_kind": "full_attention", "theta_key": None, "rounds_up": True},
    partial=unless_said(0.5),
    attention=BIASED
    | {
        "qk_norm": "head",
        "gate": {
            "over": Choice(
                Key("gating", GATING, True),
                {True: "head", "per-head": "head", "per-element": "channel", False: "channel"},
            ),
            "activation": "softplus",
        },
    },
    lists={"num_attention_heads_per_layer": "num_attention_heads"},
    schedule=CombinedSchedule(windows(1), layers_that(lambda config, index: index == 0)),
    tensors=(
        LLAMA_DENSE,
        QK_NORMS,
        modules({"attn.gate": "self_attn.g_proj"}, *LAYER),
        LLAMA_EXPERTS,
        SHARED_EXPERTS,
        CORRECTION,
    ),
    constraints=(Constraint("moe_apply_router_weight_on_input", (False,)),),
    spelling=replace(
        TIED_EXPERTS,
        renames={
            r"\.mlp\.experts\.e_score_correction_bias$": ".mlp.gate.e_score_correction_bias",
            r"\.mlp\.shared_expert\.": ".mlp.shared_experts.",
        },
    ),
    **cross_product(
        {
            "global": {"window": None},
            "sliding": {
                "window": size("sliding_window", 512),
                "position": lambda rope: replace(
                    rope, layer_kind="sliding_attention", theta=10_000.0, default_share=1.0
                ),
            },
        },
        {
            "dense": None,
            "moe": experts(
                size("num_experts", 256),
                size("num_experts_per_tok", 8),
                size("moe_intermediate_size", 512),
                choose="sigmoid",
                correction="parameter",
                normalize=True,
                scale=positive("moe_routed_scaling_factor", 1.0),
                router_softcap=NullCases(SOFTCAP, None, SOFTCAP, empty=0.0),
                n_shared=1,
                d_shared=size("shared_expert_intermediate_size", 512),
            ),
        },
    ),
)
MIMO_KV = size("num_key_value_heads", 4)
# The older word counts the tokens before the query's own.
MIMO_BEFORE = size("sliding_window_size", None, null=None)
MIMO_WINDOW = Cases(
    Conversion(MIMO_BEFORE, lambda before: True, lambda _: REQUIRED),
    {
        None: size("sliding_window", 129),
        True: Conversion(MIMO_BEFORE, lambda before: before + 1, lambda all_: all_ - 1),
    },
)
MIMO_SLIDING_KV = Conversion(MIMO_KV, lambda heads: 2 * heads, lambda heads: heads // 2)
MIMO_WINDOWS = ListSchedule(WINDOWS, lambda config, index: "sliding" if index and (index + 1) % 6 else "global")
MIMO_FEEDS = layers_that(lambda config, index: index == 0)


def mimo_pattern(kind: str, schedule: Schedule) -> Callable[[Config], list[int]]:
    """Return the list of 1 for layers of a kind, 0 for others, as the published file has it."""
    return lambda config: [int(found == kind) for found in schedule.read(config, layers(48).read(config))]


def mimo_gguf(header: Header, config: dict[str, Any]) -> dict[str, Any]:
    """Return the kinds of layers, the heads and the rotation of each kind, and what files leave out.

    llama.cpp (src/models/mimo2.cpp): a layer with a router has experts, and values are not scaled unless the file says
    by how much.
    """
    found = corrected_gguf(header, config | {"norm_topk_prob": True})
    n_layers = found["num_hidden_layers"]
    kinds = window_words(header, 1)[:n_layers]
    share = partial_rotary(header, config)
    thetas = {"full_attention": value_of(header, "rope.freq_base"), "sliding_attention": value_of(header, LOCAL_THETA)}
    default = thetas["full_attention"] or 10_000.0
    return found | {
        "layer_types": kinds,
        "mlp_layer_types": [
            "sparse" if f"blk.{layer}.ffn_gate_inp.weight" in header.tensors else "dense" for layer in range(len(kinds))
        ],
        **_heads_by_kind(header, kinds),
        "v_head_dim": value_of(header, "attention.value_length") or config.get("head_dim"),
        "attention_value_scale": short_float(value_of(header, VALUE_SCALE)),
        "rope_parameters": {
            kind: {"rope_type": "default", "rope_theta": theta or default, **share} for kind, theta in thetas.items()
        },
    }


def _heads_by_kind(header: Header, kinds: Sequence[str]) -> dict[str, Any]:
    """Return the key heads of each kind of layers. Raises InputError if they differ among layers of a kind."""
    counts = layer_values(header, KV_HEADS)[: len(kinds)]
    first = dict(reversed([*zip(kinds, counts, strict=False)]))
    if counts != [first.get(kind) for kind in kinds]:
        raise InputError(
            msg("differs from layer to layer: {found}", found=", ".join(str(shown(count)) for count in counts[:8])),
            where=f"{header.metadata['general.architecture']}.{KV_HEADS}",
            allowed=msg("the same for all layers of a kind"),
        )
    names = {"full_attention": "num_key_value_heads", "sliding_attention": "swa_num_key_value_heads"}
    return {names[kind]: count for kind, count in first.items()}


LOCAL_THETA, VALUE_SCALE = "rope.freq_base_swa", "attention.value_scale"
MIMO = decoder(
    "mimo_v2_flash",
    "MiMoV2FlashForCausalLM",
    vocab=152576,
    n_ctx=131072,
    depth=48,
    heads=64,
    d_head=size("head_dim", 192),
    d_ff=16384,
    norm=rmsnorm(1e-5),
    theta=5_000_000.0,
    rope={"layer_kind": "full_attention", "theta_key": None, "rounds_up": True},
    partial=unless_scaled(0.334, "full_attention"),
    attention=dict.fromkeys(("q_bias", "k_bias", "v_bias"), flag("attention_bias", False))
    | {"d_value": size("v_head_dim", 128), "value_scale": positive("attention_value_scale", 0.707, null=None)},
    schedule=CombinedSchedule(MIMO_WINDOWS, MIMO_FEEDS),
    tensors=(LLAMA_DENSE, SINKS, LLAMA_EXPERTS, CORRECTION),
    # Said by published configs; the class has no choice.
    constraints=(
        Constraint("scoring_func", ("sigmoid",)),
        Constraint("topk_method", ("noaux_tc",)),
        Constraint("n_shared_experts", (None,)),
        Constraint("add_swa_attention_sink_bias", (True,)),
        Constraint("add_full_attention_sink_bias", (False,)),
        Constraint("layernorm_epsilon", (positive("rms_norm_eps", 1e-5),)),
        Constraint("rope_theta", (5_000_000,)),
        Constraint("swa_rope_theta", (10_000,)),
        Constraint("swa_num_attention_heads", (size("num_attention_heads", 64),)),
        Constraint("swa_num_key_value_heads", (MIMO_SLIDING_KV,)),
        Constraint("swa_head_dim", (size("head_dim", 192),)),
        Constraint("swa_v_head_dim", (size("v_head_dim", 128),)),
        Constraint("hybrid_layer_pattern", (ImpliedValue(mimo_pattern("sliding", MIMO_WINDOWS)),)),
        Constraint("moe_layer_freq", (ImpliedValue(mimo_pattern("moe", MIMO_FEEDS)),)),
    ),
    irrelevant=keys("attention_chunk_size"),
    spelling=replace(
        TIED_EXPERTS,
        renames={r"\.self_attn\.attention_sink_bias$": ".self_attn.sinks"},
        unused={r"model\.mtp\..*": "predicts further tokens"},
    ),
    gguf=GgufMap(
        "mimo2",
        {key: name for key, name in SIZES.items() if key not in (KV_HEADS, "rope.freq_base")}
        | HEAD_DIM
        | CORRECTED_EXPERTS
        | {"attention.sliding_window": "sliding_window"},
        table(TensorEntry("blk.{i}.attn_sinks.weight", ("layers.{i}.attn.sinks",)), UNPERMUTED_ENTRIES),
        config_keys=mimo_gguf,
        own_keys=(
            *("attention.value_length", KV_HEADS, PARTIAL_ROTARY, "rope.freq_base", LOCAL_THETA, VALUE_SCALE),
            *(WINDOW_PATTERN, "nextn_predict_layers"),
        ),
        values={"expert_gating_func": (SIGMOID,)},
        origins={
            "num_key_value_heads": KV_HEADS,
            "swa_num_key_value_heads": KV_HEADS,
            "v_head_dim": "attention.value_length",
            "attention_value_scale": VALUE_SCALE,
            "layer_types": WINDOW_PATTERN,
            "rope_parameters": "rope.freq_base",
        },
    ),
    **cross_product(
        {
            "global": {"window": None, "sinks": False, "n_kv_heads": MIMO_KV},
            "sliding": {
                "window": MIMO_WINDOW,
                "sinks": True,
                "n_kv_heads": MIMO_SLIDING_KV,
                "position": lambda rope: replace(
                    rope,
                    layer_kind="sliding_attention",
                    theta=10_000.0,
                    default_share=unless_scaled(0.334, "sliding_attention"),
                ),
            },
        },
        {
            "dense": None,
            "moe": experts(
                size("n_routed_experts", 256, aliases=("num_local_experts",)),
                size("num_experts_per_tok", 8),
                size("moe_intermediate_size", 2048),
                **CORRECTED,
                **GROUPED,
                normalize=flag("norm_topk_prob", True),
                scale=positive("routed_scaling_factor", 1.0, null=1.0),
            ),
        },
    ),
)

FAMILIES = (AFMOE, BEAM, HUNYUAN_MOE, LAGUNA, MIMO)
