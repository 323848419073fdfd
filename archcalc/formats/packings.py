"""Packings: the tensors as which safetensors files store a quantized matrix, by their names and element types.

In a name, `{w}` is the name that the weight has when it is not quantized, `{m}` the same without a last `.weight`.
How the values follow from the parts: `checkpoint/quantized/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

PackingName = Literal[
    "scaled", "scaled_inv", "fp4_scaled", "fp4_scaled_inv", "packed", "nvfp4", "nvfp4_modelopt", "mxfp4",
    "mxfp4_blocks", "gptq", "gptq_v2", "awq", "bnb_4bit", "bnb_int8", "mlx",
]  # fmt: skip


class PackedPart(msgspec.Struct, frozen=True):
    """One tensor of a packing: the names that it may have, and its element types as safetensors calls them."""

    names: tuple[str, ...]
    types: tuple[str, ...]
    is_optional: bool = False


# The part that every packing has; its name and type tell that a weight is packed.
ELEMENTS = "elements"
_FLOATS = ("F64", "F32", "F16", "BF16")
_FP8 = ("F8_E4M3", "F8_E5M2")
_INTEGERS = ("I8", "U8", "I32", "I64")


def _part(name: str, *types: str, is_optional: bool = False) -> PackedPart:
    return PackedPart((name,), types, is_optional)


_SCALE = _part("{w}_scale", *_FLOATS, "F8_E8M0", "U8")
_SCALE_INV = _part("{w}_scale_inv", *_FLOATS, "F8_E8M0", "U8")
_GPTQ = {
    ELEMENTS: _part("{m}.qweight", "I32"),
    "scale": _part("{m}.scales", *_FLOATS),
    "zero": _part("{m}.qzeros", "I32"),
    "index": _part("{m}.g_idx", "I32", "I64", is_optional=True),
}
_STATES = tuple(f"{{w}}.quant_state.bitsandbytes__{kind}" for kind in ("nf4", "fp4"))

PACKINGS: dict[PackingName, Mapping[str, PackedPart]] = {
    "scaled": {
        ELEMENTS: _part("{w}", *_FP8, "I8"),
        "scale": _SCALE,
        "zero": _part("{w}_zero_point", *_INTEGERS, *_FLOATS, *_FP8, is_optional=True),
    },
    "scaled_inv": {ELEMENTS: _part("{w}", *_FP8), "scale": _SCALE_INV},
    "fp4_scaled": {ELEMENTS: _part("{w}", "I8", "U8"), "scale": _SCALE},
    "fp4_scaled_inv": {ELEMENTS: _part("{w}", "I8", "U8"), "scale": _SCALE_INV},
    "packed": {
        ELEMENTS: _part("{w}_packed", "I32"),
        "scale": _SCALE,
        "zero": _part("{w}_zero_point", "I32", is_optional=True),
        "shape": _part("{w}_shape", "I64", "I32"),
        "index": _part("{w}_g_idx", "I32", "I64", is_optional=True),
    },
    "nvfp4": {
        ELEMENTS: _part("{w}_packed", "U8"),
        "scale": _part("{w}_scale", *_FLOATS, "F8_E4M3"),
        "divisor": _part("{w}_global_scale", *_FLOATS),
    },
    "nvfp4_modelopt": {
        ELEMENTS: _part("{w}", "U8"),
        "scale": _part("{w}_scale", *_FLOATS, "F8_E4M3"),
        "factor": _part("{w}_scale_2", *_FLOATS),
    },
    "mxfp4": {ELEMENTS: _part("{w}_packed", "U8"), "scale": _SCALE},
    "mxfp4_blocks": {ELEMENTS: _part("{w}_blocks", "U8"), "scale": _part("{w}_scales", "U8", "F8_E8M0")},
    "gptq": _GPTQ,
    "gptq_v2": _GPTQ,
    "awq": {name: _GPTQ[name] for name in (ELEMENTS, "scale", "zero")},
    "bnb_4bit": {
        ELEMENTS: _part("{w}", "U8"),
        "state": PackedPart(_STATES, ("U8",)),
        "scale": _part("{w}.absmax", "F32", "U8"),
        "levels": _part("{w}.quant_map", "F32"),
        "scale_scale": _part("{w}.nested_absmax", "F32", is_optional=True),
        "scale_levels": _part("{w}.nested_quant_map", "F32", is_optional=True),
    },
    "bnb_int8": {ELEMENTS: _part("{w}", "I8"), "scale": _part("{m}.SCB", "F32")},
    "mlx": {
        ELEMENTS: _part("{w}", "U32"),
        "scale": _part("{m}.scales", *_FLOATS),
        "shift": _part("{m}.biases", *_FLOATS),
    },
}

# What files of quantized models have besides: patterns of names, each with the reason why no weight needs it.
BESIDE: dict[str, str] = {
    r".*[._](?:input|output|activation)_(?:scale|zero_point|global_scale)": "scales of activations",
    r".*\.[qkv](?:_cache)?_(?:scale|zero_point)": "scales of a cache",
    r".*\.weight_format": "the order of the elements, which is that of rows",
}
