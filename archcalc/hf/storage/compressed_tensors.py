"""compressed-tensors (llm-compressor, vLLM): groups of targets, each with a scheme. Source: version 0.20."""

from __future__ import annotations

from typing import Any

from archcalc.errors import InputError, shown
from archcalc.formats.layouts import Grouped, Layout, PerTensor, RowBlocks, Tiled
from archcalc.formats.packings import PackingName
from archcalc.hf.config import FLAG, SIZE, WORDS, ValueType
from archcalc.hf.storage.modules import ROUTED, WITH_HEAD, kept
from archcalc.hf.storage.patterns import compressed
from archcalc.hf.storage.quantization import Quantization, UnreadSettingError, one_of
from archcalc.spec.storage import StoredFormat
from archcalc.words import msg

Scheme = tuple[str, Layout, PackingName]

_STRATEGIES = one_of("tensor", "channel", "group", "block", "tensor_group", None)
_BITS = ValueType(lambda value: type(value) is int and 1 <= value <= 16, "a number of bits from 1 to 16")


def read(settings: Quantization) -> list[StoredFormat]:
    """Return the formats of all groups, after the modules in `ignore`."""
    found = kept(settings, compressed(settings.words("ignore") or (), settings.where("ignore")))
    for _, group in settings.each("config_groups"):
        found += _group(group, str(group.data.get("format") or settings.data.get("format") or ""))
    return found


def _group(group: Quantization, packing: str) -> list[StoredFormat]:
    weights = group.within("weights")
    if weights is None:  # activations alone
        return []
    targets = group.get("targets", WORDS, ["Linear"])
    classes = [target for target in targets if target in ("Linear", "LinearBase", "Embedding")]
    if "Embedding" in classes:
        raise UnreadSettingError("targets", "Embedding")
    name, layout, tensors = _scheme(weights, group.within("input_activations"), packing)
    roles, pattern = (WITH_HEAD, None) if classes else (ROUTED, compressed(targets, group.where("targets")))
    return [StoredFormat(name=name, layout=layout, roles=roles, pattern=pattern, packing=tensors)]


def _scheme(weights: Quantization, inputs: Quantization | None, packing: str) -> Scheme:
    """Return the name, the layout and the packing of a group's weights."""
    bits = weights.get("num_bits", _BITS, 8)
    kind = weights.get("type", one_of("int", "float"), "int")
    strategy = weights.get("strategy", _STRATEGIES) or ("group" if weights.data.get("group_size") else "tensor")
    static = _input_bytes(inputs, weights.element_bytes)
    if kind == "float" and bits == 4:
        return _four_bit_float(weights, strategy, inputs)
    if packing == "pack-quantized" or (kind == "int" and bits < 8):
        return _packed(weights, bits, strategy, static)
    if bits != 8:
        raise UnreadSettingError("num_bits", bits)
    return f"{'fp8' if kind == 'float' else 'int8'}-{strategy}", _eight_bit(weights, strategy, static), "scaled"


def _input_bytes(inputs: Quantization | None, scale: int) -> int:
    """Return the bytes of the scale and zero point of inputs that are stored beside a matrix: only static ones are."""
    if inputs is None or inputs.data.get("dynamic") not in (False, None):
        return 0
    return scale + (0 if inputs.get("symmetric", FLAG, True) else 1)


def _eight_bit(weights: Quantization, strategy: str, static: int) -> Layout:
    wide = weights.element_bytes
    zero = 0 if weights.get("symmetric", FLAG, True) else 1
    match strategy:
        case "tensor":
            return PerTensor(1, wide + static + zero)
        case "channel":
            return Grouped(8, 0, wide, zero, matrix=static)
        case "group":
            return Grouped(8, weights.get("group_size", SIZE, 128), wide, zero, matrix=static)
        case "block" if not zero:
            rows, columns = _block(weights)
            return Tiled(1, rows, wide, columns, static)
    raise UnreadSettingError("strategy", strategy)


def _block(weights: Quantization) -> tuple[int, int]:
    stated: Any = weights.data.get("block_structure")
    sizes = stated.split("x") if isinstance(stated, str) else stated
    if not isinstance(sizes, list) or len(sizes) != 2 or not all(str(size).isdigit() and int(size) for size in sizes):
        raise InputError(
            msg("found {found}", found=shown(stated)), where=weights.where("block_structure"), allowed="[128, 128]"
        )
    return int(sizes[0]), int(sizes[1])


def _packed(weights: Quantization, bits: int, strategy: str, static: int) -> Scheme:
    """Return the layout of rows of 32-bit words, with a scale by group or row and the shape as two int64."""
    if strategy not in ("group", "channel") or bits > 8:
        raise UnreadSettingError("strategy", strategy)
    group = weights.get("group_size", SIZE, 128) if strategy == "group" else 0
    is_symmetric = weights.get("symmetric", FLAG, True)
    # Former versions stored the group of each input (weight_g_idx).
    index = 4 if weights.data.get("actorder") in ("group", True, "dynamic") else 0
    wide = weights.element_bytes
    layout = Grouped(bits, group, wide, word=4, matrix=2 * 8 + static, packed_zeros=not is_symmetric, index=index)
    return f"int{bits}" + (f"-g{group}" if group else "-channel"), layout, "packed"


def _four_bit_float(weights: Quantization, strategy: str, inputs: Quantization | None) -> Scheme:
    """Return NVFP4 (fp8 scales and a global one), or MXFP4 (scales that are powers of two)."""
    if strategy == "tensor_group":
        has_input = inputs is not None and inputs.data.get("dynamic") is not True
        return "nvfp4", Grouped(4, weights.get("group_size", SIZE, 16), 1, matrix=8 if has_input else 4), "nvfp4"
    if strategy == "group":
        block = weights.get("group_size", SIZE, 32)
        return "mxfp4", RowBlocks(block, block // 2, 1), "mxfp4"
    raise UnreadSettingError("strategy", strategy)
