"""BLOOM: ALiBi and a norm on the embedding."""

from archcalc.hf.family import Family
from archcalc.hf.lens import Given, Must
from archcalc.hf.spellings import Spelling
from archcalc.hf.stack import Stack
from archcalc.hf.tensors import joined, renamed, same, table
from archcalc.hf.vocabulary import QKV, biases, dropout, keys, layernorm, layers, size, tied

WIDTH = size("hidden_size", 64, others=("n_embed",))
NORM = layernorm(1e-5, "layer_norm_epsilon")

TEMPLATE = {
    "vocab_size": size("vocab_size", 250880),
    # What it was trained on: ALiBi sets no bound, and the class knows none.
    "n_ctx": size("seq_length", 2048),
    "d_model": WIDTH,
    "decoder": Stack(
        count=layers(2, "n_layer", others=("num_hidden_layers",)),
        kinds={
            "layer": {
                "norm": NORM,
                "attention": {
                    "kind": "gqa",
                    "n_heads": size("n_head", 8, others=("num_attention_heads",)),
                    **biases(True),
                    "position": {"kind": "alibi"},
                },
                "ffn": {
                    "kind": "plain",
                    "d_ff": Given(lambda config: 4 * WIDTH.read(config)),
                    "activation": "gelu_tanh",
                    "bias": True,
                },
            }
        },
        around={"embed_norm": NORM, "final_norm": NORM},
    ),
    "head": tied(True),
    "dropout": {"attention": dropout("attention_dropout", 0.0), "residual": dropout("hidden_dropout", 0.0)},
}

TENSORS = table(
    renamed(
        {"embed.tokens": "word_embeddings", "embed_norm": "word_embeddings_layernorm", "final_norm": "ln_f"},
        name="transformer.",
    ),
    joined(
        QKV,
        "transformer.h.{i}.self_attention.query_key_value",
        order="by_head",
    ),
    renamed(
        {
            "attn.out": "self_attention.dense",
            "attn_norm": "input_layernorm",
            "ffn.up": "mlp.dense_h_to_4h",
            "ffn.down": "mlp.dense_4h_to_h",
            "ffn_norm": "post_attention_layernorm",
        },
        "layers.{i}.",
        "transformer.h.{i}.",
    ),
    same("head", "lm_head"),
)

FAMILIES = (
    Family(
        "bloom",
        ("BloomForCausalLM",),
        TEMPLATE,
        TENSORS,
        must=(Must("apply_residual_connection_post_layernorm", (False,)), Must("n_inner", (None,))),
        harmless=keys(
            "slow_but_exact offset_alibi attention_softmax_in_fp32 bias_dropout_fusion masked_softmax_fusion"
            " skip_bias_add skip_bias_add_qkv"
        ),
        spelling=Spelling(
            renamed={r"^(?=h\.|word_embeddings\.|word_embeddings_layernorm\.|ln_f\.)": "transformer."},
            copies={"lm_head.weight": "transformer.word_embeddings.weight"},
        ),
    ),
)
