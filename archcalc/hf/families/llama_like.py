"""LLaMA, and the dense decoders that are LLaMA with differences: a row each."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from msgspec.structs import replace

from archcalc.formats.gguf_file import read_numbers
from archcalc.hf.config import LAYERS_OR_NONE, TEXT, Config
from archcalc.hf.family import derive
from archcalc.hf.gguf_map import (
    ATTENTION,
    BLOCK,
    EMBEDDING_KEYS,
    FUSED_GATE_UP,
    HEAD_DIM,
    KV_HEADS,
    LAYERNORM_SIZES,
    NORM_EPS,
    ORIGINAL_CONTEXT,
    OUTSIDE,
    PARTIAL_ROTARY,
    PERMUTED,
    QK,
    ROPE_FACTOR,
    SIZES,
    UNPERMUTED,
    UNPERMUTED_ENTRIES,
    WINDOW_PATTERN,
    GgufMap,
    embedding_model,
    layer_values,
    partial_rotary,
    short_float,
    stored,
    value_of,
    window_words,
    with_head,
)
from archcalc.hf.gguf_map import DENSE as GGUF_DENSE
from archcalc.hf.gguf_map import EXPERT_KEYS as GGUF_EXPERTS
from archcalc.hf.gguf_map import FFN as GGUF_FFN
from archcalc.hf.gguf_map import OUT_NORMS as GGUF_OUT_NORMS
from archcalc.hf.gguf_map import QK_NORMS as GGUF_QK_NORMS
from archcalc.hf.heads import LABELS
from archcalc.hf.lens import (
    REQUIRED,
    Cases,
    Choice,
    ConfigLens,
    Constraint,
    Conversion,
    ImpliedValue,
    Key,
    NullCases,
    RedundantKey,
)
from archcalc.hf.rope import LogTemperatureLens, NtkAlphaRope, RopeLens, RotationFlag
from archcalc.hf.stack import INDEX, ListSchedule, NoRopeSchedule
from archcalc.hf.templates.decoder import BIASED, GATE_UP, LAYER, MLP_BIAS, OUT_NORMS, WINDOWS, decoder, windows
from archcalc.hf.tensors import TensorEntry, TensorMap, fused_modules, module, modules, table
from archcalc.hf.vocabulary import (
    ACTIVATIONS,
    LLAMA_ATTENTION,
    LLAMA_DENSE,
    LLAMA_FFN,
    LLAMA_NORMS,
    LLAMA_OUTSIDE,
    QK_NORMS,
    QKV,
    activation,
    biases,
    dropout,
    flag,
    keys,
    layernorm,
    positive,
    rmsnorm,
    size,
)

# ---------------------------------------------------------------------------------------------- windows and positions


def window(default: int | None, name: str = "sliding_window") -> Key:
    """Return the lens of a window's size; null means none."""
    return size(name, default, null=None)


# Qwen's window counts where a flag is set, on the layers above max_window_layers.
QWEN_WINDOW = Cases(flag("use_sliding_window", False), {False: None, True: window(4096)})
FULL_LAYERS = Key("max_window_layers", LAYERS_OR_NONE, 28)


def upper_layers(config: Config, index: int) -> str:
    """Return the kind of a layer: those above max_window_layers slide if there is a window."""
    return "sliding" if index >= FULL_LAYERS.read(config) and QWEN_WINDOW.read(config) else "global"


QWEN_KINDS: dict[str, Any] = {
    "kinds": {"global": {"window": None}, "sliding": {"window": QWEN_WINDOW}},
    "schedule": ListSchedule(WINDOWS, upper_layers, (FULL_LAYERS,)),
}


def sliding(default: int | None) -> dict[str, Any]:
    """Return the kinds of layers: global and sliding."""
    return {"global": {"window": None}, "sliding": {"window": window(default)}}


# By default one of the last rows of a larger table.
NO_PADDING = {"pad_token_id": None}


def if_window(config: Config, index: int) -> str:
    """Return the kind of a layer: all slide if there is a window (Ministral)."""
    return "sliding" if window(4096).read(config) else "global"


# ------------------------------------------------------------------------------------------------------------- LLaMA


def llama_gguf(header: Any, config: dict[str, Any]) -> dict[str, Any]:
    """Return the config keys that a GGUF header of this architecture adds: Mixtral's, or which biases are stored."""
    if config.get("num_local_experts"):
        config.pop("head_dim", None)
        return {"model_type": "mixtral", "sliding_window": None}
    config.pop("num_local_experts", None)
    config.pop("num_experts_per_tok", None)
    stored = {"attention_bias": "blk.0.attn_q.bias", "mlp_bias": "blk.0.ffn_up.bias"}
    return {key: name in header.tensors for key, name in stored.items()}


LLAMA_BIASES = {"attention_bias": "attn_q.bias", "mlp_bias": "ffn_up.bias"}
LLAMA = decoder(
    "llama",
    "LlamaForCausalLM",
    attention=BIASED,
    ffn={"bias": MLP_BIAS},
    gguf=GgufMap(
        "llama",
        SIZES | HEAD_DIM | GGUF_EXPERTS,
        PERMUTED,
        config_keys=llama_gguf,
        has_rope_factors=True,
        aliases=("deci",),
    ),
)
ARCEE = derive(
    LLAMA,
    "arcee",
    "ArceeForCausalLM",
    width=2560,
    d_ff=18432,
    n_ctx=4096,
    norm=rmsnorm(1e-5),
    act="relu2",
    ffn={"kind": "plain", "bias": MLP_BIAS},
    gguf=GgufMap("arcee", SIZES | HEAD_DIM, PERMUTED, config_keys=stored(**LLAMA_BIASES), has_rope_factors=True),
)
INTERNLM3 = derive(
    LLAMA,
    "internlm3",
    vocab=128512,
    d_ff=10240,
    depth=48,
    kv=2,
    n_ctx=32768,
    norm=rmsnorm(1e-5),
    d_head=128,
    attention=biases(flag("attention_bias", False, aliases=("qkv_bias",))),
    ffn={"bias": flag("mlp_bias", False, aliases=("bias",))},
)
IQUESTCODER = derive(
    LLAMA,
    "iquestcoder",
    vocab=76800,
    width=5120,
    d_ff=27648,
    depth=80,
    heads=40,
    kv=8,
    n_ctx=131072,
    norm=rmsnorm(1e-5),
    d_head=128,
    constraints=(Constraint("clip_qkv", (None,)), Constraint("use_sliding_window", (False,))),
)
SEED_OSS = derive(
    LLAMA,
    "seed_oss",
    "SeedOssForCausalLM",
    vocab=155136,
    d_ff=27648,
    depth=64,
    heads=80,
    kv=8,
    n_ctx=524288,
    d_head=128,
    attention=biases(flag("attention_bias", True)) | {"out_bias": flag("attention_out_bias", False)},
    dropouts={"attention": dropout("attention_dropout", 0.1), "residual": dropout("residual_dropout", 0.1)},
    gguf=GgufMap(
        "seed_oss",
        SIZES | HEAD_DIM,
        table(OUTSIDE, modules(QK | ATTENTION | GGUF_FFN | {"ffn_norm": "post_attention_norm"}, *BLOCK)),
        config_keys=lambda header, config: {
            "attention_bias": "blk.0.attn_q.bias" in header.tensors,
            "attention_out_bias": "blk.0.attn_output.bias" in header.tensors,
        },
    ),
)


def ernie_gguf(header: Any, config: dict[str, Any]) -> dict[str, Any]:
    """Return the width of a head and whether there are biases.

    PaddleOCR's text model has ERNIE's names, and rotates as LLaMA does.
    """
    if header.metadata["general.architecture"] == "paddleocr":
        return with_head(**LLAMA_BIASES)(header, config) | {"model_type": "llama"}
    return with_head(use_bias="attn_q.bias")(header, config)


ERNIE = derive(
    LLAMA,
    "ernie4_5",
    "Ernie4_5ForCausalLM",
    vocab=103424,
    width=1024,
    d_ff=3072,
    depth=18,
    heads=16,
    kv=2,
    n_ctx=131072,
    norm=rmsnorm(1e-5),
    d_head=128,
    theta=500_000.0,
    tie=True,
    rope={"interleaved": True},
    attention=biases(flag("use_bias", False)),
    ffn={"bias": flag("use_bias", False)},
    dropouts={},
    gguf=GgufMap(
        "ernie4_5",
        SIZES | HEAD_DIM,
        UNPERMUTED,
        config_keys=ernie_gguf,
        own_keys=("rope.dimension_sections",),
        aliases=("paddleocr",),
    ),
)
HELIUM = derive(
    LLAMA,
    "helium",
    "HeliumForCausalLM",
    vocab=48000,
    width=2560,
    d_ff=7040,
    depth=24,
    heads=20,
    kv=20,
    n_ctx=4096,
    norm=rmsnorm(1e-8),
    theta=100_000.0,
    rope={"interleaved": True},
    # The out projection is as wide as the model.
    d_head=RedundantKey(
        size("head_dim", 128),
        lambda config: size("hidden_size", 2560).read(config) // size("num_attention_heads", 20).read(config),
    ),
    attention=BIASED | {"out_bias": False},
)
EUROBERT_LABELS = Cases(
    Choice(Key("classifier_pooling", TEXT, "late"), {"late": "late", "mean": "mean", "bos": "bos"}),
    {
        "late": {"n_labels": LABELS, "reads": "mean", "picks": "after"},
        "mean": {"n_labels": LABELS, "reads": "mean", "picks": "before"},
        "bos": {"n_labels": LABELS, "reads": "first", "picks": "before"},
    },
)
EUROBERT = derive(
    LLAMA,
    "eurobert",
    "EuroBertForMaskedLM",
    stack="encoder",
    vocab=128256,
    width=768,
    d_ff=3072,
    depth=12,
    heads=12,
    n_ctx=8192,
    norm=rmsnorm(1e-5),
    head={"bias": MLP_BIAS},
    class_heads={
        "ForSequenceClassification": {
            "head": {"bias": True, "transform": {"activation": "gelu"}, "labels": EUROBERT_LABELS}
        }
    },
    fixed_keys=NO_PADDING,
    gguf=GgufMap(
        "eurobert",
        SIZES | HEAD_DIM,
        UNPERMUTED,
        config_keys=embedding_model("EuroBertModel"),
        own_keys=EMBEDDING_KEYS,
    ),
)
SMOLLM3 = derive(
    LLAMA,
    "smollm3",
    "SmolLM3ForCausalLM",
    vocab=128256,
    width=2048,
    depth=36,
    heads=16,
    kv=4,
    n_ctx=32768,
    theta=2_000_000.0,
    tie=True,
    kinds={
        "rotary": {"window": None},
        "bare": {"window": None, "position": None},
        "rotary_sliding": {"window": window(None)},
        "bare_sliding": {"window": window(None), "position": None},
    },
    schedule=NoRopeSchedule(),
    irrelevant=keys("max_window_layers"),
    fixed_keys=NO_PADDING,
    gguf=GgufMap("smollm3", SIZES | HEAD_DIM, PERMUTED, config_keys=stored(**LLAMA_BIASES), has_rope_factors=True),
)
BITNET = decoder(
    "bitnet",
    "BitNetForCausalLM",
    vocab=128256,
    width=2560,
    d_ff=6912,
    depth=30,
    heads=20,
    kv=5,
    norm=rmsnorm(1e-5),
    act="relu2",
    theta=500_000.0,
    attention=BIASED | {"out_norm": rmsnorm(1e-5)},
    ffn={"down_norm": rmsnorm(1e-5)},
    tensors=(
        LLAMA_DENSE,
        modules({"attn.out_norm": "self_attn.attn_sub_norm", "ffn.down_norm": "mlp.ffn_sub_norm"}, *LAYER),
    ),
    gguf=GgufMap(
        "bitnet",
        SIZES | HEAD_DIM,
        table(modules({"attn.out_norm": "attn_sub_norm", "ffn.down_norm": "ffn_sub_norm"}, *BLOCK), UNPERMUTED_ENTRIES),
        config_keys=stored(attention_bias="attn_q.bias"),
    ),
)


def pair_offset(config: Config) -> float:
    """Return what is added to a layer's λ, which grows with depth from 0.2 nearly to 0.8."""
    return 0.8 - 0.6 * math.exp(-0.3 * config.data[INDEX])


DIFFLLAMA = decoder(
    "diffllama",
    "DiffLlamaForCausalLM",
    width=2048,
    d_ff=8192,
    depth=16,
    norm=rmsnorm(1e-5),
    attention=BIASED | {"differential": {"offset": ImpliedValue(pair_offset), "norm": rmsnorm(1e-5, weight=False)}},
    by_index=True,
    dropouts={},
    tensors=(
        LLAMA_DENSE,
        tuple(
            TensorEntry(f"model.layers.{{i}}.self_attn.{name}", (f"layers.{{i}}.attn.differences.{name}",))
            for name in ("lambda_q1", "lambda_k1", "lambda_q2", "lambda_k2")
        ),
    ),
    # The class defines no dropout of patterns that are subtracted.
    constraints=(Constraint("attention_dropout", (0.0, None)),),
    irrelevant=keys("lambda_std_dev"),
)
HUNYUAN_HEAD = size("head_dim", None, null=None)


def hunyuan_head(config: Config) -> int:
    """Return the width of a head."""
    derive = size("hidden_size", 4096).read(config) // size("num_attention_heads", 32).read(config)
    return int(HUNYUAN_HEAD.read(config) or derive)


def stretched(rope: RopeLens) -> NtkAlphaRope:
    """Return the lens of a rotation with HunYuan's alpha."""
    return NtkAlphaRope(replace(rope, extra_keys=keys("alpha")), hunyuan_head)


HUNYUAN = decoder(
    "hunyuan_v1_dense",
    "HunYuanDenseV1ForCausalLM",
    vocab=290943,
    norm=rmsnorm(1e-5),
    attention=BIASED | {"qk_norm": {"norm": rmsnorm(1e-5), "over": "head", "when": "after"}},
    kinds={"layer": {"position": stretched}},
    tensors=(
        LLAMA_DENSE,
        modules({"attn.q_norm": "self_attn.query_layernorm", "attn.k_norm": "self_attn.key_layernorm"}, *LAYER),
    ),
    irrelevant=keys("eod_token_id"),
    gguf=GgufMap("hunyuan-dense", SIZES | HEAD_DIM, UNPERMUTED, config_keys=stored(attention_bias="attn_q.bias")),
)

# ----------------------------------------------------------------------------------------------------------- Mistral

MISTRAL = decoder(
    "mistral",
    "MistralForCausalLM",
    n_ctx=131072,
    kv=8,
    d_ff=14336,
    attention={"window": window(4096)},
    # Read for the layout of caches alone.
    irrelevant=keys("layer_types"),
)
MINISTRAL = derive(
    MISTRAL,
    "ministral",
    "MinistralForCausalLM",
    attention={},
    kinds=sliding(4096),
    schedule=ListSchedule(WINDOWS, if_window),
    irrelevant=frozenset(),
)
MINISTRAL3_ROPE: dict[str, Any] = {
    "n_ctx": size("max_position_embeddings", 262144),
    "default": {
        "type": "yarn",
        "rope_theta": 1_000_000.0,
        "factor": 16.0,
        "original_max_position_embeddings": 16384,
        "beta_fast": 32.0,
        "beta_slow": 1.0,
        "mscale_all_dim": 1.0,
        "mscale": 1.0,
        "llama_4_scaling_beta": 0.1,
    },
    "extra_keys": keys("llama_4_scaling_beta max_position_embeddings"),
}
MSCALE, TEMPERATURE_SCALE = "rope.scaling.yarn_log_multiplier", "attention.temperature_scale"


def ministral3_gguf(header: Any, config: dict[str, Any]) -> dict[str, Any]:
    """Return the rotation, which is always scaled, and the growth of the queries with it."""
    mscale, growth = (value_of(header, key) for key in (MSCALE, TEMPERATURE_SCALE))
    rope = config.pop("rope_scaling", {}) | {"rope_theta": config.pop("rope_theta", 10_000.0)}
    if mscale is not None:
        rope |= dict.fromkeys(("mscale", "mscale_all_dim"), short_float(mscale))
    if growth is not None:
        rope["llama_4_scaling_beta"] = short_float(growth)
    return {"rope_parameters": rope, "sliding_window": None}


MINISTRAL3 = decoder(
    "ministral3",
    "Ministral3ForCausalLM",
    vocab=131072,
    d_ff=14336,
    depth=34,
    kv=8,
    d_head=size("head_dim", 128, null=None),
    n_ctx=262144,
    norm=rmsnorm(1e-5),
    attention={"window": window(None)},
    kinds={
        "layer": {
            "position": lambda rope: replace(rope, **MINISTRAL3_ROPE),
            "temperature": LogTemperatureLens(RopeLens(**MINISTRAL3_ROPE)),
        }
    },
    # Read for the layout of caches alone.
    irrelevant=keys("layer_types"),
    fixed_keys={"pad_token_id": None},
    gguf=GgufMap(
        "mistral3",
        SIZES | HEAD_DIM,
        PERMUTED,
        config_keys=ministral3_gguf,
        own_keys=(MSCALE, TEMPERATURE_SCALE),
        origins={"rope_parameters": "rope.scaling.type"},
    ),
)
CWM = decoder(
    "cwm",
    "CwmForCausalLM",
    vocab=128256,
    width=6144,
    d_ff=21504,
    depth=64,
    heads=48,
    kv=8,
    d_head=128,
    n_ctx=131072,
    norm=rmsnorm(1e-5),
    theta=1_000_000.0,
    rope={
        "default": {
            "rope_type": "llama3",
            "factor": 16.0,
            "high_freq_factor": 4.0,
            "low_freq_factor": 1.0,
            "original_max_position_embeddings": 8192,
        }
    },
    ffn={"bias": MLP_BIAS},
    kinds=sliding(8192),
    schedule=windows(4, full=0),
)

# -------------------------------------------------------------------------------------------------------------- Qwen

# Of models that see: how pairs of a head rotate with rows and columns of images, which texts do not have.
TEXT_OF_VISION = ("rope.dimension_sections", "n_deepstack_layers")
QWEN2 = decoder(
    "qwen2",
    "Qwen2ForCausalLM",
    vocab=151936,
    n_ctx=32768,
    kv=32,
    d_ff=22016,
    attention={"q_bias": True, "k_bias": True, "v_bias": True},
    gguf=GgufMap("qwen2", SIZES, UNPERMUTED, own_keys=TEXT_OF_VISION, aliases=("qwen2vl",)),
    **QWEN_KINDS,
)
QWEN3 = decoder(
    "qwen3",
    "Qwen3ForCausalLM",
    vocab=151936,
    n_ctx=32768,
    kv=32,
    d_head=size("head_dim", 128),
    d_ff=22016,
    attention=BIASED | {"qk_norm": "head"},
    tensors=(LLAMA_DENSE, QK_NORMS),
    gguf=GgufMap("qwen3", SIZES | HEAD_DIM, UNPERMUTED, own_keys=TEXT_OF_VISION, aliases=("qwen3vl",)),
    **QWEN_KINDS,
)
PATTERN = Key("sliding_window_pattern", LAYERS_OR_NONE, 4)


def exaone_gguf(header: Any, config: dict[str, Any]) -> dict[str, Any]:
    """Return the kinds of layers: all are global without a window."""
    if "sliding_window" in config:
        return {"layer_types": window_words(header, 4)}
    return {"sliding_window": None, "layer_types": ["full_attention"] * len(layer_values(header, KV_HEADS))}


EXAONE4 = decoder(
    "exaone4",
    "Exaone4ForCausalLM",
    vocab=102400,
    d_ff=16384,
    kv=32,
    norm=rmsnorm(1e-5),
    layer={"placement": "output"},
    attention={"qk_norm": "head"},
    tensors=(LLAMA_OUTSIDE, LLAMA_ATTENTION, QK_NORMS, OUT_NORMS, LLAMA_FFN),
    # Global layers do not rotate, unless all are global.
    kinds={
        "global": {"window": None, "position": lambda rope: NullCases(window(4096), rope, None)},
        "sliding": {"window": window(4096)},
    },
    schedule=windows(PATTERN),
    gguf=GgufMap(
        "exaone4",
        SIZES | HEAD_DIM | {"attention.sliding_window": "sliding_window"},
        table(modules(GGUF_OUT_NORMS, *BLOCK), UNPERMUTED_ENTRIES),
        config_keys=exaone_gguf,
        own_keys=(WINDOW_PATTERN,),
        has_rope_factors=True,
        origins={"layer_types": WINDOW_PATTERN},
    ),
)

# ------------------------------------------------------------------------------------------------------------- Gemma

GEMMA_NORM = rmsnorm(1e-6, unit_offset=True)


def score_width(scale: float) -> float:
    """Return the width whose root divides the scores."""
    width = scale**-2
    return round(width) if math.isclose(width, round(width), rel_tol=1e-9) else width


def root_of_width(default: int) -> dict[str, Any]:
    """Return an embedding scaled by the root of the model's width."""
    return {"scale": ImpliedValue(lambda config: math.sqrt(size("hidden_size", default).read(config)))}


def gemma_gguf_tensors(norms: Mapping[str, str]) -> TensorMap:
    """Return the tensors of Gemma's GGUF files, whose norms are stored as the factor: 1 + weight."""
    return table(
        modules({"embed.tokens": "token_embd"}),
        module("head", "output"),
        module("final_norm", "output_norm", plus=1.0),
        modules(QK | {"attn.v": "attn_v", "attn.out": "attn_output"} | GGUF_DENSE, *BLOCK),
        modules(norms, *BLOCK, plus=1.0),
    )


def score_scalar(n_layers: int) -> Callable[[Any, dict[str, Any]], dict[str, Any]]:
    """Return what gives Gemma's scalar of the scores: of the model's width in the 27B alone, which has so many layers.

    llama.cpp src/models/gemma2.cpp: 46; src/models/gemma3.cpp: 62.
    """

    def keys_of(header: Any, config: dict[str, Any]) -> dict[str, Any]:
        wide = config.get("num_hidden_layers") == n_layers
        scalar = config["hidden_size"] // config["num_attention_heads"] if wide else config.get("head_dim", 256)
        return {"query_pre_attn_scalar": scalar}

    return keys_of


GEMMA_GGUF_NORMS = {
    "attn_norm": "attn_norm",
    "attn_out_norm": "post_attention_norm",
    "ffn_norm": "ffn_norm",
    "ffn_out_norm": "post_ffw_norm",
}
GEMMA_NORMS = modules(
    {
        "attn_norm": "input_layernorm",
        "attn_out_norm": "post_attention_layernorm",
        "ffn_norm": "pre_feedforward_layernorm",
        "ffn_out_norm": "post_feedforward_layernorm",
    },
    *LAYER,
)
TANH = activation("gelu_pytorch_tanh", "hidden_activation")
CAUSAL = (Constraint("use_bidirectional_attention", (False, None)),)

GEMMA = decoder(
    "gemma",
    "GemmaForCausalLM",
    vocab=256000,
    width=3072,
    d_ff=24576,
    depth=28,
    heads=16,
    kv=16,
    d_head=size("head_dim", 256),
    n_ctx=8192,
    tie=True,
    # The class takes gelu for its approximation.
    act=activation("gelu_pytorch_tanh", meanings=ACTIVATIONS | {"gelu": "gelu_tanh"}),
    norm=GEMMA_NORM,
    attention=BIASED,
    model_fields={"embedding": root_of_width(3072)},
    constraints=CAUSAL,
    irrelevant=keys("hidden_activation"),
    gguf=GgufMap("gemma", SIZES | HEAD_DIM, gemma_gguf_tensors({"attn_norm": "attn_norm", "ffn_norm": "ffn_norm"})),
)
GEMMA2 = decoder(
    "gemma2",
    "Gemma2ForCausalLM",
    vocab=256000,
    width=2304,
    d_ff=9216,
    depth=26,
    heads=8,
    kv=4,
    d_head=size("head_dim", 256),
    n_ctx=8192,
    tie=True,
    act=TANH,
    norm=GEMMA_NORM,
    layer={"placement": "sandwich"},
    attention=BIASED
    | {
        "softcap": positive("attn_logit_softcapping", 50.0, null=None),
        "scale": Conversion(positive("query_pre_attn_scalar", 256), lambda width: width**-0.5, score_width),
    },
    kinds=sliding(4096),
    schedule=windows(2),
    model_fields={"embedding": root_of_width(2304)},
    head={"softcap": positive("final_logit_softcapping", 30.0, null=None)},
    tensors=(LLAMA_OUTSIDE, LLAMA_ATTENTION, GEMMA_NORMS, LLAMA_FFN),
    constraints=CAUSAL,
    # The class reads hidden_activation, whatever hidden_act says; its caches are laid out by layer_types.
    irrelevant=keys("hidden_act cache_implementation"),
    gguf=GgufMap(
        "gemma2",
        SIZES
        | HEAD_DIM
        | {
            "attention.sliding_window": "sliding_window",
            "attn_logit_softcapping": "attn_logit_softcapping",
            "final_logit_softcapping": "final_logit_softcapping",
        },
        gemma_gguf_tensors(GEMMA_GGUF_NORMS),
        config_keys=score_scalar(46),
    ),
)
VAULTGEMMA = derive(GEMMA2, "vaultgemma", "VaultGemmaForCausalLM", layer={}, constraints=())
# The window of a class that looks both ways is half on each side.
HALF_WINDOW = Conversion(size("sliding_window", 4096), lambda size: size // 2 + 1, lambda window: 2 * (window - 1))


def gemma3_kinds(window: ConfigLens) -> dict[str, Any]:
    """Return the kinds of layers, global and sliding, each with its own theta."""
    local = {"layer_kind": "sliding_attention", "theta": 10_000.0, "theta_key": "rope_local_base_freq"}
    return {
        "global": {"window": None},
        "sliding": {"window": window, "position": lambda rope: replace(rope, **local)},
    }


def gemma3_gguf(header: Any, config: dict[str, Any]) -> dict[str, Any]:
    """Return the scale of the scores; EmbeddingGemma is an encoder, and reads half the window on each side."""
    found = score_scalar(62)(header, config)
    if header.metadata["general.architecture"] != "gemma-embedding":
        return found
    return found | {"architectures": ["Gemma3TextModel"], "use_bidirectional_attention": True}


GEMMA3 = derive(
    GEMMA2,
    "gemma3_text",
    "Gemma3ForCausalLM",
    vocab=262208,
    n_ctx=131072,
    theta=1_000_000.0,
    rope={"layer_kind": "full_attention"},
    attention=BIASED
    | {
        "qk_norm": "head",
        "scale": Conversion(positive("query_pre_attn_scalar", 256), lambda width: width**-0.5, score_width),
    },
    kinds=gemma3_kinds(window(4096)),
    schedule=windows(Key("sliding_window_pattern", LAYERS_OR_NONE, 6, aliases=("_sliding_window_pattern",))),
    head={"softcap": positive("final_logit_softcapping", None, null=None)},
    tensors=(LLAMA_OUTSIDE, LLAMA_ATTENTION, QK_NORMS, GEMMA_NORMS, LLAMA_FFN),
    # Its attention has no cap, even if the config sets one.
    irrelevant=keys("attn_logit_softcapping cache_implementation hidden_act"),
    gguf=GgufMap(
        "gemma3",
        SIZES
        | HEAD_DIM
        | {
            "attention.sliding_window": "sliding_window",
            "final_logit_softcapping": "final_logit_softcapping",
            "rope.freq_base_swa": "rope_local_base_freq",
        },
        gemma_gguf_tensors(GEMMA_GGUF_NORMS | GGUF_QK_NORMS),
        config_keys=gemma3_gguf,
        own_keys=(*EMBEDDING_KEYS, *(f"dense_{place}_feat_{end}" for place in (2, 3) for end in ("in", "out"))),
        aliases=("gemma-embedding",),
        unused={r"dense_[23]\.weight": "projects the mean of the states"},
    ),
)
GEMMA3_ENCODER = derive(
    GEMMA3,
    "gemma3_text",
    stack="encoder",
    kinds=gemma3_kinds(HALF_WINDOW),
    when=lambda data: bool(data.get("use_bidirectional_attention")),
    constraints=(Constraint("use_bidirectional_attention", (True,)),),
    fixed_keys={"use_bidirectional_attention": True},
)
GEMMA3 = derive(GEMMA3, "gemma3_text", forms=(GEMMA3_ENCODER,))

# --------------------------------------------------------------------------------------------------------------- GLM


def glm_gguf(header: Any, config: dict[str, Any]) -> dict[str, Any]:
    """Return the width of a head, the rotated share of it, and whether queries, keys and values have biases."""
    found = with_head(attention_bias="attn_q.bias")(header, config)
    return found | partial_rotary(header, config)


GLM = decoder(
    "glm",
    "GlmForCausalLM",
    vocab=151552,
    d_ff=13696,
    depth=40,
    kv=2,
    d_head=128,
    n_ctx=131072,
    norm=rmsnorm(0.00000015625),
    rope={"interleaved": True},
    partial=0.5,
    attention=biases(flag("attention_bias", True)) | {"out_bias": False},
    tensors=(LLAMA_OUTSIDE, LLAMA_ATTENTION, LLAMA_NORMS, GATE_UP),
    fixed_keys=NO_PADDING,
    gguf=GgufMap(
        "chatglm",
        SIZES | HEAD_DIM,
        table(FUSED_GATE_UP, UNPERMUTED_ENTRIES),
        config_keys=glm_gguf,
        own_keys=(PARTIAL_ROTARY,),
    ),
)
GLM4 = derive(
    GLM,
    "glm4",
    "Glm4ForCausalLM",
    layer={"placement": "sandwich"},
    tensors=(
        LLAMA_OUTSIDE,
        LLAMA_ATTENTION,
        LLAMA_NORMS,
        modules({"attn_out_norm": "post_self_attn_layernorm", "ffn_out_norm": "post_mlp_layernorm"}, *LAYER),
        GATE_UP,
    ),
    gguf=GgufMap(
        "glm4",
        SIZES | HEAD_DIM,
        table(FUSED_GATE_UP, UNPERMUTED_ENTRIES, modules(GGUF_OUT_NORMS, *BLOCK)),
        config_keys=glm_gguf,
        own_keys=(PARTIAL_ROTARY,),
    ),
)


def long_factors(header: Any) -> dict[str, Any]:
    """Return the factors of long contexts, which are tensors, under the keys of a config; empty without them."""
    stored = {length: header.tensors.get(f"rope_factors_{length}.weight") for length in ("short", "long")}
    if None in stored.values():
        return {}
    return {"rope_type": "longrope", **{f"{length}_factor": list(read_numbers(one)) for length, one in stored.items()}}


def without_window(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return that there is no window where files of Phi have a window of 0."""
    return {"sliding_window": None} if config.get("sliding_window") == 0 else {}


def phi3_gguf(header: Any, config: dict[str, Any]) -> dict[str, Any]:
    """Return the rotated share, and the factors of long contexts."""
    scaling, found = long_factors(header), partial_rotary(header, config) | without_window(config)
    if not scaling:
        return found
    n_original = config.get("rope_scaling", {}).get("original_max_position_embeddings")
    return found | {
        "rope_scaling": scaling,
        "original_max_position_embeddings": n_original or value_of(header, ORIGINAL_CONTEXT),
    }


PHI3 = decoder(
    "phi3",
    "Phi3ForCausalLM",
    vocab=32064,
    width=3072,
    d_ff=8192,
    n_ctx=4096,
    norm=rmsnorm(1e-5),
    partial=1.0,
    attention={"window": window(None)},
    dropouts={
        "embedding": dropout("embd_pdrop", 0.0),
        "attention": dropout("attention_dropout", 0.0),
        "residual": dropout("resid_pdrop", 0.0),
    },
    tensors=(
        LLAMA_OUTSIDE,
        fused_modules(QKV, "model.layers.{i}.self_attn.qkv_proj"),
        modules({"attn.out": "self_attn.o_proj"}, *LAYER),
        LLAMA_NORMS,
        GATE_UP,
    ),
    fixed_keys=NO_PADDING,
    gguf=GgufMap(
        "phi3",
        SIZES | {"attention.sliding_window": "sliding_window"},
        table(
            OUTSIDE,
            fused_modules(QKV, "blk.{i}.attn_qkv"),
            fused_modules(("layers.{i}.ffn.gate", "layers.{i}.ffn.up"), "blk.{i}.ffn_up"),
            modules(
                {"attn.out": "attn_output", "attn_norm": "attn_norm", "ffn_norm": "ffn_norm", "ffn.down": "ffn_down"},
                *BLOCK,
            ),
        ),
        config_keys=phi3_gguf,
        own_keys=(PARTIAL_ROTARY, ROPE_FACTOR),
    ),
)

# -------------------------------------------------------------------------------------------------------------- OLMo

OLMO = decoder(
    "olmo",
    "OlmoForCausalLM",
    vocab=50304,
    norm={"kind": "layernorm", "weight": False, "bias": False, "eps": 1e-5},
    attention=BIASED,
    constraints=(Constraint("clip_qkv", (None,)),),
    gguf=GgufMap(
        "olmo",
        LAYERNORM_SIZES | {"attention.clamp_kqv": "clip_qkv"},
        PERMUTED,
        config_keys=stored(attention_bias="attn_q.bias"),
        values={NORM_EPS: (1e-5,)},
    ),
)


def olmo2_gguf(header: Any, config: dict[str, Any]) -> dict[str, Any]:
    """Return the kinds of layers, if some have a window: it is an OLMo 3."""
    if "sliding_window" not in config:
        return {}
    theta = {"rope_theta": config.get("rope_theta", 10_000.0)}
    scaling = config.pop("rope_scaling", {"rope_type": "default"})
    return {
        "model_type": "olmo3",
        "layer_types": window_words(header, 4),
        "rope_parameters": {"full_attention": scaling | theta, "sliding_attention": {"rope_type": "default"} | theta},
    }


OLMO2 = decoder(
    "olmo2",
    "Olmo2ForCausalLM",
    vocab=50304,
    norm=rmsnorm(1e-5),
    layer={"placement": "output"},
    attention=BIASED | {"qk_norm": "full"},
    tensors=(LLAMA_OUTSIDE, LLAMA_ATTENTION, QK_NORMS, OUT_NORMS, LLAMA_FFN),
    gguf=GgufMap(
        "olmo2",
        SIZES | {"attention.sliding_window": "sliding_window"},
        table(
            OUTSIDE,
            modules(QK | GGUF_QK_NORMS | {"attn.v": "attn_v", "attn.out": "attn_output"} | GGUF_DENSE, *BLOCK),
            modules(GGUF_OUT_NORMS, *BLOCK),
        ),
        config_keys=olmo2_gguf,
        own_keys=(WINDOW_PATTERN,),
        origins={"layer_types": WINDOW_PATTERN},
    ),
)
OLMO3 = derive(
    OLMO2,
    "olmo3",
    "Olmo3ForCausalLM",
    theta=500_000.0,
    rope={"layer_kind": "full_attention"},
    kinds={
        "global": {"window": None},
        "sliding": {
            "window": window(4096),
            "position": lambda rope: replace(rope, layer_kind="sliding_attention", theta_key=None),
        },
    },
    schedule=windows(4),
)

# ------------------------------------------------------------------------------------------------------------ Cohere

# Every head has a weight of its own.
NORM_OF_EACH = {"norm": layernorm(1e-5, "layer_norm_eps", bias=False), "over": "each"}
COHERE_SIZES = LAYERNORM_SIZES | HEAD_DIM | {NORM_EPS: "layer_norm_eps", "logit_scale": "logit_scale"}
COHERE = decoder(
    "cohere",
    "CohereForCausalLM",
    vocab=256000,
    width=8192,
    d_ff=22528,
    depth=40,
    heads=64,
    n_ctx=8192,
    norm=layernorm(1e-5, "layer_norm_eps", bias=False),
    theta=500_000.0,
    rope={"interleaved": True},
    tie=True,
    layer={"placement": "parallel"},
    attention=BIASED | {"qk_norm": Cases(flag("use_qk_norm", False, null=False), {False: None, True: NORM_OF_EACH})},
    head={"scale": positive("logit_scale", 0.0625, null=None)},
    tensors=(LLAMA_DENSE, QK_NORMS),
    gguf=GgufMap(
        "command-r",
        COHERE_SIZES,
        UNPERMUTED,
        config_keys=with_head(use_qk_norm="attn_q_norm.weight", attention_bias="attn_q.bias"),
    ),
)
COHERE2 = derive(
    COHERE,
    "cohere2",
    "Cohere2ForCausalLM",
    theta=10_000.0,
    head={"scale": positive("logit_scale", 0.0625)},
    attention=BIASED,
    kinds={"global": {"window": None, "position": None}, "sliding": {"window": window(4096)}},
    schedule=windows(PATTERN),
    tensors=(LLAMA_DENSE,),
    gguf=GgufMap(
        "cohere2",
        COHERE_SIZES | {"attention.sliding_window": "sliding_window"},
        UNPERMUTED,
        config_keys=with_head(attention_bias="attn_q.bias"),
        values={WINDOW_PATTERN: (4,)},
    ),
)


def rotated_if_stated(kind: str) -> dict[str, Any]:
    """Return the position of a kind of layers, which their entry in `rope_parameters` must state; null: none."""
    flag_of_kind = RotationFlag(kind)
    return {
        "position": lambda rope: Cases(flag_of_kind, {True: replace(rope, layer_kind=kind), False: None}),
    }


# The text model of a model that sees, or reads text alone.
COMPASS_ROPE = {"rope_type": "default", "rope_theta": 50_000.0}
COMPASS = derive(
    COHERE2,
    "cohere_compass_text",
    "CohereCompassForCausalLM",
    theta=REQUIRED,
    rope={"theta_key": None, "extra_keys": keys("mrope_section mrope_interleaved")},
    head={"scale": positive("logit_scale", None, null=None)},
    kinds={
        "global": {"window": None, **rotated_if_stated("full_attention")},
        "sliding": {"window": window(4096), **rotated_if_stated("sliding_attention")},
    },
    schedule=windows(0),
    class_heads={
        "ForSequenceClassification": {
            "head": {
                "bias": False,
                "labels": {
                    "n_labels": LABELS,
                    "reads": Choice(
                        Key("pooling", TEXT, "eos", null="eos"), {"eos": "last", "bos": "first", "mean": "mean"}
                    ),
                    "picks": "after",
                },
            }
        }
    },
    irrelevant=keys("pooling"),
    needs={"rope_parameters": {"full_attention": COMPASS_ROPE, "sliding_attention": COMPASS_ROPE}},
)

# ------------------------------------------------------------------------------------------- with LayerNorms and biases

STARCODER2 = decoder(
    "starcoder2",
    "Starcoder2ForCausalLM",
    vocab=49152,
    width=3072,
    d_ff=12288,
    depth=30,
    heads=24,
    kv=2,
    n_ctx=4096,
    norm=layernorm(1e-5, "norm_epsilon"),
    act="gelu_pytorch_tanh",
    tie=True,
    attention=biases(flag("use_bias", True)) | {"window": window(None)},
    ffn={"kind": "plain", "bias": flag("use_bias", True)},
    dropouts={
        "embedding": dropout("embedding_dropout", 0.0),
        "attention": dropout("attention_dropout", 0.0),
        "residual": dropout("residual_dropout", 0.0),
    },
    tensors=(
        LLAMA_OUTSIDE,
        LLAMA_ATTENTION,
        LLAMA_NORMS,
        modules({"ffn.up": "mlp.c_fc", "ffn.down": "mlp.c_proj"}, *LAYER),
    ),
    gguf=GgufMap(
        "starcoder2",
        LAYERNORM_SIZES | {"attention.layer_norm_epsilon": "norm_epsilon"},
        table(OUTSIDE, modules(QK | ATTENTION | GGUF_FFN, *BLOCK)),
        config_keys=lambda header, config: {"use_bias": "blk.0.attn_q.bias" in header.tensors},
    ),
)
JAIS2 = decoder(
    "jais2",
    "Jais2ForCausalLM",
    vocab=150272,
    width=3328,
    d_ff=26624,
    heads=26,
    n_ctx=8192,
    norm=layernorm(1e-5, "layer_norm_eps"),
    act="relu2",
    attention=biases(flag("attention_bias", True)),
    ffn={"kind": "plain", "bias": flag("mlp_bias", True)},
    gguf=GgufMap(
        "jais2",
        LAYERNORM_SIZES | HEAD_DIM | {NORM_EPS: "layer_norm_eps"},
        UNPERMUTED,
        config_keys=stored(**LLAMA_BIASES),
    ),
)
STABLELM = decoder(
    "stablelm",
    "StableLmForCausalLM",
    vocab=50304,
    width=2560,
    d_ff=6912,
    kv=32,
    d_head=ImpliedValue(None),
    n_ctx=4096,
    norm=layernorm(1e-5, "layer_norm_eps"),
    partial=0.25,
    layer={"placement": Cases(flag("use_parallel_residual", False), {False: "pre", True: "parallel"})},
    attention=dict.fromkeys(("q_bias", "k_bias", "v_bias"), flag("use_qkv_bias", False))
    | {"qk_norm": Cases(flag("qk_layernorm", False), {False: None, True: NORM_OF_EACH})},
    dropouts={"attention": dropout("attention_dropout", 0.0), "residual": dropout("hidden_dropout", 0.0)},
    tensors=(
        LLAMA_DENSE,
        modules(
            {"attn.q_norm": "self_attn.q_layernorm.norms.{e}", "attn.k_norm": "self_attn.k_layernorm.norms.{e}"}, *LAYER
        ),
    ),
    gguf=GgufMap(
        "stablelm",
        LAYERNORM_SIZES
        | {
            "attention.layer_norm_epsilon": "layer_norm_eps",
            "use_parallel_residual": "use_parallel_residual",
        },
        UNPERMUTED,
        config_keys=lambda header, config: {
            "use_qkv_bias": "blk.0.attn_q.bias" in header.tensors,
            "qk_layernorm": "blk.0.attn_q_norm.weight" in header.tensors,
            **partial_rotary(header, config),
        },
        own_keys=(PARTIAL_ROTARY,),
    ),
)
PHI_NORMS = {"attn.q_norm": "self_attn.q_layernorm", "attn.k_norm": "self_attn.k_layernorm"}
LAYER_QK_NORM = {"norm": layernorm(1e-5, "layer_norm_eps"), "over": "head"}
PERSIMMON = decoder(
    "persimmon",
    "PersimmonForCausalLM",
    vocab=262144,
    d_ff=16384,
    depth=36,
    heads=64,
    d_head=ImpliedValue(None),
    n_ctx=16384,
    norm=layernorm(1e-5, "layer_norm_eps"),
    act="relu2",
    partial=0.5,
    attention=biases(True)
    | {
        "n_kv_heads": ImpliedValue(None),
        "qk_norm": Cases(flag("qk_layernorm", True), {False: None, True: LAYER_QK_NORM}),
    },
    ffn={"kind": "plain", "bias": True},
    dropouts={"attention": dropout("attention_dropout", 0.0), "residual": dropout("hidden_dropout", 0.0)},
    tensors=(
        modules({"embed.tokens": "embed_tokens", "final_norm": "final_layernorm"}, name="model."),
        module("head", "lm_head"),
        fused_modules(QKV, "model.layers.{i}.self_attn.query_key_value", order="by_head"),
        modules({"attn.out": "self_attn.dense", **PHI_NORMS}, *LAYER),
        LLAMA_NORMS,
        modules({"ffn.up": "mlp.dense_h_to_4h", "ffn.down": "mlp.dense_4h_to_h"}, *LAYER),
    ),
)
PHI = decoder(
    "phi",
    "PhiForCausalLM",
    vocab=51200,
    width=2048,
    d_ff=8192,
    depth=24,
    n_ctx=2048,
    norm=layernorm(1e-5, "layer_norm_eps"),
    act="gelu_new",
    partial=0.5,
    layer={"placement": "parallel"},
    attention=biases(True) | {"qk_norm": Cases(flag("qk_layernorm", False), {False: None, True: LAYER_QK_NORM})},
    ffn={"kind": "plain", "bias": True},
    head={"bias": True},
    dropouts={
        "embedding": dropout("embd_pdrop", 0.0),
        "attention": dropout("attention_dropout", 0.0, null=0.0),
        "residual": dropout("resid_pdrop", 0.0),
    },
    tensors=(
        modules({"embed.tokens": "embed_tokens", "final_norm": "final_layernorm"}, name="model."),
        module("head", "lm_head"),
        modules({f"attn.{part}": f"self_attn.{part}_proj" for part in "qkv"}, *LAYER),
        modules({"attn.out": "self_attn.dense", "attn_norm": "input_layernorm", **PHI_NORMS}, *LAYER),
        modules({"ffn.up": "mlp.fc1", "ffn.down": "mlp.fc2"}, *LAYER),
    ),
    gguf=GgufMap(
        "phi2",
        LAYERNORM_SIZES | {NORM_EPS: "layer_norm_eps"},
        UNPERMUTED,
        config_keys=partial_rotary,
        own_keys=(PARTIAL_ROTARY,),
    ),
)

FAMILIES = (
    LLAMA,
    MISTRAL,
    QWEN2,
    QWEN3,
    GEMMA2,
    PHI,
    ARCEE,
    COHERE,
    COHERE2,
    COMPASS,
    CWM,
    ERNIE,
    EUROBERT,
    EXAONE4,
    GEMMA,
    GEMMA3,
    GLM,
    GLM4,
    HELIUM,
    INTERNLM3,
    IQUESTCODER,
    JAIS2,
    MINISTRAL,
    OLMO,
    OLMO2,
    OLMO3,
    PERSIMMON,
    PHI3,
    SEED_OSS,
    SMOLLM3,
    STABLELM,
    STARCODER2,
    VAULTGEMMA,
    BITNET,
    HUNYUAN,
    DIFFLLAMA,
    MINISTRAL3,
)
