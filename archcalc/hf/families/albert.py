"""ALBERT with its masked-LM head: one layer's weights take every turn, and the token table is narrow."""

from archcalc.hf.config import COUNT
from archcalc.hf.family import Family
from archcalc.hf.lens import Key, Must
from archcalc.hf.spellings import GAMMA, Spelling
from archcalc.hf.stack import Stack
from archcalc.hf.tensors import Holds, renamed, table
from archcalc.hf.vocabulary import activation, biases, dropout, keys, layernorm, layers, size

NORM = layernorm(1e-12, "layer_norm_eps")
ACTIVATION = activation("gelu_new")
DROPOUT = dropout("hidden_dropout_prob", 0.0)

TEMPLATE = {
    "vocab_size": size("vocab_size", 30000),
    "n_ctx": size("max_position_embeddings", 512),
    "d_model": size("hidden_size", 4096),
    "embedding": {
        "factor": {"d_embed": size("embedding_size", 128), "bias": True, "widen": "after_positions"},
        "n_token_types": Key("type_vocab_size", COUNT, 2),
    },
    "encoder": Stack(
        count=layers(12),
        kinds={
            "layer": {
                "norm": NORM,
                "placement": "post",
                "attention": {"kind": "gqa", "n_heads": size("num_attention_heads", 64), **biases(True)},
                "ffn": {
                    "kind": "plain",
                    "d_ff": size("intermediate_size", 16384),
                    "activation": ACTIVATION,
                    "bias": True,
                },
            }
        },
        around={"position": {"kind": "learned"}, "embed_norm": NORM},
        share_weights=True,
    ),
    "head": {"tied": True, "bias": True, "transform": {"activation": ACTIVATION, "norm": NORM}},
    "dropout": {
        "embedding": DROPOUT,
        "attention": dropout("attention_probs_dropout_prob", 0.0),
        "residual": DROPOUT,
    },
}

TENSORS = table(
    renamed(
        {
            "embed.tokens": "embeddings.word_embeddings",
            "embed.types": "embeddings.token_type_embeddings",
            "embed.project": "encoder.embedding_hidden_mapping_in",
            "positions": "embeddings.position_embeddings",
            "embed_norm": "embeddings.LayerNorm",
        },
        name="albert.",
    ),
    renamed(
        {
            "attn.q": "attention.query",
            "attn.k": "attention.key",
            "attn.v": "attention.value",
            "attn.out": "attention.dense",
            "attn_norm": "attention.LayerNorm",
            "ffn.up": "ffn",
            "ffn.down": "ffn_output",
            "ffn_norm": "full_layer_layer_norm",
        },
        "layers.0.",
        "albert.encoder.albert_layer_groups.0.albert_layers.0.",
    ),
    renamed({"transform": "dense", "norm": "LayerNorm"}, "head.", "predictions."),
    Holds("predictions.bias", ("head.bias",)),
)

FAMILIES = (
    Family(
        "albert",
        ("AlbertForMaskedLM",),
        TEMPLATE,
        TENSORS,
        must=(
            Must("num_hidden_groups", (1,)),
            Must("inner_group_num", (1,)),
            Must("tie_word_embeddings", (True,)),
            Must("position_embedding_type", ("absolute",)),
        ),
        harmless=keys(
            "classifier_dropout_prob down_scale_factor gap_size layers_to_keep net_structure_type num_memory_blocks"
        ),
        spelling=Spelling(
            renamed=GAMMA,
            copies={
                "predictions.decoder.weight": "albert.embeddings.word_embeddings.weight",
                "predictions.decoder.bias": "predictions.bias",
            },
            left={
                r"albert\.pooler(_activation)?\..*": "the pooler, which the masked-LM class does not have",
                r"sop_classifier\..*": "the sentence-order head, which the masked-LM class does not have",
            },
        ),
    ),
)
