"""Decoders whose layers have two attentions and two feed-forwards, and experts beside the second (LongCat-Flash)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from archcalc.hf.config import COUNT
from archcalc.hf.families.mla_like import latent
from archcalc.hf.families.moe_like import experts
from archcalc.hf.lens import Constraint, DuplicateKey, ImpliedValue, Key
from archcalc.hf.spellings import TIED_EXPERTS
from archcalc.hf.templates.decoder import decoder
from archcalc.hf.tensors import TensorEntry, module, modules
from archcalc.hf.vocabulary import LLAMA_OUTSIDE, activation, keys, layers, positive, rmsnorm, size

DEPTH = layers(28, "num_layers")
N_ZERO = Key("zero_expert_num", COUNT, 256, null=0)
DENSE = {
    "kind": "gated",
    "d_ff": size("ffn_hidden_size", 12288, aliases=("intermediate_size",)),
    "activation": activation("silu"),
}
ATTENTION, FFN = ("attn", "attn_2"), ("ffn", "ffn_2")


def two_pairs(kind: str, layer: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a layer of two attentions and two feed-forwards; its experts read with the first, and join the second."""
    norm = layer["norm"]
    first, second, dense, dense_2 = (
        {"name": name, "part": part}
        for name, part in zip((*ATTENTION, *FFN), (layer["attention"],) * 2 + (DENSE,) * 2, strict=True)
    )
    mixture = {"name": "moe", "part": layer["ffn"], "input_of": "ffn"}
    groups = (first,), (dense,), (second,), (dense_2, mixture)
    return {"branches": tuple({"norm_in": norm, "arms": arms} for arms in groups)}


def numbered(names: tuple[str, str], ours: str, theirs: str, pairs: Mapping[str, str]) -> tuple[TensorEntry, ...]:
    """Return the entries of the modules of two arms, which the class keeps in lists."""
    return tuple(
        entry
        for number, name in enumerate(names)
        for entry in modules(pairs, f"layers.{{i}}.{name}{ours}", f"model.layers.{{i}}.{theirs}.{number}")
    )


LATENT = {
    ".q_down": ".q_a_proj",
    ".q_down_norm": ".q_a_layernorm",
    ".q_up": ".q_b_proj",
    ".kv_down": ".kv_a_proj_with_mqa",
    ".kv_down_norm": ".kv_a_layernorm",
    ".kv_up": ".kv_b_proj",
    ".out": ".o_proj",
}
MATRICES = {".gate": ".gate_proj", ".up": ".up_proj", ".down": ".down_proj"}
MOE, EXPERTS = "model.layers.{i}.mlp", "layers.{i}.moe.experts"

LONGCAT_FLASH = decoder(
    "longcat_flash",
    "LongcatFlashForCausalLM",
    vocab=131072,
    n_ctx=131072,
    width=6144,
    depth=DEPTH,
    norm=rmsnorm(1e-5),
    theta=10_000_000.0,
    rope={"interleaved": True},
    base_attention={
        **latent(64, q_rank=1536, kv_rank=512, d_nope=128, d_rope=64, d_v=128),
        "q_rank": size("q_lora_rank", 1536),
        # The class rotates head_dim dimensions, so it must be the same.
        "d_rope": DuplicateKey(size("qk_rope_head_dim", 64), "head_dim"),
        "scale_latents": True,
    },
    base_ffn=experts(
        size("n_routed_experts", 512, aliases=("num_local_experts",)),
        size("moe_topk", 12, aliases=("num_experts_per_tok",)),
        size("expert_ffn_hidden_size", 2048, aliases=("moe_intermediate_size",)),
        correction="buffer",
        scale=positive("routed_scaling_factor", 6.0),
        n_zero=N_ZERO,
        # The class allocates the first matrices of experts without weights too.
        zero_stored=ImpliedValue(lambda config: N_ZERO.read(config) > 0),
    ),
    to_branches=two_pairs,
    tensors=(
        LLAMA_OUTSIDE,
        numbered(ATTENTION, "", "self_attn", LATENT),
        numbered(ATTENTION, "_norm", "input_layernorm", {"": ""}),
        numbered(FFN, "", "mlps", MATRICES),
        numbered(FFN, "_norm", "post_attention_layernorm", {"": ""}),
        TensorEntry(f"{MOE}.experts.gate_up_proj", (f"{EXPERTS}.gate.weight", f"{EXPERTS}.up.weight"), axis=1),
        TensorEntry(f"{MOE}.experts.down_proj", (f"{EXPERTS}.down.weight",)),
        module("layers.{i}.moe.router", f"{MOE}.router.classifier"),
        TensorEntry(f"{MOE}.router.e_score_correction_bias", ("layers.{i}.moe.correction_bias",)),
    ),
    # The class allocates a bias of the router that it never adds.
    constraints=(
        Constraint("router_bias", (False,)),
        Constraint("num_hidden_layers", (ImpliedValue(lambda config: 2 * DEPTH.read(config)),)),
        Constraint("zero_expert_type", ("identity",)),
        Constraint("attention_method", ("MLA",)),
        Constraint("mla_scale_q_lora", (True,)),
        Constraint("mla_scale_kv_lora", (True,)),
    ),
    irrelevant=keys("qk_head_dim output_router_logits"),
    spelling=TIED_EXPERTS,
)

FAMILIES = (LONGCAT_FLASH,)
