"""Methods of 8 bits: fp8 of transformers, FBGEMM, EETQ, quanto and torchao (also their 4 bits).

Sources: transformers 5.23 integrations/finegrained_fp8.py, fbgemm_fp8.py and eetq.py; torchao 0.18; quanto 0.2.
"""

from __future__ import annotations

from archcalc.formats.layouts import Grouped, Layout, PerRow, PerTensor, Tiled
from archcalc.hf.config import FLAG, ValueType
from archcalc.hf.storage.modules import linears
from archcalc.hf.storage.quantization import Quantization, UnreadSettingError, one_of
from archcalc.spec.storage import StoredFormat

_TILE = ValueType(
    lambda value: (
        value is None
        or (isinstance(value, list) and len(value) == 2 and all(type(size) is int and size > 0 for size in value))
    ),
    "two sizes of a block, or null",
)


def fp8(settings: Quantization) -> list[StoredFormat]:
    """Return the formats of FP8Linear: a scale for each tile, or one for each matrix."""
    tile = settings.get("weight_block_size", _TILE, [128, 128])
    scale = 1 if settings.get("scale_fmt", one_of("float", "ue8m0"), "float") == "ue8m0" else 4
    is_static = settings.get("activation_scheme", one_of("dynamic", "static"), "dynamic") == "static"
    activation = 4 if is_static else 0
    rows, columns = tile or (0, 0)
    layout: Layout = Tiled(1, rows, scale, columns, activation) if tile else PerTensor(1, 4 + activation)
    found = linears(settings, "fp8-block" if tile else "fp8", layout, packing="scaled_inv")
    if settings.get("expert_dtype", one_of("fp8", "fp4"), "fp8") == "fp4":
        experts = StoredFormat(name="fp4", layout=Grouped(4, 32, scale), roles=("experts",), packing="fp4_scaled_inv")
        return [*found[:-1], experts, found[-1]]
    return found


def fbgemm(settings: Quantization) -> list[StoredFormat]:
    """Return the format of FbgemmFp8Linear: an fp32 scale for each row."""
    return linears(settings, "fp8-row", PerRow(1, 4), packing="scaled")


def eetq(settings: Quantization) -> list[StoredFormat]:
    """Return the format of EetqLinear: int8, an fp16 scale for each row."""
    return linears(settings, "int8", PerRow(1, 2))


_QUANTO = {"int8": "int8", "float8": "fp8", "int4": "int4", "int2": "int2"}
_QUANTO_GROUP = 128


def quanto(settings: Quantization) -> list[StoredFormat]:
    """Return the format of quanto's QLinear: scales by row, or scales and shifts by groups below 8 bits."""
    kind = settings.get("weights", one_of(*_QUANTO), "int8")
    wide = settings.element_bytes
    scales = 2 * wide  # of inputs and outputs
    bits, group, shift = (int(kind[-1]), _QUANTO_GROUP, wide) if kind in ("int4", "int2") else (8, 0, 0)
    layout = Grouped(bits, group, wide, shift, matrix=scales)
    return linears(settings, f"quanto-{_QUANTO[kind]}", layout)


def torchao(settings: Quantization) -> list[StoredFormat]:
    """Return the format of a torchao configuration: of weights alone, or of weights beside dynamic activations."""
    kind, data = _torchao_type(settings)
    if settings.get("include_input_output_embeddings", FLAG, False):
        raise UnreadSettingError("include_input_output_embeddings", True)
    return linears(settings, f"torchao-{_TORCHAO_NAMES[kind]}", _torchao_layout(kind, data))


_TORCHAO_NAMES = {
    "Int8WeightOnlyConfig": "int8",
    "Int8DynamicActivationInt8WeightConfig": "int8",
    "Float8WeightOnlyConfig": "fp8-row",
    "Float8DynamicActivationFloat8WeightConfig": "fp8",
    "Int4WeightOnlyConfig": "int4",
}


def _torchao_type(settings: Quantization) -> tuple[str, Quantization]:
    stated = settings.data.get("quant_type")
    default = stated.get("default") if isinstance(stated, dict) else None
    kind = default.get("_type") if isinstance(default, dict) else stated
    if not isinstance(kind, str) or kind not in _TORCHAO_NAMES:
        raise UnreadSettingError("quant_type", kind)
    empty = Quantization({}, settings.where("quant_type"), settings.dtype)
    named = dict(settings.each("quant_type")).get("default", empty) if isinstance(stated, dict) else empty
    return kind, named.within("_data") or empty


def _torchao_layout(kind: str, data: Quantization) -> Layout:
    if kind == "Int4WeightOnlyConfig":
        return Grouped(4, data.group(128), 2, 2)
    if kind == "Float8DynamicActivationFloat8WeightConfig":
        return PerRow(1, 4) if "PerRow" in str(data.data.get("granularity")) else PerTensor(1, 4)
    return PerRow(1, 4) if kind == "Float8WeightOnlyConfig" else PerRow(1, 4, 1)
