"""Decoders whose layers have attention or the gated delta rule: Qwen3-Next, Qwen3.5, OLMo Hybrid."""

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from archcalc.formats.gguf_file import Header
from archcalc.hf.config import SIZE, Config
from archcalc.hf.families.llama_like import NO_PADDING
from archcalc.hf.families.moe_like import SHARED_EXPERT, SPARSE_STEP, experts
from archcalc.hf.family import derive
from archcalc.hf.gguf_map import (
    BLOCK,
    HEAD_DIM,
    PARTIAL_ROTARY,
    SIZES,
    UNPERMUTED_ENTRIES,
    GgufMap,
    count_of,
    factor_of,
    first_part,
    partial_rotary,
    stored,
)
from archcalc.hf.gguf_map import QK_NORMS as GGUF_QK_NORMS
from archcalc.hf.lens import Constraint, ImpliedValue, Key
from archcalc.hf.spellings import TIED, TIED_EXPERTS, MtpFiles
from archcalc.hf.stack import CombinedSchedule, ListSchedule
from archcalc.hf.templates.decoder import BIASED, LAYER, OUT_NORMS, decoder
from archcalc.hf.tensors import TensorEntry, fused_modules, module, modules, table
from archcalc.hf.vocabulary import (
    LLAMA_ATTENTION,
    LLAMA_EXPERTS,
    LLAMA_FFN,
    LLAMA_NORMS,
    LLAMA_OUTSIDE,
    QK_NORMS,
    flag,
    keys,
    layers,
    rmsnorm,
    size,
)
from archcalc.spec.mixer import GatedDelta
from archcalc.spec.model import Spec

INTERVAL = Key("full_attention_interval", SIZE, 4)
QKV = tuple(f"layers.{{i}}.mixer.{name}" for name in "qkv")
DELTA = "model.layers.{i}.linear_attn"


def every_fourth(config: Config, index: int) -> str:
    """Return the kind of a layer: every fourth has attention, or one in each interval."""
    return "linear" if (index + 1) % INTERVAL.read(config) else "attention"


SCHEDULE = ListSchedule({"full_attention": "attention", "linear_attention": "linear"}, every_fourth, (INTERVAL,))

GATED_DELTA: dict[str, Any] = {
    "kind": "gated_delta",
    "n_heads": size("linear_num_value_heads", 32),
    "n_key_heads": size("linear_num_key_heads", 16),
    "d_key": size("linear_key_head_dim", 128),
    "d_value": size("linear_value_head_dim", 128),
    "d_conv": size("linear_conv_kernel_dim", 4),
    "chunk": ImpliedValue(64),
    "norm": rmsnorm(1e-6),
}
QWEN_GATE = {"activation": "sigmoid", "over": "channel", "projection_bias": flag("attention_bias", False)}

MIXER_WEIGHTS = (
    TensorEntry(f"{DELTA}.A_log", ("layers.{i}.mixer.decay_log",)),
    TensorEntry(f"{DELTA}.dt_bias", ("layers.{i}.mixer.decay_bias",)),
    TensorEntry(f"{DELTA}.conv1d.weight", tuple(f"{part}_conv.weight" for part in QKV)),
    *modules({"mixer_norm": "input_layernorm"}, *LAYER),
)
FUSED_MIXER = (
    *MIXER_WEIGHTS,
    *fused_modules((*QKV, "layers.{i}.mixer.gate"), f"{DELTA}.in_proj_qkvz", order="by_head"),
    *fused_modules(("layers.{i}.mixer.beta", "layers.{i}.mixer.decay"), f"{DELTA}.in_proj_ba", order="by_head"),
    *modules({"norm": "norm", "out": "out_proj"}, "layers.{i}.mixer.", f"{DELTA}."),
)
SPLIT_MIXER = (
    *MIXER_WEIGHTS,
    *fused_modules(QKV, f"{DELTA}.in_proj_qkv"),
    *modules(
        {"gate": "in_proj_z", "beta": "in_proj_b", "decay": "in_proj_a", "norm": "norm", "out": "out_proj"},
        "layers.{i}.mixer.",
        f"{DELTA}.",
    ),
)
GATED_ATTENTION = (
    *fused_modules(
        ("layers.{i}.attn.q", "layers.{i}.attn.gate"), "model.layers.{i}.self_attn.q_proj", order="by_query_head"
    ),
    *modules({"k": "k_proj", "v": "v_proj", "out": "o_proj"}, "layers.{i}.attn.", "model.layers.{i}.self_attn."),
    *QK_NORMS,
)
QWEN_MOE = (
    *LLAMA_EXPERTS,
    *SHARED_EXPERT,
    *module("layers.{i}.ffn.shared_gate", "model.layers.{i}.mlp.shared_expert_gate"),
)


def qwen_experts(n_experts: int, n_active: int, normalize: Any) -> dict[str, Any]:
    """Return a mixture with a gated shared expert."""
    return experts(
        size("num_experts", n_experts),
        size("num_experts_per_tok", n_active),
        size("moe_intermediate_size", 512),
        choose="softmax",
        normalize=normalize,
        n_shared=1,
        d_shared=size("shared_expert_intermediate_size", 512),
        shared_gate=True,
    )


def hybrid(feeds: Mapping[str, Any]) -> dict[str, Any]:
    """Return layers of attention and of the gated delta rule, each with every one of these feed-forwards."""
    return {
        "kinds": {f"attention_{name}": {} for name in feeds},
        "mixers": {f"linear_{name}": GATED_DELTA for name in feeds},
        "ffn_kinds": {f"{mixer}_{name}": feeds[name] for mixer in ("attention", "linear") for name in feeds},
    }


# Modules that predict further tokens, which no forward pass runs.
MTP_TENSORS = {r"mtp\..*": "predicts further tokens"}
MTP: dict[str, Any] = {
    "unused": MTP_TENSORS,
    "mtp": MtpFiles(("mtp_num_hidden_layers", "num_nextn_predict_layers")),
}
FOLLOWING = "mtp_num_hidden_layers mtp_use_dedicated_embeddings mamba_ssm_dtype"

NORMS = {"attn_norm": "attn_norm", "mixer_norm": "attn_norm", "ffn_norm": "post_attention_norm"}
DELTA_SIZES = {
    "ssm.conv_kernel": "linear_conv_kernel_dim",
    "ssm.state_size": "linear_key_head_dim",
    "ssm.group_count": "linear_num_key_heads",
    "ssm.time_step_rank": "linear_num_value_heads",
    "full_attention_interval": "full_attention_interval",
}
QWEN_EXPERT_KEYS = {
    "expert_count": "num_experts",
    "expert_used_count": "num_experts_per_tok",
    "expert_feed_forward_length": "moe_intermediate_size",
    "expert_shared_feed_forward_length": "shared_expert_intermediate_size",
}


def delta_gguf(header: Header, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the width of the values, the rotated share, and the layers that are not for multi-token prediction."""
    n_mtp = count_of(header, "nextn_predict_layers")
    return {
        "linear_value_head_dim": factor_of(header, "ssm.inner_size", "ssm.time_step_rank"),
        "num_hidden_layers": config["num_hidden_layers"] - n_mtp,
        **({"mtp_num_hidden_layers": n_mtp} if n_mtp else {}),
        **stored(attention_bias="attn_q.bias")(header, {}),
        **partial_rotary(header, config),
    }


def delta_entries(*, is_tiled: bool, tile: tuple[int, int] = (1, 1)) -> tuple[TensorEntry, ...]:
    """Return the entries of the mixers; Qwen3.5's value heads are in the order of their place beside a key head."""
    how: dict[str, Any] = {"order": "tiled", "tile": tile} if is_tiled else {}
    mixer = "layers.{i}.mixer."
    return (
        TensorEntry("blk.{i}.attn_qkv.weight", tuple(f"{part}.weight" for part in QKV), **how),
        TensorEntry("blk.{i}.attn_gate.weight", (f"{mixer}gate.weight",), **how),
        TensorEntry(
            "blk.{i}.ssm_conv1d.weight", tuple(f"{part}_conv.weight" for part in QKV), squeezed_axes=(1,), **how
        ),
        TensorEntry("blk.{i}.ssm_a", (f"{mixer}decay_log",), is_negative_exp=True, **how),
        TensorEntry("blk.{i}.ssm_dt.bias", (f"{mixer}decay_bias",), **how),
        TensorEntry("blk.{i}.ssm_norm.weight", (f"{mixer}norm.weight",)),
        TensorEntry("blk.{i}.ssm_out.weight", (f"{mixer}out.weight",), axis=1, **how),
        TensorEntry("blk.{i}.ssm_beta.weight", (f"{mixer}beta.weight",), **how),
        TensorEntry("blk.{i}.ssm_alpha.weight", (f"{mixer}decay.weight",), **how),
    )


def tiled_entries(spec: Spec) -> tuple[TensorEntry, ...]:
    """Return the entries of a spec's mixers."""
    mixer = first_part(spec, GatedDelta)
    n_groups = (mixer.n_key_heads or mixer.n_heads) if mixer else 1
    tile = (n_groups, mixer.n_heads // n_groups) if mixer else (1, 1)
    return delta_entries(is_tiled=True, tile=tile)


# All norms but the mixers' are stored as the factor: 1 + weight.
DELTA_GGUF = (
    *modules({"final_norm": "output_norm"}, plus=1.0),
    *modules(NORMS | GGUF_QK_NORMS, *BLOCK, plus=1.0),
    *fused_modules(("layers.{i}.attn.q", "layers.{i}.attn.gate"), "blk.{i}.attn_q", order="by_query_head"),
    *UNPERMUTED_ENTRIES,
)
DELTA_OWN_KEYS = (PARTIAL_ROTARY, "ssm.inner_size", "nextn_predict_layers", "rope.dimension_sections")
DELTA_ORIGINS = {"linear_value_head_dim": "ssm.inner_size"}

QWEN3_NEXT = decoder(
    "qwen3_next",
    "Qwen3NextForCausalLM",
    vocab=151936,
    n_ctx=32768,
    width=2048,
    depth=48,
    heads=16,
    kv=2,
    d_head=size("head_dim", 256),
    d_ff=5632,
    norm=rmsnorm(1e-6, unit_offset=True),
    partial=0.25,
    rope={"extra_keys": keys("mrope_section mrope_interleaved")},
    attention=BIASED | {"qk_norm": "head", "gate": QWEN_GATE},
    schedule=CombinedSchedule(SCHEDULE, SPARSE_STEP),
    tensors=(LLAMA_OUTSIDE, GATED_ATTENTION, FUSED_MIXER, LLAMA_NORMS, LLAMA_FFN, QWEN_MOE),
    # The mixer is activated as the feed-forward is; ours always by silu.
    constraints=(Constraint("hidden_act", ("silu", "swish")), Constraint("attn_output_gate", (True,))),
    irrelevant=keys(f"{FOLLOWING} num_nextn_predict_layers"),
    spelling=replace(TIED_EXPERTS, **MTP),
    gguf=GgufMap(
        "qwen3next",
        SIZES | HEAD_DIM | QWEN_EXPERT_KEYS | DELTA_SIZES,
        table(
            fused_modules(("layers.{i}.mixer.beta", "layers.{i}.mixer.decay"), "blk.{i}.ssm_ba", order="by_head"),
            delta_entries(is_tiled=False),
            DELTA_GGUF,
        ),
        fixed={"norm_topk_prob": True},
        config_keys=delta_gguf,
        own_keys=DELTA_OWN_KEYS,
        origins=DELTA_ORIGINS,
    ),
    **hybrid({"dense": None, "moe": qwen_experts(512, 10, flag("norm_topk_prob", True))}),
)
QWEN3_5 = derive(
    QWEN3_NEXT,
    "qwen3_5_text",
    "Qwen3_5ForCausalLM",
    vocab=248320,
    width=4096,
    depth=32,
    kv=4,
    d_ff=12288,
    schedule=SCHEDULE,
    kinds={"attention": {}},
    mixers={"linear": GATED_DELTA},
    ffn_kinds={},
    tensors=(LLAMA_OUTSIDE, GATED_ATTENTION, SPLIT_MIXER, LLAMA_NORMS, LLAMA_FFN),
    irrelevant=keys(f"{FOLLOWING} mlp_only_layers"),
    spelling=replace(TIED, **MTP),
    gguf=GgufMap(
        "qwen35",
        SIZES | HEAD_DIM | DELTA_SIZES,
        table(DELTA_GGUF),
        of_spec=tiled_entries,
        config_keys=delta_gguf,
        own_keys=DELTA_OWN_KEYS,
        origins=DELTA_ORIGINS,
    ),
)
QWEN3_5_MOE = derive(
    QWEN3_5,
    "qwen3_5_moe_text",
    "Qwen3_5MoeForCausalLM",
    width=2048,
    depth=40,
    kv=2,
    base_ffn=qwen_experts(256, 8, ImpliedValue(True)),
    tensors=(LLAMA_OUTSIDE, GATED_ATTENTION, SPLIT_MIXER, LLAMA_NORMS, QWEN_MOE),
    irrelevant=keys(f"{FOLLOWING} mlp_only_layers intermediate_size"),
    spelling=replace(TIED_EXPERTS, **MTP),
    gguf=GgufMap(
        "qwen35moe",
        SIZES | HEAD_DIM | QWEN_EXPERT_KEYS | DELTA_SIZES,
        table(DELTA_GGUF),
        of_spec=tiled_entries,
        config_keys=delta_gguf,
        own_keys=DELTA_OWN_KEYS,
        origins=DELTA_ORIGINS,
    ),
)


def of_heads(config: Config) -> int:
    """Return the number of attention heads, by default also that of the states."""
    return int(size("num_attention_heads", 30).read(config))


STATE_KEY_HEADS = size("linear_num_key_heads", of_heads, null=of_heads)


def key_width(config: Config) -> int:
    """Return the default width of keys: three quarters of the model's, divided among the heads."""
    return int(0.75 * size("hidden_size", 3840).read(config) / STATE_KEY_HEADS.read(config))


STATE_KEYS = size("linear_key_head_dim", key_width, null=key_width)


def value_width(config: Config) -> int:
    """Return the default width of values: twice that of keys."""
    return int(2 * STATE_KEYS.read(config))


def fourths(config: Config, index: int) -> str:
    """Return the kind of a layer: every fourth has attention, or the last if there are fewer."""
    depth = layers(32).read(config)
    return "attention" if index % 4 == 3 or (depth < 4 and index == depth - 1) else "linear"


def norm_by_kind(kind: str, layer: Mapping[str, Any]) -> dict[str, Any]:
    """Return a layer with norms after attention and its feed-forward, or before the mixer and its feed-forward."""
    return {**layer, "placement": "pre" if kind == "linear" else "output"}


OLMO_HYBRID = decoder(
    "olmo_hybrid",
    "OlmoHybridForCausalLM",
    vocab=100352,
    n_ctx=65536,
    width=3840,
    heads=30,
    d_head=ImpliedValue(None),
    attention=BIASED | {"qk_norm": "full"},
    kinds={"attention": {}},
    mixers={
        "linear": GATED_DELTA
        | {
            "n_heads": size("linear_num_value_heads", of_heads, null=of_heads),
            "n_key_heads": STATE_KEY_HEADS,
            "d_key": STATE_KEYS,
            "d_value": size("linear_value_head_dim", value_width, null=value_width),
            "negative": flag("linear_allow_neg_eigval", True),
            "norm": {"kind": "rmsnorm", "eps": 1e-5},
        }
    },
    schedule=ListSchedule({"full_attention": "attention", "linear_attention": "linear"}, fourths, (layers(32),)),
    to_branches=norm_by_kind,
    tensors=(
        LLAMA_OUTSIDE,
        LLAMA_ATTENTION,
        QK_NORMS,
        MIXER_WEIGHTS,
        modules(
            {
                "q": "q_proj",
                "k": "k_proj",
                "v": "v_proj",
                "gate": "g_proj",
                "beta": "b_proj",
                "decay": "a_proj",
                "norm": "o_norm",
                "out": "o_proj",
            },
            "layers.{i}.mixer.",
            f"{DELTA}.",
        ),
        OUT_NORMS,
        modules({"ffn_norm": "post_attention_layernorm"}, *LAYER),
        LLAMA_FFN,
    ),
    constraints=(Constraint("hidden_act", ("silu", "swish")),),
    # How weights are initialized.
    irrelevant=keys("linear_a_log_min linear_a_log_max linear_dt_min linear_dt_max linear_dt_init_floor"),
    # Files have three convolutions, which the class joins.
    spelling=replace(
        TIED,
        renames={
            r"\.attention_layer_norm\.": ".input_layernorm.",
            r"\.feedforward_layer_norm\.": ".post_attention_layernorm.",
        },
        unused=MTP_TENSORS,
        fused=tuple(
            TensorEntry(f"{DELTA}.{name}_conv1d.weight", (f"layers.{{i}}.mixer.{name}_conv.weight",)) for name in "qkv"
        ),
    ),
    fixed_keys=NO_PADDING,
)

FAMILIES = (QWEN3_NEXT, QWEN3_5, QWEN3_5_MOE, OLMO_HYBRID)
