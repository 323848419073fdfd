"""Granite with experts."""

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from archcalc.formats.gguf_file import Header
from archcalc.hf.config import COUNT
from archcalc.hf.families.granite_like import GGUF_MULTIPLIERS, MULTIPLIERS, OWN_THETAS, SINKS
from archcalc.hf.families.moe_like import (
    DOWN,
    GATE,
    UP,
    experts,
)
from archcalc.hf.family import derive
from archcalc.hf.gguf_map import HEAD_DIM, PERMUTED, SIZES, GgufMap, stored
from archcalc.hf.lens import ImpliedValue, Key, NullCases
from archcalc.hf.spellings import TIED
from archcalc.hf.templates.decoder import decoder
from archcalc.hf.tensors import TensorEntry, fused_modules, module
from archcalc.hf.vocabulary import (
    LLAMA_ATTENTION,
    LLAMA_NORMS,
    LLAMA_OUTSIDE,
    size,
)


def granite_experts(**shared: Any) -> dict[str, Any]:
    """Return Granite's mixture, and the experts that all tokens take."""
    return experts(
        size("num_local_experts", 8),
        size("num_experts_per_tok", 2),
        size("intermediate_size", 11008),
        choose="logits",
        weigh="softmax",
        **shared,
    )


GRANITE_SHARED = Key("shared_intermediate_size", COUNT, 0)
SHARED_IF_WIDE = {
    "n_shared": ImpliedValue(lambda config: int(GRANITE_SHARED.read(config) > 0)),
    "d_shared": NullCases(GRANITE_SHARED, None, GRANITE_SHARED, empty=0),
}
GRANITE_EXPERTS = "model.layers.{i}.block_sparse_moe"
GRANITE_TENSORS = (
    LLAMA_OUTSIDE,
    LLAMA_ATTENTION,
    LLAMA_NORMS,
    module("layers.{i}.ffn.router", f"{GRANITE_EXPERTS}.router"),
    TensorEntry(f"{GRANITE_EXPERTS}.experts.gate_up_proj", (f"{GATE}.weight", f"{UP}.weight"), 1),
    TensorEntry(f"{GRANITE_EXPERTS}.experts.down_proj", (f"{DOWN}.weight",)),
)
GRANITE_SHARED_TENSORS = (
    fused_modules(
        ("layers.{i}.ffn.shared.gate", "layers.{i}.ffn.shared.up"), "model.layers.{i}.shared_mlp.input_linear"
    ),
    module("layers.{i}.ffn.shared.down", "model.layers.{i}.shared_mlp.output_linear"),
)
GRANITE_MOE_GGUF = {
    **SIZES,
    **GGUF_MULTIPLIERS,
    "expert_count": "num_local_experts",
    "expert_used_count": "num_experts_per_tok",
    "expert_shared_feed_forward_length": "shared_intermediate_size",
}


def granite_moe_gguf(header: Header, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return which biases are stored; with a shared expert it is the type that has one."""
    flags = stored(attention_bias="attn_q.bias")(header, {})
    return flags | ({"model_type": "granitemoeshared"} if "shared_intermediate_size" in config else {})


GRANITE_MOE = decoder(
    "granitemoe",
    "GraniteMoeForCausalLM",
    base_ffn=granite_experts(),
    tensors=GRANITE_TENSORS,
    spelling=replace(
        TIED,
        renames={
            r"\.block_sparse_moe\.input_linear\.weight$": ".block_sparse_moe.experts.gate_up_proj",
            r"\.block_sparse_moe\.output_linear\.weight$": ".block_sparse_moe.experts.down_proj",
            r"\.block_sparse_moe\.router\.layer\.": ".block_sparse_moe.router.",
        },
    ),
    gguf=GgufMap("granitemoe", GRANITE_MOE_GGUF | HEAD_DIM, PERMUTED, config_keys=granite_moe_gguf),
    **MULTIPLIERS,
)
GRANITE_MOE_SHARED = derive(
    GRANITE_MOE,
    "granitemoeshared",
    "GraniteMoeSharedForCausalLM",
    base_ffn=granite_experts(**SHARED_IF_WIDE),
    tensors=(*GRANITE_TENSORS, *GRANITE_SHARED_TENSORS),
)
GRANITE_MOE_SWA = derive(
    GRANITE_MOE_SHARED,
    "granitemoe_swa",
    "GraniteMoeSWAForCausalLM",
    tensors=(*GRANITE_TENSORS, *GRANITE_SHARED_TENSORS, SINKS),
    **OWN_THETAS,
)

FAMILIES = (GRANITE_MOE, GRANITE_MOE_SHARED, GRANITE_MOE_SWA)
