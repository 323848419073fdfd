"""BLOOM: ALiBi and a norm on the embedding."""

from archcalc.hf.family import Family
from archcalc.hf.gguf_map import FUSED_QKV, KV_HEADS, NORM_EPS, UNPERMUTED_ENTRIES, GgufMap
from archcalc.hf.lens import Cases, Constraint, ImpliedValue
from archcalc.hf.spellings import Spelling
from archcalc.hf.templates.gpt_like import SizeKeys, gpt_layer, gpt_like
from archcalc.hf.tensors import fused_modules, module, modules, table
from archcalc.hf.vocabulary import QKV, biases, dropout, flag, keys, layernorm, layers, size, tied

SIZES = SizeKeys(
    size("vocab_size", 250880),
    # What it was trained on: ALiBi sets no bound, and the class knows none.
    size("seq_length", 2048),
    size("hidden_size", 64, aliases=("n_embed",)),
    layers(2, "n_layer", aliases=("num_hidden_layers",)),
    size("n_head", 8, aliases=("num_attention_heads",)),
)
NORM = layernorm(1e-5, "layer_norm_epsilon")

TEMPLATE = gpt_like(
    SIZES,
    gpt_layer(
        SIZES,
        norm=NORM,
        attention=biases(True) | {"position": {"kind": "alibi"}},
        d_ff=ImpliedValue(SIZES.four_times),
        activation="gelu_tanh",
    )
    | {"skip_reads": Cases(flag("apply_residual_connection_post_layernorm", False), {False: "stream", True: "normed"})},
    stack_fields={"embed_norm": NORM, "final_norm": NORM},
    head=tied(True),
    dropout={"attention": dropout("attention_dropout", 0.0), "residual": dropout("hidden_dropout", 0.0)},
)

TENSORS = table(
    modules(
        {"embed.tokens": "word_embeddings", "embed_norm": "word_embeddings_layernorm", "final_norm": "ln_f"},
        name="transformer.",
    ),
    fused_modules(QKV, "transformer.h.{i}.self_attention.query_key_value", order="by_head"),
    modules(
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
    module("head", "lm_head"),
)

GGUF = GgufMap(
    "bloom",
    {
        "block_count": "n_layer",
        "embedding_length": "hidden_size",
        "attention.head_count": "n_head",
        NORM_EPS: "layer_norm_epsilon",
    },
    table(modules({"embed_norm": "token_embd_norm"}), FUSED_QKV, UNPERMUTED_ENTRIES),
    own_keys=("context_length", "feed_forward_length", KV_HEADS),
)

FAMILIES = (
    Family(
        "bloom",
        ("BloomForCausalLM",),
        TEMPLATE,
        TENSORS,
        # Slices of a projection are added up without its bias.
        run_constraints=(
            Constraint(
                "slow_but_exact", (False, ImpliedValue(lambda config: config.data.get("pretraining_tp", 1) == 1))
            ),
        ),
        irrelevant=keys(
            "n_inner offset_alibi attention_softmax_in_fp32 bias_dropout_fusion masked_softmax_fusion"
            " skip_bias_add skip_bias_add_qkv"
        ),
        spelling=Spelling(
            renames={r"^(?=h\.|word_embeddings\.|word_embeddings_layernorm\.|ln_f\.)": "transformer."},
            copies={"lm_head.weight": "transformer.word_embeddings.weight"},
        ),
        gguf=GGUF,
    ),
)
