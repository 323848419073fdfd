"""Settings of compressed-tensors: by name, the format, the groups of targets, and what is left out."""

from __future__ import annotations

from typing import Any


def weights(**changes: Any) -> dict[str, Any]:
    return {"num_bits": 8, "type": "float", "strategy": "channel", "symmetric": True, "dynamic": False} | changes


def group(weights: dict[str, Any], inputs: dict[str, Any] | None = None, *targets: str, **more: Any) -> dict[str, Any]:
    found = {"targets": list(targets or ["Linear"]), "weights": weights} | more
    return found | ({"input_activations": inputs} if inputs else {})


INT4 = weights(num_bits=4, type="int", strategy="group", group_size=64)
NVFP4 = weights(num_bits=4, strategy="tensor_group", group_size=16)
PER_TOKEN = weights(strategy="token", dynamic=True)
COMPRESSED: dict[str, tuple[str, list[dict[str, Any]], list[str]]] = {
    "fp8 dynamic": ("float-quantized", [group(weights(), PER_TOKEN)], ["lm_head"]),
    "fp8 static": ("float-quantized", [group(weights(strategy="tensor"), weights(strategy="tensor"))], ["lm_head"]),
    "fp8 block": ("float-quantized", [group(weights(strategy="block", block_structure=[128, 64]))], ["lm_head"]),
    "int8": ("int-quantized", [group(weights(type="int"), PER_TOKEN)], ["re:.*mlp.down_proj", "lm_head"]),
    "int8 asymmetric": (
        "int-quantized",
        [group(weights(type="int", symmetric=False), weights(type="int", strategy="tensor", symmetric=False))],
        ["lm_head"],
    ),
    "int4": ("pack-quantized", [group(INT4)], ["lm_head"]),
    "int4 asymmetric": ("pack-quantized", [group(INT4 | {"symmetric": False})], ["lm_head"]),
    "int4 by row, the head too": ("pack-quantized", [group(INT4 | {"strategy": "channel", "group_size": None})], []),
    "nvfp4": ("nvfp4-pack-quantized", [group(NVFP4, NVFP4 | {"dynamic": "local"})], ["lm_head"]),
    "nvfp4 of weights alone": ("nvfp4-pack-quantized", [group(NVFP4)], ["lm_head", "re:.*self_attn.*"]),
    "mxfp4": ("mxfp4-pack-quantized", [group(weights(num_bits=4, strategy="group", group_size=32))], ["lm_head"]),
    "mixed": (
        "mixed-precision",
        [
            group(weights(), PER_TOKEN, r"re:.*self_attn\..*", format="float-quantized"),
            group(INT4, None, r"re:.*mlp\..*", format="pack-quantized"),
        ],
        ["lm_head"],
    ),
}
