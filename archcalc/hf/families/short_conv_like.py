"""Decoders whose layers have attention or a gated short convolution: LFM2, LFM2-MoE, LFM3."""

from collections.abc import Iterator, Mapping
from typing import Any, final

import msgspec
from msgspec.structs import replace

from archcalc.formats.gguf_file import Header
from archcalc.hf.config import FLAG, INDICES, LAYERS_OR_NONE, POSITIVE, SIZE, WORDS, Config
from archcalc.hf.families.gemma4 import ProportionalRope
from archcalc.hf.families.llama_like import NO_PADDING
from archcalc.hf.families.moe_like import experts
from archcalc.hf.gguf_map import (
    BLOCK,
    HYBRID_SIZES,
    KV_HEADS,
    SIGMOID,
    UNPERMUTED_ENTRIES,
    GgufMap,
    layer_flags,
    layer_size,
    stored,
)
from archcalc.hf.gguf_map import RMS_EPS as GGUF_EPS
from archcalc.hf.lens import Cases, ConfigDraft, ConfigLens, Key, Override
from archcalc.hf.spellings import TIED
from archcalc.hf.stack import CombinedSchedule, DenseFirstSchedule, ListSchedule
from archcalc.hf.templates.decoder import BIASED, LAYER, decoder
from archcalc.hf.tensors import TensorEntry, module, modules, table
from archcalc.hf.vocabulary import LLAMA_ATTENTION, QK_NORMS, flag, positive, rmsnorm, size

FULL_LAYERS = Key("full_attn_idxs", INDICES, None, null=None)


@final
class RoundedWidth(ConfigLens, msgspec.Struct, frozen=True):
    """The width of a feed-forward: by default two thirds of the stated one, scaled and rounded up to a multiple (LFM2).

    It is written as it is, without the adjustment.
    """

    width: ConfigLens
    is_adjusted: Key = Key("block_auto_adjust_ff_dim", FLAG, True)
    factor: Key = Key("block_ffn_dim_multiplier", POSITIVE, 1.0, null=None)
    multiple: Key = Key("block_multiple_of", SIZE, 256)

    def names(self) -> Iterator[str]:
        """Yield the keys of the width and of its adjustment."""
        for key in (self.width, self.is_adjusted, self.factor, self.multiple):
            yield from key.names()

    def read(self, config: Config) -> int:
        """Return the width."""
        width = int(self.width.read(config))
        if not self.is_adjusted.read(config):
            return width
        width, factor, multiple = int(2 * width / 3), self.factor.read(config), self.multiple.read(config)
        return width if factor is None else -(-int(factor * width) // multiple) * multiple

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the width, and that it is not adjusted."""
        self.width.write(value, draft)
        draft.put(self.is_adjusted.name, False)


def full_layers(config: Config, index: int) -> str:
    """Return the kind of a layer: attention where it is listed, by default everywhere."""
    listed = FULL_LAYERS.read(config)
    return "attention" if listed is None or index in listed else "conv"


OUTSIDE = (
    *modules({"embed.tokens": "embed_tokens", "final_norm": "embedding_norm"}, name="model."),
    *module("head", "lm_head"),
)
CONV_LAYER = {
    "mixer.in": "conv.in_proj",
    "mixer.conv": "conv.conv",
    "mixer.out": "conv.out_proj",
    "attn_norm": "operator_norm",
    "mixer_norm": "operator_norm",
    "ffn_norm": "ffn_norm",
    "ffn.gate": "feed_forward.w1",
    "ffn.up": "feed_forward.w3",
    "ffn.down": "feed_forward.w2",
}
LFM2_TENSORS = (
    OUTSIDE,
    modules(
        {
            "attn.q": "self_attn.q_proj",
            "attn.k": "self_attn.k_proj",
            "attn.v": "self_attn.v_proj",
            "attn.out": "self_attn.out_proj",
            "attn.q_norm": "self_attn.q_layernorm",
            "attn.k_norm": "self_attn.k_layernorm",
            **CONV_LAYER,
        },
        *LAYER,
    ),
)
SHORT_CONV = {"kind": "short_conv", "d_conv": size("conv_L_cache", 3), "bias": flag("conv_bias", False)}
LFM2_KINDS = {"full_attention": "attention", "conv": "conv"}
IS_TIED = {"tied": Override(Key("tie_embedding", FLAG), flag("tie_word_embeddings", True))}


def lfm2_gguf(header: Header, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the kinds of layers, by their key heads, and which biases are stored."""
    is_full = layer_flags(header, KV_HEADS)
    return {
        "layer_types": ["full_attention" if full else "conv" for full in is_full],
        "num_key_value_heads": layer_size(header, KV_HEADS),
        "block_auto_adjust_ff_dim": False,
        **stored(conv_bias="shortconv.conv.bias")(header, {}),
        **stored(use_expert_bias="exp_probs_b.bias")(header, {}),
    }


LFM2_GGUF = GgufMap(
    "lfm2",
    {key: name for key, name in HYBRID_SIZES.items() if key != GGUF_EPS}
    | {GGUF_EPS: "norm_eps", "shortconv.l_cache": "conv_L_cache"},
    table(
        modules({"final_norm": "token_embd_norm"}),
        modules(
            {"mixer_norm": "attn_norm", "mixer.in": "shortconv.in_proj", "mixer.out": "shortconv.out_proj"}, *BLOCK
        ),
        TensorEntry("blk.{i}.shortconv.conv.weight", ("layers.{i}.mixer.conv.weight",), squeezed_axes=(1,)),
        TensorEntry("blk.{i}.shortconv.conv.bias", ("layers.{i}.mixer.conv.bias",)),
        UNPERMUTED_ENTRIES,
    ),
    config_keys=lfm2_gguf,
    own_keys=(KV_HEADS,),
    origins={"layer_types": KV_HEADS, "num_key_value_heads": KV_HEADS},
)
LFM2 = decoder(
    "lfm2",
    "Lfm2ForCausalLM",
    vocab=65536,
    n_ctx=128000,
    width=2560,
    kv=8,
    norm=rmsnorm(1e-5, "norm_eps"),
    theta=1_000_000.0,
    head=IS_TIED,
    attention={"qk_norm": "head"},
    kinds={"attention": {}},
    mixers={"conv": SHORT_CONV},
    ffn={"d_ff": RoundedWidth(Override(Key("block_ff_dim", SIZE), size("intermediate_size", 12288)))},
    schedule=ListSchedule(LFM2_KINDS, full_layers, (FULL_LAYERS,)),
    dropouts={},
    tensors=LFM2_TENSORS,
    gguf=LFM2_GGUF,
)


def no_layer_types(config: Config, index: int) -> str:
    """Raise InputError: the class has no kinds of layers by default."""
    raise config.error("layer_types", None, WORDS.description)


EXPERTS = "model.layers.{i}.feed_forward.experts"
CORRECTION = flag("use_expert_bias", True)
LFM2_MOE = decoder(
    "lfm2_moe",
    "Lfm2MoeForCausalLM",
    vocab=65536,
    n_ctx=128000,
    width=2048,
    kv=8,
    d_ff=7168,
    norm=rmsnorm(1e-5, "norm_eps"),
    theta=1_000_000.0,
    head=IS_TIED,
    attention={"qk_norm": "head"},
    kinds={"attention_dense": {}, "attention_moe": {}},
    mixers={"conv_dense": SHORT_CONV, "conv_moe": SHORT_CONV},
    ffn_kinds=dict.fromkeys(
        ("attention_moe", "conv_moe"),
        experts(
            size("num_experts", 32),
            size("num_experts_per_tok", 4),
            size("moe_intermediate_size", 1792),
            activation="silu",
            choose="sigmoid",
            correction=Cases(CORRECTION, {True: "buffer", False: "none"}),
            normalize=flag("norm_topk_prob", True),
            scale=positive("routed_scaling_factor", 1.0),
        ),
    ),
    schedule=CombinedSchedule(
        ListSchedule(LFM2_KINDS, no_layer_types), DenseFirstSchedule(Key("num_dense_layers", LAYERS_OR_NONE, 2))
    ),
    dropouts={},
    tensors=(
        *LFM2_TENSORS,
        TensorEntry(
            f"{EXPERTS}.gate_up_proj",
            ("layers.{i}.ffn.experts.gate.weight", "layers.{i}.ffn.experts.up.weight"),
            axis=1,
        ),
        TensorEntry(f"{EXPERTS}.down_proj", ("layers.{i}.ffn.experts.down.weight",)),
        module("layers.{i}.ffn.router", "model.layers.{i}.feed_forward.gate"),
        TensorEntry("model.layers.{i}.feed_forward.expert_bias", ("layers.{i}.ffn.correction_bias",)),
    ),
    spelling=replace(
        TIED,
        per_expert={
            f"{EXPERTS}.gate_up_proj": (f"{EXPERTS}.{{e}}.w1.weight", f"{EXPERTS}.{{e}}.w3.weight"),
            f"{EXPERTS}.down_proj": (f"{EXPERTS}.{{e}}.w2.weight",),
        },
    ),
    needs={"layer_types": ["conv", "full_attention"] * 16},
    gguf=replace(
        LFM2_GGUF,
        name="lfm2moe",
        keys={
            **LFM2_GGUF.keys,
            "leading_dense_block_count": "num_dense_layers",
            "expert_count": "num_experts",
            "expert_used_count": "num_experts_per_tok",
            "expert_feed_forward_length": "moe_intermediate_size",
        },
        values={"expert_gating_func": (SIGMOID,)},
    ),
)

HEAD_WIDTH = size("head_dim", 128)
LFM3_KINDS = {"full_attention": "global", "sliding_attention": "sliding", "conv": "conv"}


def every_second(config: Config, index: int) -> str:
    """Return the kind of a layer: every second from the third has attention, in turn of all tokens and of a window."""
    return "global" if index % 4 == 2 else "sliding" if index and index % 4 == 0 else "conv"


LFM3 = decoder(
    "lfm3",
    "Lfm3ForCausalLM",
    vocab=128000,
    n_ctx=128000,
    width=2048,
    depth=24,
    heads=16,
    kv=4,
    d_head=HEAD_WIDTH,
    d_ff=7680,
    norm=rmsnorm(1e-5, "norm_eps"),
    tie=True,
    layer={"placement": Cases(flag("use_sandwich_norm", True), {True: "sandwich", False: "pre"})},
    attention=BIASED
    | {
        "qk_norm": "head",
        "gate": Cases(flag("use_attention_gate", True), {True: {"activation": "sigmoid", "over": "head"}, False: None}),
    },
    kinds={
        "global": {
            "window": None,
            "position": lambda rope: ProportionalRope(
                replace(rope, layer_kind="full_attention", theta=1_000_000.0, theta_key=None), HEAD_WIDTH, 0.5
            ),
        },
        "sliding": {
            "window": size("sliding_window", 256, null=None),
            "position": lambda rope: replace(rope, layer_kind="sliding_attention", theta_key=None),
        },
    },
    mixers={"conv": {"kind": "short_conv", "d_conv": size("conv_L_cache", 7), "bias": flag("conv_bias", False)}},
    schedule=ListSchedule(LFM3_KINDS, every_second),
    tensors=(
        OUTSIDE,
        LLAMA_ATTENTION,
        QK_NORMS,
        modules(
            {
                "attn.gate": "self_attn.g_proj",
                "attn_out_norm": "post_operator_norm",
                "mixer_out_norm": "post_operator_norm",
                "ffn_out_norm": "post_ffn_norm",
                **CONV_LAYER,
            },
            *LAYER,
        ),
    ),
    fixed_keys=NO_PADDING,
    spelling=replace(TIED, renames={r"\.self_attn\.gate_proj\.": ".self_attn.g_proj."}),
)

FAMILIES = (LFM2, LFM2_MOE, LFM3)
