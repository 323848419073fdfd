"""A small LLaMA whose weights the tests quantize, ours by its config and a library's by its modules."""

from __future__ import annotations

from typing import Any

import archcalc
from archcalc.analysis.stored_weights import stored_weights
from archcalc.analysis.weight_bytes import stored_bytes
from archcalc.ledger.build import build

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 96,
    "max_position_embeddings": 64,
    "tie_word_embeddings": False,
    "dtype": "bfloat16",
}


def bytes_of(quantization: dict[str, Any] | None, key: str = "quantization_config", **changes: Any) -> int:
    """The bytes of the stored weights of a config with these quantization settings."""
    spec = archcalc.load(LLAMA | changes | ({} if quantization is None else {key: quantization}))
    return stored_bytes(stored_weights(spec, build(spec)))


def formats_of(quantization: dict[str, Any], key: str = "quantization_config", **changes: Any) -> dict[str, str]:
    """The format of each weight, by its canonical path; the paths of layers whose formats differ joined by '+'."""
    spec = archcalc.load(LLAMA | changes | {key: quantization})
    found: dict[str, list[str]] = {}
    for line in stored_weights(spec, build(spec)):
        found.setdefault(line.path, []).append(line.format)
    return {path: "+".join(names) for path, names in found.items()}
