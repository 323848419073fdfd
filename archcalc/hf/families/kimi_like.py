"""Decoders with latent attention and the gated delta rule, a decay for each channel: Kimi Linear, Ling 3."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, final

import msgspec
from msgspec.structs import replace

from archcalc.formats.gguf_file import Header
from archcalc.hf.config import COUNT, INDICES, LAYERS_OR_NONE, NEGATIVE, Config
from archcalc.hf.families.llama_like import NO_PADDING
from archcalc.hf.families.mla_like import (
    LATENT,
    LATENT_GGUF,
    LATENT_ORIGINS,
    LATENT_OWN_KEYS,
    LATENT_SIZES,
    absorbed,
    latent,
    latent_widths,
)
from archcalc.hf.families.moe_like import CORRECTED, experts, layers_that
from archcalc.hf.family import derive
from archcalc.hf.gguf_map import (
    BLOCK,
    HYBRID_SIZES,
    KV_HEADS,
    SIGMOID,
    UNPERMUTED_ENTRIES,
    GgufMap,
    layer_flags,
    stored,
)
from archcalc.hf.lens import Cases, ConfigDraft, ConfigLens, Constraint, Conversion, ImpliedValue, Key
from archcalc.hf.nested_keys import NestedTemplate
from archcalc.hf.spellings import MTP_LAYERS, TIED_EXPERTS
from archcalc.hf.stack import CombinedSchedule, ListSchedule
from archcalc.hf.templates.decoder import LAYER, decoder
from archcalc.hf.tensors import TensorEntry, modules, table
from archcalc.hf.vocabulary import (
    CORRECTION,
    LLAMA_EXPERTS,
    LLAMA_FFN,
    LLAMA_NORMS,
    LLAMA_OUTSIDE,
    SHARED_EXPERTS,
    flag,
    keys,
    positive,
    rmsnorm,
    size,
)

MIXER = "model.layers.{i}.self_attn."
NESTED = "linear_attn_config"


@final
class NestedOrOwn(ConfigLens, msgspec.Struct, frozen=True):
    """The number under `inner` in the mapping `linear_attn_config` if it has one, else that of the key itself."""

    inner: str
    own: Key

    def names(self) -> Iterator[str]:
        """Yield the names of the mapping and of the key."""
        yield from (NESTED, *self.own.names())

    def read(self, config: Config) -> Any:
        """Return the number."""
        inner = NestedTemplate(NESTED, None).inner(config)
        return inner.get(self.inner, self.own.value_type) if self.inner in inner.data else self.own.read(config)

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the key itself."""
        self.own.write(value, draft)


def every_fourth(config: Config, index: int) -> str:
    """Return the kind of a layer: as `linear_attn_config` lists them, from 1, or every fourth after the first."""
    inner = NestedTemplate(NESTED, None).inner(config)
    if {"full_attn_layers", "kda_layers"} <= inner.data.keys():
        listed = {"attention": inner.get("full_attn_layers", INDICES), "linear": inner.get("kda_layers", INDICES)}
        kinds = [kind for kind, layers in listed.items() if index + 1 in layers]
        if len(kinds) != 1:
            raise inner.error("kda_layers", listed["linear"], f"layer {index + 1} in it or in full_attn_layers")
        return kinds[0]
    return "attention" if index and index % 4 == 0 else "linear"


FIRST_DENSE = Key("first_k_dense_replace", LAYERS_OR_NONE, 1)
LINEAR_HEADS, LINEAR_WIDTH = NestedOrOwn("num_heads", size("linear_num_heads", 32)), size("linear_head_dim", 128)
LINEAR_KEY = NestedOrOwn("head_dim", LINEAR_WIDTH)
# The layers of attention and those of the gated delta rule.
HYBRID = {"full_attention": "attention", "linear_attention": "linear"}
KIMI_DELTA: dict[str, Any] = {
    "kind": "gated_delta",
    "n_heads": LINEAR_HEADS,
    "d_key": LINEAR_KEY,
    "d_value": LINEAR_KEY,
    "d_conv": NestedOrOwn("short_conv_kernel_size", size("linear_conv_kernel_dim", 4)),
    "chunk": ImpliedValue(64),
    "decay_over": "channel",
    "decay_rank": LINEAR_KEY,
    "gate_rank": LINEAR_KEY,
    "gate_activation": "sigmoid",
    "norm": rmsnorm(1e-5),
}
CONVOLUTIONS = tuple(
    TensorEntry(f"{MIXER}{name}_conv1d.weight", (f"layers.{{i}}.mixer.{name}_conv.weight",)) for name in "qkv"
)
DELTA = (
    TensorEntry(f"{MIXER}conv1d.weight", tuple(entry.ours[0] for entry in CONVOLUTIONS)),
    *modules({"mixer_norm": "input_layernorm"}, *LAYER),
    *modules(
        {"q": "q_proj", "k": "k_proj", "v": "v_proj", "beta": "b_proj", "norm": "o_norm", "out": "o_proj"},
        "layers.{i}.mixer.",
        MIXER,
    ),
    TensorEntry(f"{MIXER}forget_gate.dt_bias", ("layers.{i}.mixer.decay_bias",)),
)
DECAY_RATES = TensorEntry(f"{MIXER}forget_gate.A_log", ("layers.{i}.mixer.decay_log",))
MIXED = (LLAMA_OUTSIDE, LATENT, DELTA, LLAMA_NORMS, LLAMA_FFN, LLAMA_EXPERTS, SHARED_EXPERTS, CORRECTION)


def hybrid(mixer: Mapping[str, Any], feeds: Mapping[str, Any]) -> dict[str, Any]:
    """Return layers of attention and of this mixer, each with every one of these feed-forwards."""
    return {
        "kinds": {f"attention_{name}": {} for name in feeds},
        "mixers": {f"linear_{name}": mixer for name in feeds},
        "ffn_kinds": {f"{kind}_{name}": feeds[name] for kind in HYBRID.values() for name in feeds},
    }


def mixture(n_experts: int, d_expert: int, n_groups: int, n_active_groups: int, scale: float) -> dict[str, Any]:
    """Return the mixture of experts under Kimi's keys, in the spelling of DeepSeek too."""
    return experts(
        size("num_experts", n_experts, aliases=("num_local_experts",)),
        size("num_experts_per_token", 8, aliases=("num_experts_per_tok",)),
        size("moe_intermediate_size", d_expert),
        **CORRECTED,
        n_groups=size("num_expert_group", n_groups, aliases=("n_group",)),
        n_active_groups=size("topk_group", n_active_groups),
        normalize=flag("moe_renormalize", True, aliases=("norm_topk_prob",)),
        scale=positive("routed_scaling_factor", scale),
        n_shared=Key("num_shared_experts", COUNT, 1, aliases=("n_shared_experts",)),
    )


def kimi_gguf(header: Header, config: dict[str, Any]) -> dict[str, Any]:
    """Return the widths of latent attention, and which layers have it: those with key heads.

    llama.cpp (src/models/kimi-linear.cpp): mixers have as many heads as attention, and weights of experts sum to 1.
    """
    found = latent_widths(header, config)
    del found["num_key_value_heads"]
    attends = layer_flags(header, KV_HEADS)
    return found | {
        "layer_types": ["full_attention" if each else "linear_attention" for each in attends],
        "num_key_value_heads": config["num_attention_heads"],
        "linear_num_heads": config["num_attention_heads"],
        **stored(attention_bias="attn_kv_a_mqa.bias")(header, config),
    }


KIMI_GGUF = (
    *modules(
        {
            "q": "attn_q",
            "k": "attn_k",
            "v": "attn_v",
            "out": "attn_output",
            "beta": "ssm_beta",
            "norm": "ssm_norm",
            "decay_down": "ssm_f_a",
            "decay_up": "ssm_f_b",
            "gate_down": "ssm_g_a",
            "gate_up": "ssm_g_b",
        },
        "layers.{i}.mixer.",
        "blk.{i}.",
    ),
    *modules({"mixer_norm": "attn_norm"}, *BLOCK),
    *(
        TensorEntry(f"blk.{{i}}.ssm_conv1d_{name}.weight", (f"layers.{{i}}.mixer.{name}_conv.weight",))
        for name in "qkv"
    ),
    TensorEntry("blk.{i}.ssm_a", ("layers.{i}.mixer.decay_log",), is_negative_exp=True, unit_axes=(1,)),
    TensorEntry("blk.{i}.ssm_dt.bias", ("layers.{i}.mixer.decay_bias",)),
)
KIMI_LINEAR = decoder(
    "kimi_linear",
    "KimiLinearForCausalLM",
    vocab=163840,
    n_ctx=size("model_max_length", 1048576, aliases=("max_position_embeddings",)),
    width=2304,
    depth=27,
    d_ff=9216,
    norm=rmsnorm(1e-5),
    base_attention={
        **latent(32, q_rank=1536, kv_rank=512, d_nope=128, d_rope=64, d_v=128),
        "q_rank": size("q_lora_rank", None, null=None),
    },
    attention={"position": None},
    head={"tied": ImpliedValue(False)},
    schedule=CombinedSchedule(
        ListSchedule(HYBRID, every_fourth),
        layers_that(lambda config, index: bool(index < FIRST_DENSE.read(config)), FIRST_DENSE),
    ),
    tensors=(
        *MIXED,
        replace(DECAY_RATES, unit_axes=(0, 1, 3)),
        modules(
            {
                "decay_down": "forget_gate.f_a_proj",
                "decay_up": "forget_gate.f_b_proj",
                "gate_down": "g_a_proj",
                "gate_up": "g_b_proj",
            },
            "layers.{i}.mixer.",
            MIXER,
        ),
    ),
    constraints=(
        # The mixer is activated as the feed-forward is; ours always by silu.
        Constraint("hidden_act", ("silu", "swish")),
        Constraint("moe_layer_freq", (1,)),
        Constraint("moe_router_activation_func", ("sigmoid",)),
        Constraint("mla_use_nope", (True,)),
        Constraint("rope_scaling", (None,)),
    ),
    # The class never ties. Nothing is rotated, so no base is read.
    irrelevant=keys("head_dim qk_head_dim tie_word_embeddings rope_theta use_grouped_topk num_nextn_predict_layers"),
    spelling=replace(
        TIED_EXPERTS,
        renames={
            r"\.self_attn\.(f_[ab]_proj|dt_bias|A_log)": r".self_attn.forget_gate.\1",
            r"\.block_sparse_moe\.": ".mlp.",
            r"(\.experts\.\d+)\.w1\.": r"\1.gate_proj.",
            r"(\.experts\.\d+)\.w2\.": r"\1.down_proj.",
            r"(\.experts\.\d+)\.w3\.": r"\1.up_proj.",
        },
        fused=CONVOLUTIONS,
    ),
    fixed_keys=NO_PADDING,
    gguf=GgufMap(
        "kimi-linear",
        {key: name for key, name in HYBRID_SIZES.items() if key != "rope.freq_base"}
        | LATENT_SIZES
        | {
            "context_length": "model_max_length",
            "kda.head_dim": "linear_head_dim",
            "ssm.conv_kernel": "linear_conv_kernel_dim",
            "expert_count": "num_experts",
            "expert_used_count": "num_experts_per_token",
            "expert_feed_forward_length": "moe_intermediate_size",
            "expert_shared_count": "num_shared_experts",
            "expert_weights_scale": "routed_scaling_factor",
            "expert_weights_norm": "moe_renormalize",
            "expert_group_count": "num_expert_group",
            "expert_group_used_count": "topk_group",
            "leading_dense_block_count": "first_k_dense_replace",
        },
        table(KIMI_GGUF, LATENT_GGUF, UNPERMUTED_ENTRIES),
        of_spec=absorbed,
        config_keys=kimi_gguf,
        # Nothing is rotated.
        own_keys=(*LATENT_OWN_KEYS, "rope.freq_base"),
        values={"expert_gating_func": (SIGMOID,)},
        origins=LATENT_ORIGINS | {"layer_types": KV_HEADS, "linear_num_heads": "attention.head_count"},
    ),
    **hybrid(KIMI_DELTA, {"dense": None, "moe": mixture(256, 1024, 1, 1, 2.446)}),
)

N_HEADS, HEAD_WIDTH = size("num_attention_heads", 32), size("head_dim", 128)
GROUP = size("layer_group_size", 6)
FIRST_DENSE_2 = Key("first_k_dense_replace", LAYERS_OR_NONE, 2)
BOUND = Conversion(Key("kda_lower_bound", NEGATIVE, -5.0), lambda value: -value, lambda value: -value)
LING_WIDTH = size("linear_head_dim", HEAD_WIDTH.read)
LING_DELTA = KIMI_DELTA | {
    "n_heads": size("linear_num_heads", N_HEADS.read),
    "d_key": LING_WIDTH,
    "d_value": LING_WIDTH,
    "d_conv": size("linear_conv_kernel_dim", size("short_conv_kernel_size", 4).read),
    "decay_rank": None,
    "decay_bound": Cases(flag("kda_safe_gate", True), {True: BOUND, False: None}),
    "gate_rank": None,
    "norm": rmsnorm(1e-6),
}
BAILING_HYBRID = derive(
    KIMI_LINEAR,
    "bailing_hybrid",
    "BailingHybridForCausalLM",
    vocab=157184,
    n_ctx=size("model_max_length", 262144, aliases=("max_position_embeddings",)),
    width=2560,
    depth=42,
    d_ff=6144,
    norm=rmsnorm(1e-6),
    theta=6_000_000.0,
    rope={"interleaved": True},
    base_attention={
        **latent(32, q_rank=1536, kv_rank=512, d_nope=128, d_rope=64, d_v=128),
        "q_rank": None,
        "gate": {"activation": "sigmoid", "over": "head"},
    },
    attention={},
    schedule=CombinedSchedule(
        ListSchedule(
            HYBRID, lambda config, index: "linear" if (index + 1) % GROUP.read(config) else "attention", (GROUP,)
        ),
        layers_that(lambda config, index: bool(index < FIRST_DENSE_2.read(config)), FIRST_DENSE_2),
    ),
    tensors=(
        *MIXED,
        DECAY_RATES,
        modules({"decay": "forget_gate.f_proj", "gate": "g_proj"}, "layers.{i}.mixer.", MIXER),
        modules({"attn.gate": "g_proj"}, "layers.{i}.", MIXER),
    ),
    constraints=(
        # The mixer is activated as the feed-forward is; ours always by silu.
        Constraint("hidden_act", ("silu", "swish")),
        Constraint("score_function", ("sigmoid",)),
    ),
    # The class never ties, and its queries have no latent. Multi-token prediction takes no part in a forward pass.
    irrelevant=keys(
        "head_dim qk_head_dim short_conv_kernel_size tie_word_embeddings q_lora_rank num_nextn_predict_layers "
        "num_mtp_layers mtp_loss_scaling_factor"
    ),
    spelling=replace(
        TIED_EXPERTS,
        renames={
            r"^model\.word_embeddings\.": "model.embed_tokens.",
            r"\.attention\.": ".self_attn.",
            r"\.self_attn\.(f_proj|dt_bias|A_log)": r".self_attn.forget_gate.\1",
            r"\.self_attn\.dense\.": ".self_attn.o_proj.",
            r"\.mlp\.gate\.expert_bias$": ".mlp.gate.e_score_correction_bias",
        },
        fused=CONVOLUTIONS,
        mtp=MTP_LAYERS,
    ),
    **hybrid(LING_DELTA, {"dense": None, "moe": mixture(512, 768, 8, 4, 2.5)}),
)

FAMILIES = (KIMI_LINEAR, BAILING_HYBRID)
