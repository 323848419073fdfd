"""BERT with its masked-LM head."""

from archcalc.hf.config import COUNT
from archcalc.hf.family import Family
from archcalc.hf.lens import Key, Must
from archcalc.hf.spellings import GAMMA, Spelling
from archcalc.hf.stack import Stack
from archcalc.hf.tensors import Holds, renamed, table
from archcalc.hf.vocabulary import activation, biases, dropout, keys, layernorm, layers, size

NORM = layernorm(1e-12, "layer_norm_eps")
ACTIVATION = activation("gelu")
DROPOUT = dropout("hidden_dropout_prob", 0.1)

TEMPLATE = {
    "vocab_size": size("vocab_size", 30522),
    "n_ctx": size("max_position_embeddings", 512),
    "d_model": size("hidden_size", 768),
    "embedding": {"n_token_types": Key("type_vocab_size", COUNT, 2)},
    "encoder": Stack(
        count=layers(12),
        kinds={
            "layer": {
                "norm": NORM,
                "placement": "post",
                "attention": {"kind": "gqa", "n_heads": size("num_attention_heads", 12), **biases(True)},
                "ffn": {
                    "kind": "plain",
                    "d_ff": size("intermediate_size", 3072),
                    "activation": ACTIVATION,
                    "bias": True,
                },
            }
        },
        around={"position": {"kind": "learned"}, "embed_norm": NORM},
    ),
    "head": {"tied": True, "bias": True, "transform": {"activation": ACTIVATION, "norm": NORM}},
    "dropout": {
        "embedding": DROPOUT,
        "attention": dropout("attention_probs_dropout_prob", 0.1),
        "residual": DROPOUT,
    },
}

TENSORS = table(
    renamed(
        {
            "embed.tokens": "word_embeddings",
            "embed.types": "token_type_embeddings",
            "positions": "position_embeddings",
            "embed_norm": "LayerNorm",
        },
        name="bert.embeddings.",
    ),
    renamed(
        {
            "attn.q": "attention.self.query",
            "attn.k": "attention.self.key",
            "attn.v": "attention.self.value",
            "attn.out": "attention.output.dense",
            "attn_norm": "attention.output.LayerNorm",
            "ffn.up": "intermediate.dense",
            "ffn.down": "output.dense",
            "ffn_norm": "output.LayerNorm",
        },
        "layers.{i}.",
        "bert.encoder.layer.{i}.",
    ),
    renamed({"transform": "dense", "norm": "LayerNorm"}, "head.", "cls.predictions.transform."),
    Holds("cls.predictions.bias", ("head.bias",)),
)

FAMILIES = (
    Family(
        "bert",
        ("BertForMaskedLM", "BertLMHeadModel"),
        TEMPLATE,
        TENSORS,
        must=(
            Must("is_decoder", (False,)),
            Must("tie_word_embeddings", (True,)),
            Must("position_embedding_type", ("absolute",)),
        ),
        # The pooler's, which the masked-LM class does not have.
        harmless=keys(
            "directionality pooler_fc_size pooler_num_attention_heads pooler_num_fc_layers pooler_size_per_head"
            " pooler_type"
        ),
        spelling=Spelling(
            renamed=GAMMA,
            copies={
                "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
                "cls.predictions.decoder.bias": "cls.predictions.bias",
            },
            left={
                r"bert\.pooler\..*": "the pooler, which the masked-LM class does not have",
                r"cls\.seq_relationship\..*": "the next-sentence head, which the masked-LM class does not have",
            },
        ),
    ),
)
