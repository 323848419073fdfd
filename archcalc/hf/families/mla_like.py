"""Decoders with latent attention (DeepSeek-V2 and what follows it): a row each."""

import math
from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from archcalc.errors import InputError, shown
from archcalc.formats.gguf_file import Header
from archcalc.hf.config import COUNT, LAYERS_OR_NONE, TEXT, Config
from archcalc.hf.families.llama_like import long_factors
from archcalc.hf.families.moe_like import CORRECTED, experts, layers_that
from archcalc.hf.family import derive
from archcalc.hf.gguf_map import (
    BLOCK,
    CORRECTED_EXPERTS,
    HYBRID_SIZES,
    KV_HEADS,
    ORIGINAL_CONTEXT,
    PARTIAL_ROTARY,
    SIGMOID,
    UNPERMUTED_ENTRIES,
    GgufMap,
    first_part,
    stored,
    value_of,
)
from archcalc.hf.lens import REQUIRED, Cases, Choice, Constraint, DuplicateKey, Key, ScaledKey
from archcalc.hf.spellings import MTP_LAYERS, TIED, TIED_EXPERTS
from archcalc.hf.stack import DenseFirstSchedule
from archcalc.hf.templates.decoder import MLP_BIAS, decoder
from archcalc.hf.tensors import HeadPiece, TensorEntry, module, modules, table
from archcalc.hf.vocabulary import (
    CORRECTION,
    LLAMA_EXPERTS,
    LLAMA_FFN,
    LLAMA_NORMS,
    LLAMA_OUTSIDE,
    SHARED_EXPERTS,
    flag,
    keys,
    layers,
    positive,
    rmsnorm,
    size,
)
from archcalc.spec.attention import LatentAttention
from archcalc.spec.model import Spec
from archcalc.words import msg

BIAS = flag("attention_bias", False)
# Widths that follow from others.
FOLLOWING = "head_dim qk_head_dim"


def latent(heads: int, q_rank: int, kv_rank: int, d_nope: int, d_rope: int, d_v: int) -> dict[str, Any]:
    """Return latent attention with these sizes by default."""
    return {
        "kind": "mla",
        "n_heads": DuplicateKey(size("num_attention_heads", heads), "num_key_value_heads"),
        "q_rank": size("q_lora_rank", q_rank, null=None),
        "kv_rank": size("kv_lora_rank", kv_rank),
        "d_nope": size("qk_nope_head_dim", d_nope),
        "d_rope": size("qk_rope_head_dim", d_rope),
        "d_v": size("v_head_dim", d_v),
        # The latents' norms do not read rms_norm_eps.
        "norm": {"kind": "rmsnorm", "eps": 1e-6},
        "down_bias": BIAS,
        "out_bias": BIAS,
    }


def grouped(n_groups: int, n_active: int) -> dict[str, Any]:
    """Return the keys of groups of experts."""
    return {"n_groups": size("n_group", n_groups), "n_active_groups": size("topk_group", n_active)}


LATENT = modules(
    {
        "attn.q": "q_proj",
        "attn.q_down": "q_a_proj",
        "attn.q_down_norm": "q_a_layernorm",
        "attn.q_up": "q_b_proj",
        "attn.kv_down": "kv_a_proj_with_mqa",
        "attn.kv_down_norm": "kv_a_layernorm",
        "attn.kv_up": "kv_b_proj",
        "attn.out": "o_proj",
    },
    "layers.{i}.",
    "model.layers.{i}.self_attn.",
)
DENSE = (LLAMA_OUTSIDE, LATENT, LLAMA_NORMS, LLAMA_FFN)
MIXED = (*DENSE, LLAMA_EXPERTS, SHARED_EXPERTS, CORRECTION)


def latent_widths(header: Header, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the widths of heads and of the queries' latent."""
    name = header.metadata["general.architecture"]
    d_rope = value_of(header, PARTIAL_ROTARY)
    d_head, d_v = (
        value_of(header, f"{key}_mla") or value_of(header, key)
        for key in ("attention.key_length", "attention.value_length")
    )
    key = "attention.key_length" if value_of(header, "attention.key_length_mla") is None else "attention.key_length_mla"
    if not (type(d_head) is int and type(d_rope) is int and 0 < d_rope < d_head):
        raise InputError(
            msg("found {found}", found=shown(d_head)),
            where=f"{name}.{key}",
            allowed=msg("a number above {least}", least=f"{PARTIAL_ROTARY}, {shown(d_rope)}"),
        )
    return {
        "qk_rope_head_dim": d_rope,
        "qk_nope_head_dim": d_head - d_rope,
        "v_head_dim": d_v,
        "q_lora_rank": config.get("q_lora_rank"),
        "num_key_value_heads": config["num_attention_heads"],
    }


def latent_gguf(header: Header, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the widths of heads, and the type: files of several have this architecture.

    llama.cpp src/llama-model.cpp: experts are chosen by a softmax unless the file says otherwise.
    """
    found = latent_widths(header, config)
    if isinstance(factor := value_of(header, MSCALE), float):
        mscale = round(factor * 10, 6)
        found["rope_scaling"] = config.get("rope_scaling", {}) | {"mscale": mscale, "mscale_all_dim": mscale}
    if not config.get("n_routed_experts"):
        return found | {"model_type": "youtu"}
    n_groups = config.get("n_group", 1)
    found |= {"n_group": n_groups, "topk_group": config.get("topk_group", 1)}
    found |= {"routed_scaling_factor": config.get("routed_scaling_factor") or 1.0}
    found |= {"norm_topk_prob": config.get("norm_topk_prob", False)}
    if value_of(header, "expert_gating_func") == SIGMOID:
        return found
    return found | {"model_type": "deepseek_v2", "topk_method": "group_limited_greedy" if n_groups != 1 else "greedy"}


MSCALE = "rope.scaling.yarn_log_multiplier"
LATENT_ORIGINS = {
    "qk_rope_head_dim": PARTIAL_ROTARY,
    "qk_nope_head_dim": "attention.key_length_mla",
    "v_head_dim": "attention.value_length_mla",
}
LATENT_OWN_KEYS = (
    *("attention.key_length", "attention.value_length", "attention.key_length_mla", "attention.value_length_mla"),
    *(PARTIAL_ROTARY, KV_HEADS),
)
LATENT_SIZES = {"attention.q_lora_rank": "q_lora_rank", "attention.kv_lora_rank": "kv_lora_rank"}
LATENT_GGUF = modules(
    {
        "attn.q_down": "attn_q_a",
        "attn.q_down_norm": "attn_q_a_norm",
        "attn.q_up": "attn_q_b",
        "attn.kv_down": "attn_kv_a_mqa",
        "attn.kv_down_norm": "attn_kv_a_norm",
    },
    *BLOCK,
)


def absorbed(spec: Spec) -> tuple[TensorEntry, ...]:
    """Return the entry of the matrix from the latent to keys and values; files have it in two parts, by head."""
    part = first_part(spec, LatentAttention)
    whole, name = ("layers.{i}.attn.kv_up.weight",), "blk.{i}.attn_kv_b.weight"
    if part is None:
        return (TensorEntry(name, whole),)
    keys = HeadPiece("blk.{i}.attn_k_b.weight", part.n_heads, 0, part.d_nope, transposed=True)
    values = HeadPiece("blk.{i}.attn_v_b.weight", part.n_heads, part.d_nope, part.d_v)
    return (TensorEntry(name, whole, pieces=(keys, values)),)


DEEPSEEK_V3 = decoder(
    "deepseek_v3",
    "DeepseekV3ForCausalLM",
    vocab=129280,
    n_ctx=4096,
    width=7168,
    depth=61,
    d_ff=18432,
    rope={"interleaved": flag("rope_interleave", True)},
    base_attention=latent(128, q_rank=1536, kv_rank=512, d_nope=128, d_rope=64, d_v=128),
    ffn_kinds={
        "dense": None,
        "moe": experts(
            size("n_routed_experts", 256, aliases=("num_local_experts",)),
            size("num_experts_per_tok", 8),
            size("moe_intermediate_size", 2048),
            **CORRECTED,
            **grouped(8, 4),
            normalize=flag("norm_topk_prob", True),
            scale=positive("routed_scaling_factor", 2.5),
            n_shared=Key("n_shared_experts", COUNT, 1),
        ),
    },
    schedule=DenseFirstSchedule(Key("first_k_dense_replace", LAYERS_OR_NONE, 3)),
    tensors=MIXED,
    constraints=(
        Constraint("moe_layer_freq", (1,)),
        Constraint("scoring_func", ("sigmoid",)),
        Constraint("topk_method", ("noaux_tc",)),
    ),
    # And the modules for multi-token prediction, which no forward pass runs.
    irrelevant=keys(f"{FOLLOWING} num_nextn_predict_layers num_mtp_layers ep_size aux_loss_alpha seq_aux"),
    spelling=replace(TIED_EXPERTS, mtp=MTP_LAYERS),
    gguf=GgufMap(
        "deepseek2",
        HYBRID_SIZES | CORRECTED_EXPERTS | LATENT_SIZES,
        table(LATENT_GGUF, UNPERMUTED_ENTRIES),
        of_spec=absorbed,
        config_keys=latent_gguf,
        own_keys=(*LATENT_OWN_KEYS, MSCALE, "expert_gating_func"),
        origins=LATENT_ORIGINS,
    ),
)
GLM4_MOE_LITE = derive(
    DEEPSEEK_V3,
    "glm4_moe_lite",
    "Glm4MoeLiteForCausalLM",
    vocab=154880,
    n_ctx=202752,
    width=2048,
    depth=47,
    d_ff=10240,
    norm=rmsnorm(1e-5),
    base_attention=latent(20, q_rank=768, kv_rank=512, d_nope=192, d_rope=64, d_v=256),
    ffn_kinds={
        "dense": None,
        "moe": experts(
            size("n_routed_experts", 64, aliases=("num_local_experts",)),
            size("num_experts_per_tok", 4),
            size("moe_intermediate_size", 1536),
            **CORRECTED,
            **grouped(1, 1),
            normalize=flag("norm_topk_prob", True),
            scale=positive("routed_scaling_factor", 1.8),
            n_shared=size("n_shared_experts", 1),
        ),
    },
    schedule=layers_that(lambda config, index: index == 0),
    # Said by some configs; the class has no choice.
    constraints=(
        Constraint("scoring_func", ("sigmoid",)),
        Constraint("topk_method", ("noaux_tc",)),
        Constraint("first_k_dense_replace", (1,)),
    ),
    irrelevant=keys(f"{FOLLOWING} num_nextn_predict_layers num_mtp_layers"),
)
YOUTU = decoder(
    "youtu",
    "YoutuForCausalLM",
    vocab=128256,
    n_ctx=131072,
    width=2048,
    d_ff=6144,
    tie=True,
    rope={"interleaved": flag("rope_interleave", True)},
    base_attention=latent(16, q_rank=1536, kv_rank=512, d_nope=128, d_rope=64, d_v=128),
    tensors=DENSE,
    constraints=(Constraint("mlp_bias", (False,)),),
    irrelevant=keys(f"{FOLLOWING} embedding_initializer_range"),
    spelling=TIED,
)

# A choice within groups, or none: "greedy" looks at no group.
METHOD = Choice(Key("topk_method", TEXT, "greedy"), {"greedy": "greedy", "group_limited_greedy": "groups"})


def in_groups(name: str) -> Cases:
    """Return a key that is read where the choice is made within groups."""
    return Cases(METHOD, {"greedy": 1, "groups": size(name, REQUIRED)})


DEEPSEEK_V2 = derive(
    DEEPSEEK_V3,
    "deepseek_v2",
    "DeepseekV2ForCausalLM",
    vocab=102400,
    n_ctx=2048,
    width=4096,
    depth=32,
    d_ff=11008,
    rope={"interleaved": True},
    base_attention=latent(32, q_rank=1536, kv_rank=512, d_nope=128, d_rope=64, d_v=128),
    ffn={"bias": MLP_BIAS},
    ffn_kinds={
        "dense": None,
        "moe": experts(
            size("n_routed_experts", 64, aliases=("num_experts",)),
            size("num_experts_per_tok", REQUIRED),
            size("moe_intermediate_size", 1407),
            choose="softmax",
            n_groups=in_groups("n_group"),
            n_active_groups=in_groups("topk_group"),
            scale=positive("routed_scaling_factor", 1.0),
            n_shared=size("n_shared_experts", 2),
            shared_bias=MLP_BIAS,
        ),
    },
    schedule=DenseFirstSchedule(Key("first_k_dense_replace", LAYERS_OR_NONE, 0)),
    tensors=(*DENSE, LLAMA_EXPERTS, SHARED_EXPERTS),
    constraints=(Constraint("moe_layer_freq", (1,)), Constraint("scoring_func", ("softmax",))),
    # The class never normalizes, whatever the config says.
    irrelevant=keys(f"{FOLLOWING} norm_topk_prob ep_size aux_loss_alpha seq_aux"),
    spelling=TIED_EXPERTS,
)

DEPTH = layers(62)
WIDTH = size("hidden_size", 2560)


def default_head(config: Config) -> int:
    """Return the default width of a head."""
    return int(WIDTH.read(config) // size("num_attention_heads", 40).read(config))


def minicpm3_gguf(header: Header, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the widths of heads, and the factors of long contexts.

    llama.cpp has constants for the factors of embeddings, layers and logits: the class's defaults.
    """
    flags = stored(attention_bias="attn_q_a.bias", mlp_bias="ffn_up.bias")(header, dict(config))
    found = latent_widths(header, config) | flags
    scaling = long_factors(header)
    if not scaling:
        return found
    n_original = value_of(header, ORIGINAL_CONTEXT) or config.get("max_position_embeddings")
    return found | {"rope_scaling": scaling, "original_max_position_embeddings": n_original}


MINICPM3 = derive(
    YOUTU,
    "minicpm3",
    "MiniCPM3ForCausalLM",
    vocab=73448,
    width=2560,
    d_ff=6400,
    depth=62,
    n_ctx=32768,
    norm=rmsnorm(1e-5),
    rope={},
    layer={
        "scale": ScaledKey(
            positive("scale_depth", 1.4, null=lambda config: math.sqrt(DEPTH.read(config))),
            lambda config: 1 / math.sqrt(DEPTH.read(config)),
        )
    },
    base_attention={
        **latent(40, q_rank=768, kv_rank=256, d_nope=64, d_rope=32, d_v=64),
        "d_v": size("v_head_dim", default_head, null=default_head),
    },
    ffn={"bias": MLP_BIAS},
    model_fields={"embedding": {"scale": positive("scale_emb", 12.0)}},
    head={"scale": ScaledKey(size("dim_model_base", 256, null=WIDTH.read), lambda config: 1 / WIDTH.read(config))},
    constraints=(),
    irrelevant=keys(FOLLOWING),
    gguf=GgufMap(
        "minicpm3",
        HYBRID_SIZES | LATENT_SIZES,
        table(LATENT_GGUF, UNPERMUTED_ENTRIES),
        of_spec=absorbed,
        config_keys=minicpm3_gguf,
        own_keys=("attention.key_length", "attention.value_length", PARTIAL_ROTARY, KV_HEADS),
        origins={name: key.removesuffix("_mla") for name, key in LATENT_ORIGINS.items()},
    ),
)


def normed_experts(kind: str, layer: Mapping[str, Any]) -> Mapping[str, Any]:
    """Put a norm after a mixture of experts (A.X K1)."""
    if kind != "moe":
        return layer
    norm = layer["norm"]
    attention, experts = ({"name": name, "part": layer[part]} for name, part in (("attn", "attention"), ("ffn", "ffn")))
    return {
        "branches": (
            {"norm_in": norm, "arms": (attention,)},
            {"norm_in": norm, "arms": (experts,), "norm_out": norm},
        )
    }


# The older words for which layers are dense.
FIRST_DENSE = Key("first_k_dense_replace", LAYERS_OR_NONE, 1)
SPARSE_STEP = size("moe_layer_freq", 1)
EARLIER_DENSE = layers_that(
    lambda config, index: index < FIRST_DENSE.read(config) or bool(index % SPARSE_STEP.read(config)),
    FIRST_DENSE,
    SPARSE_STEP,
)
AXK1 = derive(
    DEEPSEEK_V3,
    "axk1",
    "AXK1ForCausalLM",
    vocab=163840,
    n_ctx=32768,
    base_attention={
        **latent(64, q_rank=1536, kv_rank=512, d_nope=128, d_rope=64, d_v=128),
        "q_rank": size("q_lora_rank", 1536),
    },
    ffn_kinds={
        "dense": None,
        "moe": experts(
            size("n_routed_experts", 192, aliases=("num_local_experts",)),
            size("num_experts_per_tok", 8),
            size("moe_intermediate_size", 2048),
            **CORRECTED,
            **grouped(8, 4),
            normalize=flag("norm_topk_prob", True),
            scale=positive("routed_scaling_factor", 2.5),
            n_shared=size("n_shared_experts", 1),
        ),
    },
    schedule=EARLIER_DENSE,
    to_branches=normed_experts,
    tensors=(*MIXED, module("layers.{i}.ffn_out_norm", "model.layers.{i}.mlp.post_mlp_layernorm")),
    # Said by some configs; the class has no choice.
    constraints=(Constraint("scoring_func", ("sigmoid",)), Constraint("topk_method", ("noaux_tc",))),
    irrelevant=keys(f"{FOLLOWING} num_nextn_predict_layers"),
    spelling=replace(TIED_EXPERTS, renames={r"(\.layers\.\d+)\.post_mlp_layernorm\.": r"\1.mlp.post_mlp_layernorm."}),
)

FAMILIES = (DEEPSEEK_V3, AXK1, DEEPSEEK_V2, GLM4_MOE_LITE, MINICPM3, YOUTU)
