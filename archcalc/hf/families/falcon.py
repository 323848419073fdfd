"""Falcon: both parts side by side; the newer architecture has key-value heads and, mostly, a norm for each part."""

from archcalc.hf.config import Config, Kind
from archcalc.hf.family import Family
from archcalc.hf.lens import Cases, Key, Must, Template
from archcalc.hf.rope import Rope
from archcalc.hf.spellings import Spelling
from archcalc.hf.stack import Stack
from archcalc.hf.tensors import joined, renamed, same, table
from archcalc.hf.vocabulary import QKV, activation, biases, dropout, flag, layernorm, layers, size, tied

WIDTH = size("hidden_size", 4544, others=("n_embed",))
HEADS = size("num_attention_heads", 71)
CONTEXT = size("max_position_embeddings", 2048)
NORM = layernorm(1e-5, "layer_norm_epsilon")
BIAS = flag("bias", False)
ALIBI = {"kind": "alibi", "scaled": True}
ONE_OR_TWO = Key("num_ln_in_parallel_attn", Kind(lambda value: type(value) is int and value in (1, 2), "1 or 2"), 2, 2)


def four_times(config: Config) -> int:
    """The feed-forward's width where none is stated."""
    return 4 * int(WIDTH.read(config))


def layer(placement: Template, n_kv_heads: Template) -> Template:
    """A layer of either architecture."""
    return {
        "norm": NORM,
        "placement": placement,
        "attention": {
            "kind": "gqa",
            "n_heads": HEADS,
            "n_kv_heads": n_kv_heads,
            **biases(BIAS),
            "position": Cases(
                flag("alibi", False), {False: Rope(n_ctx=CONTEXT), True: {"kind": "alibi", "scaled": True}}
            ),
        },
        "ffn": {
            "kind": "plain",
            "d_ff": size("ffn_hidden_size", four_times, null=four_times),
            "activation": activation("gelu", "activation"),
            "bias": BIAS,
        },
    }


OLDER = layer("parallel", Cases(flag("multi_query", True), {True: 1, False: HEADS}))
NEWER = layer(Cases(ONE_OR_TWO, {2: "parallel_two", 1: "parallel"}), size("num_kv_heads", HEADS.read, null=HEADS.read))

TEMPLATE = {
    "vocab_size": size("vocab_size", 65024),
    "n_ctx": CONTEXT,
    "d_model": WIDTH,
    "decoder": Stack(
        count=layers(32),
        kinds={"layer": Cases(flag("new_decoder_architecture", False), {False: OLDER, True: NEWER})},
        around={"final_norm": NORM},
    ),
    "head": tied(True),
    "dropout": {
        "attention": dropout("attention_dropout", 0.0, null=0.0),
        "residual": dropout("hidden_dropout", 0.0, null=0.0),
    },
}

TENSORS = table(
    renamed({"embed.tokens": "word_embeddings", "final_norm": "ln_f"}, name="transformer."),
    joined(
        QKV,
        "transformer.h.{i}.self_attention.query_key_value",
        order="by_head",
    ),
    renamed(
        {"attn.out": "self_attention.dense", "ffn.up": "mlp.dense_h_to_4h", "ffn.down": "mlp.dense_4h_to_h"},
        "layers.{i}.",
        "transformer.h.{i}.",
    ),
    same("layers.{i}.attn_norm", "transformer.h.{i}.ln_attn", beside="layers.{i}.ffn_norm.weight"),
    same("layers.{i}.attn_norm", "transformer.h.{i}.input_layernorm"),
    same("layers.{i}.ffn_norm", "transformer.h.{i}.ln_mlp"),
    same("head", "lm_head"),
)

FAMILIES = (
    Family(
        "falcon",
        ("FalconForCausalLM",),
        TEMPLATE,
        TENSORS,
        must=(Must("parallel_attn", (True,)), Must("apply_residual_connection_post_layernorm", (False,))),
        spelling=Spelling(
            renamed={r"^(?=h\.|word_embeddings\.|word_embeddings_layernorm\.|ln_f\.)": "transformer."},
            copies={"lm_head.weight": "transformer.word_embeddings.weight"},
        ),
    ),
)
