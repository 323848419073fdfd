"""GPT-NeoX and Pythia: both parts side by side, each after a norm of its own; a quarter of each head turned."""

from archcalc.hf.config import Config
from archcalc.hf.family import Family
from archcalc.hf.lens import Cases
from archcalc.hf.rope import Rope
from archcalc.hf.spellings import MASKS, Spelling
from archcalc.hf.stack import Stack
from archcalc.hf.tensors import joined, renamed, same, table
from archcalc.hf.vocabulary import QKV, activation, biases, dropout, flag, layernorm, layers, size, tied

WIDTH = size("hidden_size", 6144)
HEADS = size("num_attention_heads", 64)
CONTEXT = size("max_position_embeddings", 2048)
NORM = layernorm(1e-5, "layer_norm_eps")
DROPOUT = dropout("hidden_dropout", 0.0)


def head_width(config: Config) -> int:
    """The width of a head."""
    return int(WIDTH.read(config) // HEADS.read(config))


TEMPLATE = {
    "vocab_size": size("vocab_size", 50432),
    "n_ctx": CONTEXT,
    "d_model": WIDTH,
    "decoder": Stack(
        count=layers(44),
        kinds={
            "layer": {
                "norm": NORM,
                "placement": Cases(flag("use_parallel_residual", True), {True: "parallel_two", False: "pre"}),
                "attention": {
                    "kind": "gqa",
                    "n_heads": HEADS,
                    **biases(flag("attention_bias", True)),
                    "position": Rope(
                        n_ctx=CONTEXT, base="rotary_emb_base", share="rotary_pct", shared=0.25, width=head_width
                    ),
                },
                "ffn": {
                    "kind": "plain",
                    "d_ff": size("intermediate_size", 24576),
                    "activation": activation("gelu"),
                    "bias": True,
                },
            }
        },
        around={"final_norm": NORM},
    ),
    "head": tied(False),
    "dropout": {"embedding": DROPOUT, "attention": dropout("attention_dropout", 0.0), "residual": DROPOUT},
}

TENSORS = table(
    renamed({"embed.tokens": "embed_in", "final_norm": "final_layer_norm"}, name="gpt_neox."),
    joined(
        QKV,
        "gpt_neox.layers.{i}.attention.query_key_value",
        order="by_head",
    ),
    renamed(
        {
            "attn.out": "attention.dense",
            "attn_norm": "input_layernorm",
            "ffn.up": "mlp.dense_h_to_4h",
            "ffn.down": "mlp.dense_4h_to_h",
            "ffn_norm": "post_attention_layernorm",
        },
        "layers.{i}.",
        "gpt_neox.layers.{i}.",
    ),
    same("head", "lm_head"),
)

SPELLING = Spelling(
    renamed={r"^embed_out\.": "lm_head."}, copies={"lm_head.weight": "gpt_neox.embed_in.weight"}, left=MASKS
)

FAMILIES = (Family("gpt_neox", ("GPTNeoXForCausalLM",), TEMPLATE, TENSORS, spelling=SPELLING),)
