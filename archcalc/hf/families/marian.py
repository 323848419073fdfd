"""Marian's translation models: the transformer of 2017, with stored sinusoidal tables and one table of tokens."""

import math

from archcalc.hf.family import Family
from archcalc.hf.lens import Cases, Given, Must, Template
from archcalc.hf.spellings import Spelling
from archcalc.hf.stack import Stack
from archcalc.hf.tensors import Holds, renamed, same, table
from archcalc.hf.vocabulary import activation, biases, dropout, flag, keys, layers, size, tied

VOCABULARY = size("vocab_size", 58101)
WIDTH = size("d_model", 1024, others=("hidden_size",))
DROPOUT = dropout("dropout", 0.1)


def layer(side: str, cross: bool, **others: tuple[str, ...]) -> Template:
    """A layer of one side, whose keys have names of their own."""
    attention = {"kind": "gqa", "n_heads": size(f"{side}_attention_heads", 16, **others), **biases(True)}
    return {
        "norm": {"kind": "layernorm", "eps": 1e-5},
        "placement": "post",
        "attention": attention,
        "cross": attention if cross else None,
        "ffn": {
            "kind": "plain",
            "d_ff": size(f"{side}_ffn_dim", 4096),
            "activation": activation("gelu", "activation_function"),
            "bias": True,
        },
    }


TABLE = {"position": {"kind": "sinusoidal", "stored": True, "order": "halves"}}

TEMPLATE = {
    "vocab_size": VOCABULARY,
    "n_ctx": size("max_position_embeddings", 1024),
    "d_model": WIDTH,
    "embedding": {
        "scale": Cases(
            flag("scale_embedding", False), {False: None, True: Given(lambda config: math.sqrt(WIDTH.read(config)))}
        )
    },
    "encoder": Stack(
        count=layers(12, "encoder_layers", others=("num_hidden_layers",)),
        kinds={"layer": layer("encoder", cross=False, others=("num_attention_heads",))},
        around=TABLE,
    ),
    "decoder": Stack(count=layers(12, "decoder_layers"), kinds={"layer": layer("decoder", cross=True)}, around=TABLE),
    "head": tied(True) | {"bias_buffer": Given(True)},
    "dropout": {
        "embedding": DROPOUT,
        "attention": dropout("attention_dropout", 0.0),
        "residual": DROPOUT,
        "ffn": dropout("activation_dropout", 0.0),
    },
}


def _stack(stack: str, attentions: dict[str, str]) -> tuple[Holds, ...]:
    """A stack's tensors."""
    parts = {"q": "q_proj", "k": "k_proj", "v": "v_proj", "out": "out_proj"}
    projections = {
        f"{ours}.{part}": f"{there}.{name}" for ours, there in attentions.items() for part, name in parts.items()
    }
    norms = {f"{ours}_norm": f"{there}_layer_norm" for ours, there in attentions.items()}
    rest = {"ffn.up": "fc1", "ffn.down": "fc2", "ffn_norm": "final_layer_norm"}
    return (
        *same(f"{stack}.positions", f"model.{stack}.embed_positions"),
        *renamed(projections | norms | rest, f"{stack}.layers.{{i}}.", f"model.{stack}.layers.{{i}}."),
    )


TENSORS = table(
    same("embed.tokens", "model.shared"),
    _stack("encoder", {"attn": "self_attn"}),
    _stack("decoder", {"attn": "self_attn", "cross": "encoder_attn"}),
    same("head", "lm_head"),
    Holds("final_logits_bias", ("head.bias_buffer",)),
)

FAMILIES = (
    Family(
        "marian",
        ("MarianMTModel",),
        TEMPLATE,
        TENSORS,
        must=(
            Must("is_decoder", (False,)),
            Must("share_encoder_decoder_embeddings", (True,)),
            Must("decoder_vocab_size", (VOCABULARY, None)),
            # Marian's own options, of which transformers has built one choice alone.
            Must("normalize_before", (False,)),
            Must("normalize_embedding", (False,)),
            Must("add_final_layer_norm", (False,)),
            Must("static_position_embeddings", (True,)),
        ),
        harmless=keys("add_bias_logits classif_dropout encoder_layerdrop decoder_layerdrop extra_pos_embeddings"),
        is_encoder_decoder=True,
        spelling=Spelling(
            copies={
                f"{part}.weight": "model.shared.weight"
                for part in ("model.encoder.embed_tokens", "model.decoder.embed_tokens", "lm_head")
            },
            computed=("encoder.positions.weight", "decoder.positions.weight", "head.bias_buffer"),
        ),
        # By default these are the last rows of a table of 58,101.
        also={"pad_token_id": 0, "decoder_start_token_id": 0},
    ),
)
