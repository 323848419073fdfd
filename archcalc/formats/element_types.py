"""Element types: the only table of their widths and of their names in PyTorch and safetensors.

>>> ELEMENT_TYPES["bf16"]
ElementType(bits=16, torch='bfloat16', safetensors='BF16')
"""

from __future__ import annotations

from typing import Literal, NamedTuple

ElementName = Literal[
    "fp64", "fp32", "fp16", "bf16", "fp8", "fp8-e5m2", "fp8-e8m0", "complex64",
    "int64", "int32", "int16", "int8", "int4", "uint64", "uint32", "uint16", "uint8", "bool",
]  # fmt: skip


class ElementType(NamedTuple):
    """`torch` is the name of the PyTorch dtype; `safetensors` is the name in a file's header, "" for none."""

    bits: int
    torch: str
    safetensors: str


ELEMENT_TYPES: dict[ElementName, ElementType] = {
    "fp64": ElementType(64, "float64", "F64"),
    "fp32": ElementType(32, "float32", "F32"),
    "fp16": ElementType(16, "float16", "F16"),
    "bf16": ElementType(16, "bfloat16", "BF16"),
    "fp8": ElementType(8, "float8_e4m3fn", "F8_E4M3"),
    "fp8-e5m2": ElementType(8, "float8_e5m2", "F8_E5M2"),
    "fp8-e8m0": ElementType(8, "float8_e8m0fnu", "F8_E8M0"),
    "complex64": ElementType(64, "complex64", "C64"),
    "int64": ElementType(64, "int64", "I64"),
    "int32": ElementType(32, "int32", "I32"),
    "int16": ElementType(16, "int16", "I16"),
    "int8": ElementType(8, "int8", "I8"),
    "int4": ElementType(4, "uint8", ""),  # two to a byte
    "uint64": ElementType(64, "uint64", "U64"),
    "uint32": ElementType(32, "uint32", "U32"),
    "uint16": ElementType(16, "uint16", "U16"),
    "uint8": ElementType(8, "uint8", "U8"),
    "bool": ElementType(8, "bool", "BOOL"),
}


def element_bytes(name: ElementName) -> int:
    """Return the bytes of one element, for types of whole bytes."""
    assert name != "int4", "an int4 is half a byte"
    return ELEMENT_TYPES[name].bits // 8
