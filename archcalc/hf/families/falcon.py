"""Falcon: both parts side by side; the newer architecture has key-value heads and, mostly, a norm for each part."""

from typing import Any

from msgspec.structs import replace

from archcalc.formats.gguf_file import Header
from archcalc.hf.config import ValueType
from archcalc.hf.family import Family
from archcalc.hf.gguf_map import FUSED_QKV, KV_HEADS, LAYERNORM_SIZES, NORM_EPS, UNPERMUTED_ENTRIES, GgufMap, stored
from archcalc.hf.lens import Cases, Key, Template
from archcalc.hf.rope import RopeLens
from archcalc.hf.spellings import Spelling
from archcalc.hf.templates.gpt_like import SizeKeys, gpt_layer, gpt_like, inner
from archcalc.hf.tensors import TensorEntry, TensorMap, fused_modules, module, modules, table
from archcalc.hf.vocabulary import QKV, activation, biases, dropout, flag, keys, layernorm, layers, size, tied

SIZES = SizeKeys(
    size("vocab_size", 65024),
    size("max_position_embeddings", 2048),
    size("hidden_size", 4544, aliases=("n_embed",)),
    layers(32),
    size("num_attention_heads", 71),
)
HEADS = SIZES.n_heads
NORM = layernorm(1e-5, "layer_norm_epsilon")
BIAS = flag("bias", False)
ONE_OR_TWO = Key(
    "num_ln_in_parallel_attn", ValueType(lambda value: type(value) is int and value in (1, 2), "1 or 2"), 2, 2
)
POSITION = Cases(flag("alibi", False), {False: RopeLens(n_ctx=SIZES.n_ctx), True: {"kind": "alibi", "scaled": True}})


def layer(placement: Template, n_kv_heads: Template) -> Template:
    """Return a layer of either architecture."""
    return gpt_layer(
        SIZES,
        norm=NORM,
        placement=placement,
        attention=biases(BIAS) | {"n_kv_heads": n_kv_heads, "position": POSITION},
        d_ff=inner(SIZES, "ffn_hidden_size"),
        activation=activation("gelu", "activation"),
        ffn_bias=BIAS,
    )


OLDER = layer(
    Cases(flag("parallel_attn", True), {True: "parallel", False: "pre"}),
    Cases(flag("multi_query", True), {True: 1, False: HEADS}),
)
NEWER = layer(Cases(ONE_OR_TWO, {2: "parallel_two", 1: "parallel"}), size("num_kv_heads", HEADS.read, null=HEADS.read))

TEMPLATE = gpt_like(
    SIZES,
    Cases(flag("new_decoder_architecture", False), {False: OLDER, True: NEWER}),
    stack_fields={"final_norm": NORM},
    head=tied(True),
    dropout={
        "attention": dropout("attention_dropout", 0.0, null=0.0),
        "residual": dropout("hidden_dropout", 0.0, null=0.0),
    },
)


def tensors(*norms: tuple[TensorEntry, ...]) -> TensorMap:
    """Return the tensors; what the `norms` of a layer are called depends on how many there are, and where."""
    return table(
        *norms,
        modules({"embed.tokens": "word_embeddings", "final_norm": "ln_f"}, name="transformer."),
        fused_modules(QKV, "transformer.h.{i}.self_attention.query_key_value", order="by_head"),
        modules(
            {"attn.out": "self_attention.dense", "ffn.up": "mlp.dense_h_to_4h", "ffn.down": "mlp.dense_4h_to_h"},
            "layers.{i}.",
            "transformer.h.{i}.",
        ),
        module("layers.{i}.attn_norm", "transformer.h.{i}.input_layernorm"),
        module("head", "lm_head"),
    )


TWO = (
    *module("layers.{i}.attn_norm", "transformer.h.{i}.ln_attn", requires="layers.{i}.ffn_norm.weight"),
    *module("layers.{i}.ffn_norm", "transformer.h.{i}.ln_mlp"),
)
PER_EXPERT = module("layers.{i}.ffn_norm", "transformer.h.{i}.post_attention_layernorm")


def falcon_gguf(header: Header, config: dict[str, Any]) -> dict[str, Any]:
    """Return the form: Falcon-40B and 180B have two norms, Falcon-7B one, and all queries share its keys and values."""
    n_kv_heads = config.get("num_kv_heads", config["num_attention_heads"])
    has_two = "blk.0.attn_norm_2.weight" in header.tensors
    return {
        "new_decoder_architecture": has_two,
        "multi_query": n_kv_heads == 1 and not has_two,
        "num_kv_heads": n_kv_heads if has_two else config["num_attention_heads"],
        **stored(bias="attn_qkv.bias")(header, {}),
    }


# Of two norms, that of attention has a number.
GGUF = GgufMap(
    "falcon",
    {key: name for key, name in LAYERNORM_SIZES.items() if key != KV_HEADS}
    | {NORM_EPS: "layer_norm_epsilon", KV_HEADS: "num_kv_heads", "feed_forward_length": "ffn_hidden_size"},
    table(
        module("layers.{i}.attn_norm", "blk.{i}.attn_norm_2", requires="layers.{i}.ffn_norm.weight"),
        module("layers.{i}.ffn_norm", "blk.{i}.attn_norm"),
        FUSED_QKV,
        UNPERMUTED_ENTRIES,
    ),
    config_keys=falcon_gguf,
    values={"tensor_data_layout": ("jploski",)},
)

FALCON = Family(
    "falcon",
    ("FalconForCausalLM",),
    TEMPLATE,
    tensors(TWO),
    # A key of the code that Falcon first came with, which the class does not have.
    irrelevant=keys("apply_residual_connection_post_layernorm"),
    spelling=Spelling(
        renames={r"^(?=h\.|word_embeddings\.|word_embeddings_layernorm\.|ln_f\.)": "transformer."},
        copies={"lm_head.weight": "transformer.word_embeddings.weight"},
    ),
    gguf=GGUF,
)
SERIAL = replace(
    FALCON,
    tensors=tensors(PER_EXPERT),
    when=lambda data: data.get("parallel_attn") is False and not data.get("new_decoder_architecture"),
)

FAMILIES = (replace(FALCON, forms=(SERIAL,)),)
