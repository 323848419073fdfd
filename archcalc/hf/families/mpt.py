"""MPT: ALiBi, no biases, LayerNorms without one; the attention's keys stand in a mapping of their own."""

from collections.abc import Mapping
from typing import Any

from archcalc.formats.gguf_file import Header
from archcalc.hf.config import POSITIVE
from archcalc.hf.family import Family
from archcalc.hf.gguf_map import FUSED_QKV, KV_HEADS, NORM_EPS, UNPERMUTED_ENTRIES, GgufMap, value_of
from archcalc.hf.lens import Constraint, Conversion, ImpliedValue, Key
from archcalc.hf.nested_keys import NestedConstraint, NestedTemplate
from archcalc.hf.spellings import Spelling
from archcalc.hf.templates.gpt_like import SizeKeys, gpt_layer, gpt_like
from archcalc.hf.tensors import fused_modules, module, modules, table
from archcalc.hf.vocabulary import QKV, dropout, keys, layernorm, layers, size, tied

SIZES = SizeKeys(
    size("vocab_size", 50368),
    size("max_seq_len", 2048),
    size("d_model", 2048, aliases=("hidden_size",)),
    layers(24, "n_layers", aliases=("num_hidden_layers",)),
    size("n_heads", 16, aliases=("num_attention_heads",)),
)
NORM = layernorm(1e-5, "layer_norm_epsilon", bias=False)


def whole(key: Key) -> Conversion:
    """Return a number that is written without a fraction, if it has none: the class takes such alone."""
    return Conversion(key, float, lambda value: int(value) if value == int(value) else value)


RATE = NestedTemplate("attn_config", whole(dropout("attn_pdrop", 0.0)))

TEMPLATE = gpt_like(
    SIZES,
    gpt_layer(
        SIZES,
        norm=NORM,
        attention={
            "position": {
                "kind": "alibi",
                "max_bias": NestedTemplate("attn_config", whole(Key("alibi_bias_max", POSITIVE, 8.0))),
            },
            "clip": NestedTemplate("attn_config", Key("clip_qkv", POSITIVE, None, null=None)),
            "scale": NestedTemplate("attn_config", Key("softmax_scale", POSITIVE, None, null=None)),
        },
        # The class multiplies by four whatever `expansion_ratio` says.
        d_ff=ImpliedValue(SIZES.four_times),
        activation="gelu",
        ffn_bias=False,
    ),
    stack_fields={"final_norm": NORM},
    head=tied(True),
    dropout={"attention": RATE, "residual": RATE},
)

TENSORS = table(
    modules({"embed.tokens": "wte", "final_norm": "norm_f"}, name="transformer."),
    fused_modules(QKV, "transformer.blocks.{i}.attn.Wqkv"),
    modules(
        {
            "attn.out": "attn.out_proj",
            "attn_norm": "norm_1",
            "ffn.up": "ffn.up_proj",
            "ffn.down": "ffn.down_proj",
            "ffn_norm": "norm_2",
        },
        "layers.{i}.",
        "transformer.blocks.{i}.",
    ),
    module("head", "lm_head"),
)


def mpt_gguf(header: Header, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of the nested config."""
    clip, slopes = value_of(header, "attention.clamp_kqv"), value_of(header, "attention.max_alibi_bias") or 8
    slopes = int(slopes) if isinstance(slopes, float) and slopes.is_integer() else slopes
    return {"attn_config": {"clip_qkv": clip or None, "alibi_bias_max": slopes, "alibi": True}}


GGUF = GgufMap(
    "mpt",
    {
        "block_count": "n_layers",
        "context_length": "max_seq_len",
        "embedding_length": "d_model",
        "attention.head_count": "n_heads",
        NORM_EPS: "layer_norm_epsilon",
    },
    table(FUSED_QKV, UNPERMUTED_ENTRIES),
    config_keys=mpt_gguf,
    own_keys=("feed_forward_length", KV_HEADS, "attention.clamp_kqv", "attention.max_alibi_bias"),
)

FAMILIES = (
    Family(
        "mpt",
        ("MptForCausalLM",),
        TEMPLATE,
        TENSORS,
        constraints=(
            NestedConstraint(
                "attn_config",
                (),
                constraints=(
                    Constraint("attn_type", ("multihead_attention",)),
                    Constraint("qk_ln", (False,)),
                    Constraint("prefix_lm", (False,)),
                    Constraint("alibi", (True,)),
                ),
                known=keys("attn_pdrop softmax_scale alibi_bias_max clip_qkv"),
                irrelevant=keys("attn_impl attn_uses_sequence_id"),
            ),
            Constraint("expansion_ratio", (4,)),
            Constraint("logit_scale", (None,)),
        ),
        # The class has neither biases nor positions of its own, whatever these say.
        irrelevant=keys("no_bias learned_pos_emb emb_pdrop resid_pdrop embedding_fraction init_device norm_type"),
        spelling=Spelling(
            renames={r"^(?=blocks\.|wte\.|norm_f\.)": "transformer."},
            copies={"lm_head.weight": "transformer.wte.weight"},
        ),
        gguf=GGUF,
    ),
)
