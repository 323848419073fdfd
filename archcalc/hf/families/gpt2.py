"""GPT-2, and what is built like it (GPT-3 apart from its sparse attention)."""

from archcalc.hf.config import Config
from archcalc.hf.family import Family
from archcalc.hf.gguf_map import BLOCK, OUTSIDE, GgufMap
from archcalc.hf.lens import Must
from archcalc.hf.spellings import MASKS, Spelling
from archcalc.hf.stack import Stack
from archcalc.hf.tensors import joined, renamed, same, table
from archcalc.hf.vocabulary import QKV, activation, biases, dropout, keys, layernorm, layers, size, tied

WIDTH = size("n_embd", 768, others=("hidden_size",))
NORM = layernorm(1e-5, "layer_norm_epsilon")


def four_times(config: Config) -> int:
    """The feed-forward's width where none is stated."""
    return 4 * int(WIDTH.read(config))


TEMPLATE = {
    "vocab_size": size("vocab_size", 50257),
    "n_ctx": size("n_positions", 1024, others=("max_position_embeddings",)),
    "d_model": WIDTH,
    "decoder": Stack(
        count=layers(12, "n_layer", others=("num_hidden_layers",)),
        kinds={
            "layer": {
                "norm": NORM,
                "attention": {
                    "kind": "gqa",
                    "n_heads": size("n_head", 12, others=("num_attention_heads",)),
                    **biases(True),
                },
                "ffn": {
                    "kind": "plain",
                    "d_ff": size("n_inner", four_times, null=four_times),
                    "activation": activation("gelu_new", "activation_function"),
                    "bias": True,
                },
            }
        },
        around={"position": {"kind": "learned"}, "final_norm": NORM},
    ),
    "head": tied(True),
    "dropout": {
        "embedding": dropout("embd_pdrop", 0.1),
        "attention": dropout("attn_pdrop", 0.1),
        "residual": dropout("resid_pdrop", 0.1),
    },
}

TENSORS = table(
    renamed({"embed.tokens": "wte", "positions": "wpe", "final_norm": "ln_f"}, name="transformer."),
    renamed({"attn_norm": "ln_1", "ffn_norm": "ln_2"}, "layers.{i}.", "transformer.h.{i}."),
    joined(QKV, "transformer.h.{i}.attn.c_attn", transposed=True),
    same("layers.{i}.attn.out", "transformer.h.{i}.attn.c_proj", transposed=True),
    same("layers.{i}.ffn.up", "transformer.h.{i}.mlp.c_fc", transposed=True),
    same("layers.{i}.ffn.down", "transformer.h.{i}.mlp.c_proj", transposed=True),
    same("head", "lm_head"),
)

GGUF = GgufMap(
    "gpt2",
    {
        "block_count": "n_layer",
        "context_length": "n_positions",
        "embedding_length": "n_embd",
        "feed_forward_length": "n_inner",
        "attention.head_count": "n_head",
        "attention.layer_norm_epsilon": "layer_norm_epsilon",
    },
    table(
        OUTSIDE,
        renamed({"positions": "position_embd"}),
        joined(QKV, "blk.{i}.attn_qkv"),
        renamed({"attn.out": "attn_output", "attn_norm": "attn_norm"}, *BLOCK),
        renamed({"ffn.up": "ffn_up", "ffn.down": "ffn_down", "ffn_norm": "ffn_norm"}, *BLOCK),
    ),
)

FAMILIES = (
    Family(
        "gpt2",
        ("GPT2LMHeadModel",),
        TEMPLATE,
        TENSORS,
        must=(Must("scale_attn_weights", (True,)), Must("scale_attn_by_inverse_layer_idx", (False,))),
        harmless=keys(
            "n_ctx reorder_and_upcast_attn summary_type summary_use_proj summary_activation summary_proj_to_labels"
            " summary_first_dropout"
        ),
        spelling=Spelling(
            renamed={r"^(?=h\.|wte\.|wpe\.|ln_f\.)": "transformer."},
            copies={"lm_head.weight": "transformer.wte.weight"},
            left=MASKS,
        ),
        gguf=GGUF,
    ),
)
