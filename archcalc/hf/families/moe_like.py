"""Decoders like LLaMA whose feed-forwards are mixtures of experts."""

from collections.abc import Callable, Mapping
from typing import Any

from msgspec.structs import replace

from archcalc.formats.gguf_file import Header
from archcalc.hf.config import COUNT, INDICES, LAYER_OR_LAST, LAYERS_OR_NONE, TEXT, Config
from archcalc.hf.families.granite_like import SINKS
from archcalc.hf.families.llama_like import (
    PATTERN,
    QWEN_WINDOW,
    TEXT_OF_VISION,
    long_factors,
    sliding,
    window,
    without_window,
)
from archcalc.hf.family import derive
from archcalc.hf.gguf_map import (
    ATTENTION,
    BLOCK,
    CORRECTED_EXPERTS,
    EXPERT_KEYS,
    HEAD_DIM,
    ORIGINAL_CONTEXT,
    OUTSIDE,
    PARTIAL_ROTARY,
    POST_ATTENTION,
    QK,
    ROPE_FACTOR,
    SIGMOID,
    SIZES,
    UNPERMUTED,
    UNPERMUTED_ENTRIES,
    WINDOW_PATTERN,
    GgufMap,
    count_of,
    partial_rotary,
    short_float,
    stored,
    value_of,
    window_words,
    with_head,
)
from archcalc.hf.gguf_map import EXPERTS as GGUF_MOE
from archcalc.hf.gguf_map import SHARED_EXPERT as GGUF_SHARED
from archcalc.hf.lens import REQUIRED, Cases, Choice, ConfigLens, Constraint, Conversion, ImpliedValue, Key, NullCases
from archcalc.hf.rope import PHI_SCALINGS
from archcalc.hf.spellings import MTP_LAYERS, TIED, TIED_EXPERTS
from archcalc.hf.stack import CombinedSchedule, DenseFirstSchedule, IntervalSchedule, ListSchedule, SparseSchedule
from archcalc.hf.templates.decoder import BIASED, LAYER, MLP_BIAS, OUT_NORMS, WINDOWS, cross_product, decoder, windows
from archcalc.hf.tensors import TensorEntry, module, modules, table
from archcalc.hf.vocabulary import (
    CORRECTION,
    LLAMA_ATTENTION,
    LLAMA_DENSE,
    LLAMA_EXPERTS,
    LLAMA_NORMS,
    LLAMA_OUTSIDE,
    QK_NORMS,
    SHARED_EXPERTS,
    activation,
    biases,
    dropout,
    flag,
    keys,
    layernorm,
    layers,
    positive,
    rmsnorm,
    size,
)

# ------------------------------------------------------------------------------------------------------ what many share


def experts(n_experts: Key, n_active: Key, d_expert: ConfigLens, **more: Any) -> dict[str, Any]:
    """Return a mixture of experts with these sizes."""
    sizes = {"n_experts": n_experts, "n_active": n_active, "d_expert": d_expert}
    return {"kind": "moe", **sizes, "activation": activation("silu"), **more}


def layers_that(are_dense: Callable[[Config, int], bool], *also: Key) -> ListSchedule:
    """Return the schedule `mlp_layer_types`, or else what `are_dense` says of a layer, from the keys `also`."""
    words = {"sparse": "moe", "dense": "dense"}
    return ListSchedule(
        words, lambda config, index: "dense" if are_dense(config, index) else "moe", also, "mlp_layer_types"
    )


CORRECTED = {"choose": "sigmoid", "correction": "buffer"}
GROUPED = {"n_groups": size("n_group", 1), "n_active_groups": size("topk_group", 1)}
SPARSE_STEP = SparseSchedule(size("decoder_sparse_step", 1), Key("mlp_only_layers", INDICES, (), null=()))
FIRST_DENSE = Key("first_k_dense_replace", LAYERS_OR_NONE, 1)
DEPTH = layers(49)
FULL_LAYERS = Key("max_window_layers", LAYERS_OR_NONE, 28)
FULL_LAYERS_62 = Key("max_window_layers", LAYERS_OR_NONE, 62)

USE_BIAS = flag("use_bias", False)
ERNIE_SHARED = Key("moe_num_shared_experts", COUNT, 2)
COHERE_WIDTH = size("intermediate_size", 22528)
COHERE_SHARED = Key("num_shared_experts", COUNT, 0)
FIRST_DENSE_0 = Key("first_k_dense_replace", LAYERS_OR_NONE, 0)
PREFIX_PATTERN = size("prefix_dense_sliding_window_pattern", 1)
NO_PATTERN = Conversion(PREFIX_PATTERN, lambda period: period == 1, lambda none: 1 if none else 2)

MLP_CORRECTION = TensorEntry("model.layers.{i}.mlp.e_score_correction_bias", ("layers.{i}.ffn.correction_bias",))
SHARED_EXPERT = modules(
    {"gate": "gate_proj", "up": "up_proj", "down": "down_proj"},
    "layers.{i}.ffn.shared.",
    "model.layers.{i}.mlp.shared_expert.",
)
GATE, UP, DOWN = (f"layers.{{i}}.ffn.experts.{part}" for part in ("gate", "up", "down"))
EXPERTS = "model.layers.{i}.mlp.experts"


def bare(default: int) -> dict[str, dict[str, Any]]:
    """Return global layers that do not rotate, and sliding ones that do."""
    return {"global": {"window": None, "position": None}, "sliding": {"window": size("sliding_window", default)}}


def first_dense(config: Config, index: int) -> bool:
    """The first layers are dense."""
    return bool(index < FIRST_DENSE.read(config))


def lower_layers(config: Config, index: int) -> str:
    """Every second of the layers below max_window_layers slides, if there is a window (Qwen2-MoE)."""
    lower = index % 2 == 0 and index < FULL_LAYERS.read(config)
    return "sliding" if lower and QWEN_WINDOW.read(config) else "global"


def above(config: Config, index: int) -> str:
    """The layers above max_window_layers slide, if there is a window."""
    return "sliding" if index >= FULL_LAYERS_62.read(config) and window(4096).read(config) else "global"


def all_but_fourths(config: Config, index: int) -> str:
    """The first two layers, every fourth and the last are global (Flint)."""
    return "global" if index < 2 or index % 4 == 1 or index == DEPTH.read(config) - 1 else "sliding"


def cohere_window(config: Config, index: int) -> str:
    """The dense layers in front and the mixtures behind them each have a period of sliding layers (Cohere 2 MoE)."""
    n_dense = FIRST_DENSE_0.read(config)
    key, index = (PREFIX_PATTERN, index) if index < n_dense else (PATTERN, index - n_dense)
    return "sliding" if (index + 1) % key.read(config) else "global"


def floor_head(config: Config) -> int:
    """Return the default width of a head, rounded down (GLM-4.5)."""
    return int(size("hidden_size", 4096).read(config) // size("num_attention_heads", 96).read(config))


def share_of_head(config: Config) -> float:
    """Return the rotated part of a head: all of it, or `rotary_dim` (MiniMax-M2)."""
    width = size("head_dim", 128).read(config)
    return float(size("rotary_dim", width, null=width).read(config) / width)


# ------------------------------------------------------------------------------------------ Mixtral, Qwen3-MoE, gpt-oss

MIXTRAL_SPELLING = replace(
    TIED_EXPERTS,
    renames={
        r"\.block_sparse_moe\.": ".mlp.",
        r"(\.experts\.\d+)\.w1\.": r"\1.gate_proj.",
        r"(\.experts\.\d+)\.w2\.": r"\1.down_proj.",
        r"(\.experts\.\d+)\.w3\.": r"\1.up_proj.",
    },
)
MIXTRAL = decoder(
    "mixtral",
    "MixtralForCausalLM",
    n_ctx=131072,
    kv=8,
    norm=rmsnorm(1e-5),
    theta=1_000_000.0,
    attention={"window": window(None)},
    base_ffn={
        "kind": "moe",
        "n_experts": size("num_local_experts", 8, aliases=("num_experts",)),
        "n_active": size("num_experts_per_tok", 2),
        "d_expert": size("intermediate_size", 14336),
        "activation": activation("silu"),
        "choose": ImpliedValue("softmax"),
        "normalize": ImpliedValue(True),
    },
    tensors=(LLAMA_OUTSIDE, LLAMA_ATTENTION, LLAMA_NORMS, LLAMA_EXPERTS),
    irrelevant=keys("router_jitter_noise layer_types"),
    spelling=MIXTRAL_SPELLING,
)

QWEN3_EXPERTS: dict[str, Any] = {
    "kind": "moe",
    "n_experts": size("num_experts", 128, aliases=("num_local_experts",)),
    "n_active": size("num_experts_per_tok", 8),
    "d_expert": size("moe_intermediate_size", 768),
    "activation": activation("silu"),
    "choose": ImpliedValue("softmax"),
    "normalize": flag("norm_topk_prob", False),
}
QWEN3_MOE = decoder(
    "qwen3_moe",
    "Qwen3MoeForCausalLM",
    vocab=151936,
    n_ctx=32768,
    width=2048,
    depth=24,
    kv=4,
    d_ff=6144,
    attention=BIASED | {"qk_norm": "head", "window": QWEN_WINDOW},
    ffn_kinds={"moe": QWEN3_EXPERTS, "dense": None},
    schedule=SPARSE_STEP,
    tensors=(LLAMA_DENSE, QK_NORMS, LLAMA_EXPERTS),
    # Said by some configs; the class knows none of them.
    constraints=(
        Constraint("qkv_bias", (False,)),
        Constraint("use_qk_norm", (True,)),
        Constraint("shared_expert_intermediate_size", (0, None)),
    ),
    irrelevant=keys("max_window_layers layer_types"),
    spelling=TIED_EXPERTS,
    # llama.cpp src/models/qwen3moe.cpp: the weights of the chosen experts always sum to 1.
    gguf=GgufMap(
        "qwen3moe",
        SIZES | HEAD_DIM | EXPERT_KEYS,
        UNPERMUTED,
        fixed={"norm_topk_prob": True},
        own_keys=TEXT_OF_VISION,
        aliases=("qwen3vlmoe",),
    ),
)

# gpt-oss stores experts [in, out], gate and up in turn.
GPT_OSS = decoder(
    "gpt_oss",
    "GptOssForCausalLM",
    vocab=201088,
    n_ctx=131072,
    width=2880,
    depth=36,
    heads=64,
    kv=8,
    d_head=size("head_dim", 64, null=None),
    norm=rmsnorm(1e-5),
    theta=150_000.0,
    rope={
        "default": {
            "rope_type": "yarn",
            "factor": 32.0,
            "beta_fast": 32.0,
            "beta_slow": 1.0,
            "truncate": False,
            "original_max_position_embeddings": 4096,
        }
    },
    attention=biases(flag("attention_bias", True)) | {"sinks": True},
    kinds=sliding(128),
    schedule=windows(2),
    base_ffn={
        "kind": "moe",
        "n_experts": size("num_local_experts", 128, aliases=("num_experts",)),
        "n_active": size("num_experts_per_tok", 4, aliases=("experts_per_token",)),
        "d_expert": size("intermediate_size", 2880),
        "activation": {
            "kind": "clamped_swish",
            "limit": positive("swiglu_limit", 7.0),
            "alpha": positive("swiglu_alpha", 1.702),
        },
        "expert_bias": True,
        "router_bias": True,
        "choose": "logits",
        "weigh": "softmax",
    },
    tensors=(
        LLAMA_OUTSIDE,
        LLAMA_ATTENTION,
        SINKS,
        LLAMA_NORMS,
        module("layers.{i}.ffn.router", "model.layers.{i}.mlp.router"),
        TensorEntry(f"{EXPERTS}.gate_up_proj", (f"{GATE}.weight", f"{UP}.weight"), 1, "alternate", transposed=True),
        TensorEntry(f"{EXPERTS}.gate_up_proj_bias", (f"{GATE}.bias", f"{UP}.bias"), 1, "alternate"),
        TensorEntry(f"{EXPERTS}.down_proj", (f"{DOWN}.weight",), transposed=True),
        TensorEntry(f"{EXPERTS}.down_proj_bias", (f"{DOWN}.bias",)),
    ),
    # The experts' activation is fixed, whatever hidden_act says.
    irrelevant=keys("hidden_act initial_context_length"),
    gguf=GgufMap(
        "gpt-oss",
        SIZES
        | HEAD_DIM
        | EXPERT_KEYS
        | {"expert_feed_forward_length": "intermediate_size", "attention.sliding_window": "sliding_window"},
        table(
            OUTSIDE,
            modules(QK | ATTENTION | GGUF_MOE | {"ffn_norm": "post_attention_norm"}, *BLOCK),
            (TensorEntry("blk.{i}.attn_sinks.weight", ("layers.{i}.attn.sinks",)),),
        ),
        # Its factors are not rounded; files do not say so.
        config_keys=lambda header, config: {"rope_scaling": config.get("rope_scaling", {}) | {"truncate": False}},
    ),
)

# ------------------------------------------------------------------------------------- chosen by a softmax (Qwen, OLMo)

QWEN2_MOE = decoder(
    "qwen2_moe",
    "Qwen2MoeForCausalLM",
    vocab=151936,
    n_ctx=32768,
    width=2048,
    depth=24,
    heads=16,
    kv=16,
    d_ff=5632,
    attention=dict.fromkeys(("q_bias", "k_bias", "v_bias"), flag("qkv_bias", True)),
    schedule=CombinedSchedule(ListSchedule(WINDOWS, lower_layers, (FULL_LAYERS,)), SPARSE_STEP),
    tensors=(
        LLAMA_DENSE,
        LLAMA_EXPERTS,
        SHARED_EXPERT,
        module("layers.{i}.ffn.shared_gate", "model.layers.{i}.mlp.shared_expert_gate"),
    ),
    spelling=TIED_EXPERTS,
    **cross_product(
        {"global": {"window": None}, "sliding": {"window": QWEN_WINDOW}},
        {
            "dense": None,
            "moe": experts(
                size("num_experts", 60),
                size("num_experts_per_tok", 4),
                size("moe_intermediate_size", 1408),
                choose="softmax",
                normalize=flag("norm_topk_prob", False),
                n_shared=1,
                d_shared=size("shared_expert_intermediate_size", 5632),
                shared_gate=True,
            ),
        },
    ),
    gguf=GgufMap(
        "qwen2moe",
        SIZES
        | EXPERT_KEYS
        | {
            "expert_count": "num_experts",
            "expert_shared_feed_forward_length": "shared_expert_intermediate_size",
        },
        table(
            OUTSIDE,
            modules(QK | ATTENTION | GGUF_MOE | GGUF_SHARED | {"ffn_norm": "ffn_norm"}, *BLOCK),
            TensorEntry("blk.{i}.ffn_gate_inp_shexp.weight", ("layers.{i}.ffn.shared_gate.weight",), is_flat=True),
        ),
        # llama.cpp src/models/qwen2moe.cpp: the weights of the chosen experts stay as they are.
        fixed={"norm_topk_prob": False},
    ),
)
MELLUM = decoder(
    "mellum",
    "MellumForCausalLM",
    vocab=98304,
    n_ctx=131072,
    width=2304,
    depth=28,
    kv=4,
    d_head=size("head_dim", 128),
    d_ff=7168,
    theta=500_000.0,
    rope={"layer_kind": "full_attention", "theta_key": None},
    attention=BIASED | {"qk_norm": "head"},
    schedule=CombinedSchedule(windows(1), layers_that(lambda config, index: False)),
    tensors=(LLAMA_DENSE, QK_NORMS, LLAMA_EXPERTS),
    # Modules that predict further tokens, which no forward pass runs.
    irrelevant=keys("num_mtp_layers num_nextn_predict_layers mtp_layer_types mtp_mlp_layer_types"),
    spelling=TIED_EXPERTS,
    **cross_product(
        {
            "global": {"window": None},
            "sliding": {
                "window": window(1024),
                "position": lambda rope: replace(rope, layer_kind="sliding_attention", theta=10_000.0),
            },
        },
        {
            "dense": None,
            "moe": experts(
                size("num_experts", 64, aliases=("num_local_experts",)),
                size("num_experts_per_tok", 8),
                size("moe_intermediate_size", 896),
                choose="softmax",
                normalize=flag("norm_topk_prob", True),
            ),
        },
    ),
)
OLMOE = decoder(
    "olmoe",
    "OlmoeForCausalLM",
    vocab=50304,
    n_ctx=4096,
    width=2048,
    depth=16,
    heads=16,
    d_head=ImpliedValue(None),
    norm=rmsnorm(1e-5),
    attention=BIASED | {"qk_norm": "full", "clip": positive("clip_qkv", None, null=None)},
    base_ffn=experts(
        size("num_experts", 64, aliases=("num_local_experts",)),
        size("num_experts_per_tok", 8),
        size("intermediate_size", 2048),
        choose="softmax",
        normalize=flag("norm_topk_prob", False),
    ),
    tensors=(LLAMA_OUTSIDE, LLAMA_ATTENTION, QK_NORMS, LLAMA_NORMS, LLAMA_EXPERTS),
    spelling=TIED_EXPERTS,
    gguf=GgufMap(
        "olmoe",
        SIZES | EXPERT_KEYS | {"expert_count": "num_experts", "attention.clamp_kqv": "clip_qkv"},
        UNPERMUTED,
        # llama.cpp src/models/olmoe.cpp: the weights of the chosen experts stay as they are.
        fixed={"norm_topk_prob": False},
        config_keys=stored(attention_bias="attn_q.bias"),
    ),
)
FLEX_OLMO = decoder(
    "flex_olmo",
    "FlexOlmoForCausalLM",
    vocab=100352,
    n_ctx=4096,
    theta=500_000.0,
    layer={"placement": "output"},
    attention=BIASED | {"qk_norm": "full"},
    base_ffn=experts(
        size("num_experts", 7, aliases=("num_local_experts",)),
        size("num_experts_per_tok", 5),
        size("intermediate_size", 11008),
        choose="softmax",
        normalize=flag("norm_topk_prob", False),
    ),
    tensors=(LLAMA_OUTSIDE, LLAMA_ATTENTION, QK_NORMS, OUT_NORMS, LLAMA_EXPERTS),
    fixed_keys={"pad_token_id": None},
    spelling=TIED_EXPERTS,
)
ARIA = decoder(
    "aria_text",
    "AriaTextForCausalLM",
    attention=BIASED,
    base_ffn=experts(
        size("moe_num_experts", 8),
        size("moe_topk", 2),
        size("intermediate_size", 4096),
        choose="logits",
        weigh="softmax",
        n_shared=size("moe_num_shared_experts", 2),
        shared_bias=MLP_BIAS,
    ),
    tensors=(
        LLAMA_OUTSIDE,
        LLAMA_ATTENTION,
        LLAMA_NORMS,
        module("layers.{i}.ffn.router", "model.layers.{i}.mlp.router"),
        TensorEntry(f"{EXPERTS}.gate_up_proj", (f"{GATE}.weight", f"{UP}.weight"), 1, transposed=True),
        TensorEntry(f"{EXPERTS}.down_proj", (f"{DOWN}.weight",), transposed=True),
        SHARED_EXPERTS,
    ),
    # The class's experts know no other, whatever the shared ones have.
    constraints=(Constraint("hidden_act", ("silu", "swish")),),
    spelling=replace(
        TIED,
        renames={r"(\.experts)\.fc1\.weight$": r"\1.gate_up_proj", r"(\.experts)\.fc2\.weight$": r"\1.down_proj"},
    ),
)

# ------------------------------------------------------------- chosen by a sigmoid and a correction (DeepSeek-V3's way)


def corrected_gguf(header: Header, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a file leaves out of DeepSeek-V3's choice of experts, and how many layers are not its last ones."""
    n_mtp = count_of(header, "nextn_predict_layers")
    return {
        "n_group": config.get("n_group", 1),
        "topk_group": config.get("topk_group", 1),
        "norm_topk_prob": config.get("norm_topk_prob", False),
        "routed_scaling_factor": config.get("routed_scaling_factor") or 1.0,
        "num_hidden_layers": config["num_hidden_layers"] - n_mtp,
        **({"num_nextn_predict_layers": n_mtp} if n_mtp else {}),
        **stored(attention_bias="attn_q.bias")(header, {}),
    }


def glm4_moe_gguf(header: Header, config: dict[str, Any]) -> dict[str, Any]:
    """Return DeepSeek-V3's keys, the rotated share, and whether queries and keys are normed."""
    norms = stored(use_qk_norm="attn_q_norm.weight")(header, {})
    return corrected_gguf(header, config) | partial_rotary(header, config) | norms


def dots_gguf(header: Header, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return DeepSeek-V3's keys; no layer has a window."""
    return corrected_gguf(header, config) | {"max_window_layers": config["num_hidden_layers"]}


DOTS1 = decoder(
    "dots1",
    "Dots1ForCausalLM",
    vocab=152064,
    width=4608,
    depth=62,
    kv=32,
    d_ff=10944,
    attention=BIASED | {"qk_norm": "head"},
    schedule=CombinedSchedule(
        ListSchedule(WINDOWS, above, (FULL_LAYERS_62,)),
        DenseFirstSchedule(Key("first_k_dense_replace", LAYERS_OR_NONE, 0)),
    ),
    tensors=(LLAMA_DENSE, QK_NORMS, LLAMA_EXPERTS, SHARED_EXPERTS, CORRECTION),
    # Said by some configs; the class has no choice.
    constraints=(
        Constraint("scoring_func", ("sigmoid",)),
        Constraint("topk_method", ("noaux_tc",)),
        Constraint("moe_layer_freq", (1,)),
    ),
    spelling=TIED_EXPERTS,
    gguf=GgufMap(
        "dots1",
        SIZES | HEAD_DIM | CORRECTED_EXPERTS,
        UNPERMUTED,
        config_keys=dots_gguf,
        values={"expert_gating_func": (SIGMOID,)},
    ),
    **cross_product(
        sliding(4096),
        {
            "dense": None,
            "moe": experts(
                size("n_routed_experts", REQUIRED, aliases=("num_local_experts",)),
                size("num_experts_per_tok", REQUIRED),
                size("moe_intermediate_size", 1408),
                **CORRECTED,
                **GROUPED,
                normalize=flag("norm_topk_prob", False),
                scale=positive("routed_scaling_factor", 1.0),
                n_shared=size("n_shared_experts", REQUIRED),
            ),
        },
    ),
)
GLM4_MOE = decoder(
    "glm4_moe",
    "Glm4MoeForCausalLM",
    vocab=151552,
    n_ctx=131072,
    depth=46,
    heads=96,
    kv=8,
    d_ff=10944,
    norm=rmsnorm(1e-5),
    d_head=size("head_dim", floor_head),
    partial=0.5,
    rope={"rounds_up": True},
    attention=dict.fromkeys(("q_bias", "k_bias", "v_bias"), flag("attention_bias", False))
    | {"qk_norm": Cases(flag("use_qk_norm", False), {False: None, True: {"norm": rmsnorm(1e-5), "over": "head"}})},
    ffn_kinds={
        "dense": None,
        "moe": experts(
            size("n_routed_experts", 128, aliases=("num_local_experts",)),
            size("num_experts_per_tok", 8),
            size("moe_intermediate_size", 1408),
            **CORRECTED,
            **GROUPED,
            normalize=flag("norm_topk_prob", True),
            scale=positive("routed_scaling_factor", 1.0),
            n_shared=size("n_shared_experts", 1),
        ),
    },
    schedule=DenseFirstSchedule(Key("first_k_dense_replace", LAYERS_OR_NONE, 1)),
    tensors=(LLAMA_DENSE, QK_NORMS, LLAMA_EXPERTS, SHARED_EXPERTS, CORRECTION),
    irrelevant=keys("num_nextn_predict_layers num_mtp_layers"),
    spelling=replace(TIED_EXPERTS, mtp=MTP_LAYERS),
    gguf=GgufMap(
        "glm4moe",
        SIZES | HEAD_DIM | CORRECTED_EXPERTS,
        table(POST_ATTENTION, UNPERMUTED_ENTRIES),
        config_keys=glm4_moe_gguf,
        own_keys=(PARTIAL_ROTARY, "nextn_predict_layers"),
        values={"expert_gating_func": (SIGMOID,)},
    ),
)
SOLAR_OPEN = decoder(
    "solar_open",
    "SolarOpenForCausalLM",
    vocab=196608,
    n_ctx=131072,
    depth=48,
    heads=64,
    kv=8,
    d_head=size("head_dim", 128),
    norm=rmsnorm(1e-5),
    theta=1_000_000.0,
    attention=dict.fromkeys(("q_bias", "k_bias", "v_bias"), flag("attention_bias", False)),
    base_ffn=experts(
        size("n_routed_experts", 128, aliases=("num_local_experts",)),
        size("num_experts_per_tok", 8),
        size("moe_intermediate_size", 1280),
        **CORRECTED,
        **GROUPED,
        normalize=flag("norm_topk_prob", True),
        scale=positive("routed_scaling_factor", 1.0),
        n_shared=size("n_shared_experts", 1),
    ),
    tensors=(LLAMA_OUTSIDE, LLAMA_ATTENTION, LLAMA_NORMS, LLAMA_EXPERTS, SHARED_EXPERTS, CORRECTION),
    constraints=(Constraint("first_k_dense_replace", (0,)), Constraint("use_qk_norm", (False,))),
    # No layer is dense.
    irrelevant=keys("intermediate_size"),
    spelling=TIED_EXPERTS,
)


def exaone_moe_gguf(header: Header, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return DeepSeek-V3's keys, and the kinds of layers."""
    found = corrected_gguf(header, config)
    words = window_words(header, 4)[: found["num_hidden_layers"]]
    return {key: value for key, value in found.items() if key != "attention_bias"} | {"layer_types": words}


EXAONE_MOE = decoder(
    "exaone_moe",
    "ExaoneMoeForCausalLM",
    vocab=102400,
    d_ff=16384,
    kv=32,
    norm=rmsnorm(1e-5),
    attention={"qk_norm": "head"},
    schedule=CombinedSchedule(windows(PATTERN), layers_that(first_dense, FIRST_DENSE)),
    tensors=(LLAMA_DENSE, QK_NORMS, LLAMA_EXPERTS, SHARED_EXPERTS, CORRECTION),
    irrelevant=keys("num_nextn_predict_layers"),
    spelling=replace(
        TIED_EXPERTS,
        renames={r"\.mlp\.e_score_correction_bias$": ".mlp.gate.e_score_correction_bias"},
        unused={r"mtp\..*": "predicts further tokens"},
    ),
    gguf=GgufMap(
        "exaone-moe",
        SIZES
        | HEAD_DIM
        | {key: name for key, name in CORRECTED_EXPERTS.items() if key != "leading_dense_block_count"}
        | {
            "expert_count": "num_experts",
            "expert_shared_count": "num_shared_experts",
            "attention.sliding_window": "sliding_window",
            "leading_dense_block_count": "first_k_dense_replace",
        },
        UNPERMUTED,
        config_keys=exaone_moe_gguf,
        own_keys=(WINDOW_PATTERN, "expert_shared_feed_forward_length", "nextn_predict_layers"),
        has_rope_factors=True,
        values={"expert_gating_func": (SIGMOID,)},
        origins={"layer_types": WINDOW_PATTERN},
    ),
    **cross_product(
        bare(4096),
        {
            "dense": None,
            "moe": experts(
                size("num_experts", 64),
                size("num_experts_per_tok", 8),
                size("moe_intermediate_size", 1024),
                **CORRECTED,
                **GROUPED,
                normalize=flag("norm_topk_prob", True),
                scale=positive("routed_scaling_factor", 2.5),
                n_shared=size("num_shared_experts", 1),
            ),
        },
    ),
)
HY_V3 = decoder(
    "hy_v3",
    "HYV3ForCausalLM",
    vocab=120832,
    n_ctx=131072,
    depth=80,
    heads=64,
    kv=8,
    d_head=size("head_dim", 128),
    d_ff=13312,
    norm=rmsnorm(1e-5),
    theta=11158840.0,
    attention=BIASED | {"qk_norm": "head"},
    ffn={"bias": MLP_BIAS},
    ffn_kinds={
        "dense": None,
        "moe": experts(
            size("num_experts", 192, aliases=("num_local_experts",)),
            size("num_experts_per_tok", 8),
            size("moe_intermediate_size", 1536),
            **CORRECTED,
            normalize=True,
            scale=positive("router_scaling_factor", 2.826),
            n_shared=size("num_shared_experts", 1),
            shared_bias=MLP_BIAS,
        ),
    },
    schedule=layers_that(lambda config, index: index == 0),
    tensors=(LLAMA_DENSE, QK_NORMS, LLAMA_EXPERTS, SHARED_EXPERTS, MLP_CORRECTION),
    # In which precision two sums are added.
    irrelevant=keys("enable_moe_fp32_combine"),
    spelling=replace(
        TIED_EXPERTS,
        renames={
            r"\.mlp\.router\.gate\.": ".mlp.gate.",
            r"\.mlp\.expert_bias$": ".mlp.e_score_correction_bias",
            r"\.mlp\.shared_mlp\.": ".mlp.shared_experts.",
        },
    ),
)
MINIMAX_M2 = derive(
    MIXTRAL,
    "minimax_m2",
    "MiniMaxM2ForCausalLM",
    vocab=200064,
    n_ctx=196608,
    width=3072,
    depth=62,
    heads=48,
    kv=8,
    d_head=size("head_dim", 128),
    norm=rmsnorm(1e-6),
    theta=5_000_000.0,
    partial=share_of_head,
    rope={"rounds_up": True},
    attention={"qk_norm": "full"},
    base_ffn=experts(
        size("num_local_experts", 256, aliases=("num_experts",)),
        size("num_experts_per_tok", 8),
        size("intermediate_size", 1536),
        **CORRECTED,
        normalize=True,
    ),
    tensors=(LLAMA_OUTSIDE, LLAMA_ATTENTION, QK_NORMS, LLAMA_NORMS, LLAMA_EXPERTS, MLP_CORRECTION),
    # Said by some configs; the class has no choice.
    constraints=(
        Constraint("scoring_func", ("sigmoid",)),
        Constraint("use_qk_norm", (True,)),
        Constraint("qk_norm_type", ("per_layer",)),
        Constraint("use_routing_bias", (True,)),
        Constraint("shared_intermediate_size", (0,)),
    ),
    irrelevant=keys("router_jitter_noise rotary_dim use_mtp num_mtp_modules mtp_transformer_layers attn_type_list"),
    gguf=GgufMap(
        "minimax-m2",
        SIZES | HEAD_DIM | EXPERT_KEYS | {"expert_feed_forward_length": "intermediate_size"},
        UNPERMUTED,
        config_keys=lambda header, config: {"rotary_dim": value_of(header, PARTIAL_ROTARY) or config.get("head_dim")},
        own_keys=(PARTIAL_ROTARY,),
        values={"expert_gating_func": (SIGMOID,)},
        origins={"rotary_dim": PARTIAL_ROTARY},
    ),
)
FLINT = decoder(
    "flint",
    "FlintForCausalLM",
    vocab=150144,
    n_ctx=262144,
    width=2048,
    depth=49,
    kv=4,
    d_head=size("head_dim", 128),
    d_ff=6144,
    attention=BIASED | {"qk_norm": "head", "sinks": True},
    schedule=CombinedSchedule(
        ListSchedule(WINDOWS, all_but_fourths, (DEPTH,)),
        SparseSchedule(size("decoder_sparse_step", 1), Key("mlp_only_layers", INDICES, (0, 1), null=(0, 1))),
    ),
    tensors=(LLAMA_DENSE, QK_NORMS, SINKS, LLAMA_EXPERTS, SHARED_EXPERT),
    spelling=replace(TIED_EXPERTS, renames={r"\.self_attn\.softmax_offset$": ".self_attn.sinks"}),
    **cross_product(
        bare(513),
        {
            "dense": None,
            "moe": experts(
                size("num_experts", 256),
                size("num_experts_per_tok", 6),
                size("moe_intermediate_size", 512),
                choose="sigmoid",
                normalize=flag("norm_topk_prob", True),
                n_shared=1,
                d_shared=size("shared_expert_intermediate_size", 1024),
            ),
        },
    ),
)


def ernie_gguf(header: Header, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the width of a head and whether there are biases, and where mixtures start."""
    found = with_head(use_bias="attn_q.bias")(header, dict(config))
    return found | {"moe_num_shared_experts": config.get("moe_num_shared_experts", 0)}


ERNIE_MOE = decoder(
    "ernie4_5_moe",
    "Ernie4_5_MoeForCausalLM",
    vocab=103424,
    width=2560,
    d_ff=12288,
    depth=28,
    heads=20,
    kv=4,
    n_ctx=131072,
    norm=rmsnorm(1e-5),
    theta=500_000.0,
    tie=True,
    rope={"interleaved": True},
    attention=biases(USE_BIAS),
    ffn={"bias": USE_BIAS},
    head={"bias": USE_BIAS},
    dropouts={},
    ffn_kinds={
        "dense": None,
        "moe": experts(
            size("moe_num_experts", 64, aliases=("num_experts",)),
            size("moe_k", 6, aliases=("num_experts_per_tok",)),
            size("moe_intermediate_size", 1536),
            choose="softmax",
            correction="parameter",
            normalize=True,
            normalize_min=positive("moe_norm_min", 1e-12),
            n_shared=ERNIE_SHARED,
            shared_bias=NullCases(ERNIE_SHARED, None, USE_BIAS, empty=0),
        ),
    },
    schedule=IntervalSchedule(
        Key("moe_layer_start_index", LAYERS_OR_NONE, 1),
        Key("moe_layer_end_index", LAYER_OR_LAST, -1),
        size("moe_layer_interval", 1),
    ),
    tensors=(
        LLAMA_DENSE,
        LLAMA_EXPERTS,
        SHARED_EXPERTS,
        replace(CORRECTION, name="model.layers.{i}.mlp.gate.moe_statics.e_score_correction_bias", unit_axes=(0,)),
    ),
    spelling=replace(
        TIED_EXPERTS,
        renames={r"\.mlp\.moe_statics\.": ".mlp.gate.moe_statics."},
        unused={r"(model\.)?mtp_.*": "predicts further tokens"},
    ),
    gguf=GgufMap(
        "ernie4_5-moe",
        SIZES
        | HEAD_DIM
        | {
            "expert_count": "moe_num_experts",
            "expert_used_count": "moe_k",
            "expert_feed_forward_length": "moe_intermediate_size",
            "expert_shared_count": "moe_num_shared_experts",
            "leading_dense_block_count": "moe_layer_start_index",
            "interleave_moe_layer_step": "moe_layer_interval",
        },
        UNPERMUTED,
        config_keys=ernie_gguf,
        own_keys=("expert_shared_feed_forward_length",),
    ),
)
KOLIBRI1 = decoder(
    "kolibri1",
    "Kolibri1ForCausalLM",
    vocab=128000,
    width=2560,
    depth=50,
    heads=48,
    kv=4,
    d_head=size("head_dim", 128),
    n_ctx=262144,
    layer={"placement": "sandwich"},
    attention={"qk_norm": "head"},
    kinds=bare(513),
    schedule=windows(5),
    base_ffn=experts(
        size("num_local_experts", 384, aliases=("num_experts",)),
        size("num_experts_per_tok", 6),
        size("moe_intermediate_size", 512),
        choose="logits",
        weigh="sigmoid",
        correction="buffer",
        normalize=flag("norm_topk_prob", False),
        n_shared=1,
        d_shared=size("shared_expert_intermediate_size", 512),
    ),
    tensors=(
        LLAMA_OUTSIDE,
        LLAMA_ATTENTION,
        QK_NORMS,
        LLAMA_NORMS,
        modules({"attn_out_norm": "post_self_attn_layernorm", "ffn_out_norm": "post_mlp_layernorm"}, *LAYER),
        LLAMA_EXPERTS,
        SHARED_EXPERTS,
        CORRECTION,
    ),
    # No layer is dense.
    irrelevant=keys("intermediate_size"),
    spelling=replace(
        TIED_EXPERTS,
        renames={
            r"\.moe\.router\.expert_bias$": ".mlp.gate.e_score_correction_bias",
            r"\.post_attn_norm\.": ".post_self_attn_layernorm.",
            r"\.post_ffn_norm\.": ".post_mlp_layernorm.",
        },
    ),
)


def phimoe_gguf(header: Header, config: dict[str, Any]) -> dict[str, Any]:
    """Return which biases there are, and the factors of long contexts.

    Files have one factor of cosine and sine, which the converter computes.
    """
    found = stored(attention_bias="attn_q.bias", lm_head_bias="output.bias")(header, config) | without_window(config)
    scaling = long_factors(header)
    if not scaling:
        return found
    factor = short_float(value_of(header, ROPE_FACTOR))
    lengths = {"original_max_position_embeddings": value_of(header, ORIGINAL_CONTEXT)}
    return found | {"rope_scaling": scaling | lengths | {"short_mscale": factor, "long_mscale": factor}}


PHIMOE = derive(
    MIXTRAL,
    "phimoe",
    "PhimoeForCausalLM",
    vocab=32064,
    norm=layernorm(1e-5, "rms_norm_eps"),
    attention=BIASED | {"window": window(None)},
    rope={"scalings": PHI_SCALINGS},
    head={"bias": flag("lm_head_bias", False)},
    base_ffn=experts(
        size("num_local_experts", 16),
        size("num_experts_per_tok", 2),
        size("intermediate_size", 6400),
        choose="logits",
        weigh="sparsemixer",
        jitter=dropout("router_jitter_noise", 0.01),
    ),
    tensors=(
        LLAMA_OUTSIDE,
        LLAMA_ATTENTION,
        LLAMA_NORMS,
        module("layers.{i}.ffn.router", "model.layers.{i}.mlp.router"),
        LLAMA_EXPERTS,
    ),
    # Of training alone.
    irrelevant=keys("input_jitter_noise"),
    spelling=replace(
        MIXTRAL_SPELLING, renames={r"\.block_sparse_moe\.gate\.": ".mlp.router.", **MIXTRAL_SPELLING.renames}
    ),
    gguf=GgufMap(
        "phimoe",
        SIZES
        | {
            "expert_count": "num_local_experts",
            "expert_used_count": "num_experts_per_tok",
            "attention.sliding_window": "sliding_window",
        },
        UNPERMUTED,
        config_keys=phimoe_gguf,
        own_keys=(ROPE_FACTOR,),
        origins={"rope_scaling": ROPE_FACTOR},
    ),
)
COHERE2_MOE = decoder(
    "cohere2_moe",
    "Cohere2MoeForCausalLM",
    vocab=256000,
    width=8192,
    depth=40,
    heads=64,
    d_head=size("head_dim", 128),
    d_ff=22528,
    n_ctx=8192,
    norm=NullCases(
        positive("rms_norm_eps", None, null=None),
        layernorm(1e-5, "layer_norm_eps", bias=False),
        rmsnorm(1e-5),
    ),
    rope={"interleaved": True},
    tie=True,
    layer={"placement": "parallel"},
    attention=BIASED,
    ffn={"d_ff": size("prefix_dense_intermediate_size", COHERE_WIDTH.read, null=COHERE_WIDTH.read)},
    kinds={
        "global_moe": {"window": None, "position": None},
        # Global layers that are dense rotate, if dense layers have no pattern of their own.
        "global_dense": {"window": None, "position": lambda rope: Cases(NO_PATTERN, {True: rope, False: None})},
        "sliding_moe": {"window": size("sliding_window", 4096)},
        "sliding_dense": {"window": size("sliding_window", 4096)},
    },
    ffn_kinds=dict.fromkeys(
        ("global_moe", "sliding_moe"),
        experts(
            size("num_experts", 8),
            size("num_experts_per_tok", 2),
            COHERE_WIDTH,
            choose="logits",
            weigh=Choice(Key("expert_selection_fn", TEXT, "softmax"), {"softmax": "softmax", "sigmoid": "sigmoid"}),
            normalize=Cases(
                Key("expert_selection_fn", TEXT, "softmax"),
                {"softmax": False, "sigmoid": flag("norm_topk_prob", True)},
            ),
            n_shared=COHERE_SHARED,
            shared_combine=NullCases(
                COHERE_SHARED,
                "sum",
                Choice(
                    Key("shared_expert_combination_strategy", TEXT, "average"), {"average": "average", "sum": "sum"}
                ),
                empty=0,
            ),
        ),
    ),
    schedule=CombinedSchedule(
        ListSchedule(WINDOWS, cohere_window, (FIRST_DENSE_0, PREFIX_PATTERN, PATTERN)),
        layers_that(lambda config, index: index < FIRST_DENSE_0.read(config), FIRST_DENSE_0),
    ),
    head={"scale": positive("logit_scale", 0.0625, null=None)},
    tensors=(
        LLAMA_DENSE,
        LLAMA_EXPERTS,
        SHARED_EXPERTS,
    ),
    spelling=TIED_EXPERTS,
)

FAMILIES = (
    MIXTRAL,
    QWEN3_MOE,
    GPT_OSS,
    ARIA,
    COHERE2_MOE,
    DOTS1,
    ERNIE_MOE,
    EXAONE_MOE,
    FLEX_OLMO,
    FLINT,
    GLM4_MOE,
    HY_V3,
    KOLIBRI1,
    MELLUM,
    MINIMAX_M2,
    OLMOE,
    PHIMOE,
    QWEN2_MOE,
    SOLAR_OPEN,
)
