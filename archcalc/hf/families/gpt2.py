"""GPT-2, and the decoders whose configs are written in its words."""

from collections.abc import Mapping
from typing import Any

import msgspec

from archcalc.formats.gguf_file import Header
from archcalc.hf.depth_scaling import DepthScaledStackLens
from archcalc.hf.family import Family
from archcalc.hf.gguf_map import BLOCK, KV_HEADS, GgufMap, value_of
from archcalc.hf.gguf_map import OUTSIDE as GGUF_OUTSIDE
from archcalc.hf.heads import extra_modules
from archcalc.hf.lens import Cases, ImpliedValue, Template
from archcalc.hf.spellings import MASKS, Spelling
from archcalc.hf.stack import StackLens
from archcalc.hf.templates.gpt_like import (
    decoder_of,
    gpt2_dropout,
    gpt2_sizes,
    gpt_layer,
    gpt_like,
    idle_cross,
    inner,
)
from archcalc.hf.tensors import TensorEntry, TensorMap, fused_modules, module, modules, table
from archcalc.hf.vocabulary import QKV, activation, biases, dropout, flag, keys, layernorm, size, tied

NORM = layernorm(1e-5, "layer_norm_epsilon")
# The scores are not scaled at all if `scale_attn_weights` is false.
SCALE = Cases(flag("scale_attn_weights", True), {True: None, False: 1.0})
SUMMARY = keys(
    "summary_type summary_use_proj summary_activation summary_proj_to_labels summary_first_dropout"
    " reorder_and_upcast_attn n_ctx"
)
# The score of a text beside the logits of its tokens. Without a projection it has no tensors.
SUMMARY_WIDTH = Cases(flag("summary_proj_to_labels", True), {True: 1, False: "d_model"})
DOUBLE_HEADS = {
    "DoubleHeadsModel": {
        "extras": Cases(
            flag("summary_use_proj", True), {True: extra_modules({"choice": (SUMMARY_WIDTH, "d_model")}), False: ()}
        )
    }
}
CHOICE = module("extras.choice", "multiple_choice_head.summary")
LEARNED = {"position": {"kind": "learned"}, "final_norm": NORM}
OUTSIDE = {"embed.tokens": "wte", "positions": "wpe", "final_norm": "ln_f"}


def gpt2() -> Template:
    """Return GPT-2's template."""
    sizes = gpt2_sizes(50257, 1024, 768, 12, 12)
    layer = gpt_layer(
        sizes,
        norm=NORM,
        attention=biases(True) | {"scale": SCALE},
        d_ff=inner(sizes),
        activation=activation("gelu_new", "activation_function"),
    ) | idle_cross(sizes)
    stack = StackLens(sizes.n_layers, {"layer": layer}, stack_fields=LEARNED)
    by_depth = Cases(
        flag("scale_attn_by_inverse_layer_idx", False),
        {False: stack, True: DepthScaledStackLens(stack, sizes.head_width)},
    )
    return decoder_of(sizes, by_depth, tied(True), gpt2_dropout(0.1))


def gpt_bigcode() -> Template:
    """Return GPT-BigCode's template: GPT-2 with one key-value head."""
    sizes = gpt2_sizes(50257, 1024, 768, 12, 12)
    n_kv_heads = Cases(flag("multi_query", True), {True: 1, False: sizes.n_heads})
    layer = gpt_layer(
        sizes,
        norm=NORM,
        attention=biases(True) | {"n_kv_heads": n_kv_heads, "scale": SCALE},
        d_ff=inner(sizes),
        activation=activation("gelu_pytorch_tanh", "activation_function"),
    ) | idle_cross(sizes)
    return gpt_like(sizes, layer, stack_fields=LEARNED, head=tied(True), dropout=gpt2_dropout(0.1))


def openai_gpt() -> Template:
    """Return GPT's template: norms after each part, and none at the end."""
    sizes = gpt2_sizes(40478, 512, 768, 12, 12)
    layer = gpt_layer(
        sizes,
        norm=NORM,
        placement="post",
        attention=biases(True),
        d_ff=ImpliedValue(sizes.four_times),
        # The word gelu means the tanh approximation in this class alone.
        activation=activation("gelu", "afn", {"gelu": "gelu_tanh", "relu": "relu", "silu": "silu", "swish": "silu"}),
    )
    stack_fields = {"position": {"kind": "learned"}, "final_norm": None}
    return gpt_like(sizes, layer, stack_fields=stack_fields, head=tied(True), dropout=gpt2_dropout(0.1))


def gptj() -> Template:
    """Return GPT-J's template: both parts side by side after one norm, the first `rotary_dim` of each head rotated."""
    sizes = gpt2_sizes(50400, 2048, 4096, 28, 16)
    rope = {"kind": "rope", "theta": 10_000.0, "interleaved": True, "d_rotary": size("rotary_dim", 64)}
    layer = gpt_layer(
        sizes,
        norm=NORM,
        placement="parallel",
        attention=biases(False) | {"position": rope},
        d_ff=inner(sizes),
        activation=activation("gelu_new", "activation_function"),
    )
    head = tied(False) | {"bias": True}
    return gpt_like(sizes, layer, stack_fields={"final_norm": NORM}, head=head, dropout=gpt2_dropout(0.0))


def ctrl() -> Template:
    """Return CTRL's template: computed sinusoids beside an embedding that is multiplied by √d_model."""
    sizes = gpt2_sizes(246534, 256, 1280, 48, 16)
    layer = gpt_layer(
        sizes,
        norm={"kind": "layernorm", "eps": 1e-6},
        attention=biases(True),
        d_ff=size("dff", 8192),
        activation="relu",
    )
    return gpt_like(
        sizes,
        layer,
        stack_fields={
            "position": {"kind": "sinusoidal", "order": "halves"},
            "final_norm": layernorm(1e-6, "layer_norm_epsilon"),
        },
        embedding={"scale": ImpliedValue(sizes.root)},
        head=tied(True) | {"bias": True},
        dropout={"embedding": dropout("embd_pdrop", 0.1), "residual": dropout("resid_pdrop", 0.1)},
    )


def parts(*, transposed: bool) -> tuple[TensorEntry, ...]:
    """Return what GPT-2's layers hold besides the fused queries, keys and values."""
    here, there = "layers.{i}.", "transformer.h.{i}."
    matrices = {"attn.out": "attn.c_proj", "ffn.up": "mlp.c_fc", "ffn.down": "mlp.c_proj"}
    cross = {"cross.q": "crossattention.q_attn", "cross.out": "crossattention.c_proj"}
    return (
        *modules({"attn_norm": "ln_1", "cross_norm": "ln_cross_attn", "ffn_norm": "ln_2"}, here, there),
        *modules(matrices | cross, here, there, transposed=transposed),
        *fused_modules(
            ("layers.{i}.cross.k", "layers.{i}.cross.v"), f"{there}crossattention.c_attn", transposed=transposed
        ),
    )


GPT2 = table(
    modules(OUTSIDE, name="transformer."),
    fused_modules(QKV, "transformer.h.{i}.attn.c_attn", transposed=True),
    parts(transposed=True),
    module("head", "lm_head"),
    CHOICE,
)
BIGCODE = table(
    modules(OUTSIDE, name="transformer."),
    fused_modules(QKV, "transformer.h.{i}.attn.c_attn", order="by_head"),
    parts(transposed=False),
    module("head", "lm_head"),
)
OPENAI = table(
    modules({"embed.tokens": "tokens_embed", "positions": "positions_embed"}, name="transformer."),
    fused_modules(QKV, "transformer.h.{i}.attn.c_attn", transposed=True),
    parts(transposed=True),
    module("head", "lm_head"),
    CHOICE,
)
CTRL = table(
    modules({"embed.tokens": "w", "final_norm": "layernorm"}, name="transformer."),
    modules(
        {
            "attn.q": "multi_head_attention.Wq",
            "attn.k": "multi_head_attention.Wk",
            "attn.v": "multi_head_attention.Wv",
            "attn.out": "multi_head_attention.dense",
            "attn_norm": "layernorm1",
            "ffn.up": "ffn.0",
            "ffn.down": "ffn.2",
            "ffn_norm": "layernorm2",
        },
        "layers.{i}.",
        "transformer.h.{i}.",
    ),
    module("head", "lm_head"),
)


def gptj_tensors(*attention: tuple[TensorEntry, ...]) -> TensorMap:
    """Return GPT-J's tensors, with those of its `attention`."""
    return table(
        modules(OUTSIDE, name="transformer."),
        *attention,
        modules(
            {"attn.out": "attn.out_proj", "attn_norm": "ln_1", "ffn.up": "mlp.fc_in", "ffn.down": "mlp.fc_out"},
            "layers.{i}.",
            "transformer.h.{i}.",
        ),
        module("head", "lm_head"),
    )


GPTJ = gptj_tensors(
    modules({"attn.q": "q_proj", "attn.k": "k_proj", "attn.v": "v_proj"}, "layers.{i}.", "transformer.h.{i}.attn.")
)
# Each of four blocks holds a quarter of the queries' rows, then of the values' and of the keys'.
CODEGEN = gptj_tensors(
    fused_modules(
        tuple(f"layers.{{i}}.attn.{part}" for part in "qvk"), "transformer.h.{i}.attn.qkv_proj", order="in_four"
    )
)
# GPT-J's files say so of what its class always does.
GPTJ_KEYS = SUMMARY | keys("rotary scale_attn_weights rope_scaling rope_parameters")

SPELLING = Spelling(
    renames={r"^(?=h\.|wte\.|wpe\.|ln_f\.)": "transformer."},
    copies={"lm_head.weight": "transformer.wte.weight"},
    unused=MASKS,
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
        GGUF_OUTSIDE,
        modules({"positions": "position_embd"}),
        fused_modules(QKV, "blk.{i}.attn_qkv"),
        modules({"attn.out": "attn_output", "attn_norm": "attn_norm"}, *BLOCK),
        modules({"ffn.up": "ffn_up", "ffn.down": "ffn_down", "ffn_norm": "ffn_norm"}, *BLOCK),
    ),
)


def bigcode_gguf(header: Header, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return whether all queries share one head of keys and values."""
    return {"multi_query": value_of(header, KV_HEADS) == 1}


BIGCODE_GGUF = msgspec.structs.replace(GGUF, name="starcoder", config_keys=bigcode_gguf, own_keys=(KV_HEADS,))

FAMILIES = (
    Family(
        "gpt2",
        ("GPT2LMHeadModel",),
        gpt2(),
        GPT2,
        irrelevant=SUMMARY,
        spelling=SPELLING,
        gguf=GGUF,
        class_heads=DOUBLE_HEADS,
    ),
    Family(
        "gpt-sw3",
        ("GPT2LMHeadModel",),
        gpt2(),
        GPT2,
        irrelevant=SUMMARY,
        spelling=SPELLING,
        class_heads=DOUBLE_HEADS,
    ),
    Family(
        "gpt_bigcode",
        ("GPTBigCodeForCausalLM",),
        gpt_bigcode(),
        BIGCODE,
        irrelevant=SUMMARY | keys("attention_softmax_in_fp32 scale_attention_softmax_in_fp32 num_key_value_heads"),
        spelling=SPELLING,
        gguf=BIGCODE_GGUF,
    ),
    Family(
        "openai-gpt",
        ("OpenAIGPTLMHeadModel",),
        openai_gpt(),
        OPENAI,
        irrelevant=SUMMARY,
        spelling=Spelling(
            renames={r"^(?=h\.|tokens_embed\.|positions_embed\.)": "transformer."},
            copies={"lm_head.weight": "transformer.tokens_embed.weight"},
            unused=MASKS,
        ),
        class_heads=DOUBLE_HEADS,
    ),
    Family("gptj", ("GPTJForCausalLM",), gptj(), GPTJ, irrelevant=GPTJ_KEYS, spelling=SPELLING),
    Family("codegen", ("CodeGenForCausalLM",), gptj(), CODEGEN, irrelevant=GPTJ_KEYS, spelling=SPELLING),
    Family(
        "ctrl",
        ("CTRLLMHeadModel",),
        ctrl(),
        CTRL,
        irrelevant=SUMMARY,
        spelling=Spelling(
            renames={r"^(?=h\.|w\.|layernorm\.)": "transformer."},
            copies={"lm_head.weight": "transformer.w.weight"},
        ),
    ),
)
