"""NF4 and FP4 of bitsandbytes: blocks of the flattened matrix, with scales that may be quantized themselves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from archcalc.checkpoint.memory_map import FileMaps
from archcalc.checkpoint.quantized.matrix import MatrixParts, Sizes
from archcalc.checkpoint.quantized.stated import Parts, checked_shape, fault, is_size, json_of
from archcalc.checkpoint.quantized.unpacking import nibbles
from archcalc.formats.layouts import Shape, ceil
from archcalc.formats.packings import ELEMENTS
from archcalc.words import msg

_NESTED = ("scale_scale", "scale_levels")


def state(maps: FileMaps, parts: Parts) -> Mapping[str, Any]:
    """Return the shape of the weight, the sizes of the blocks, and the offset of quantized scales."""
    part = parts["state"]
    found = json_of(maps, part)
    nested = parts["scale"].dtype == "U8"
    sizes = ("blocksize", "nested_blocksize") if nested else ("blocksize",)
    for key in sizes:
        if not is_size(found.get(key)):
            raise fault(part, msg("{key} is {value}", key=key, value=str(found.get(key))[:60]), msg("a size"))
    if nested and (not isinstance(found.get("nested_offset"), float) or not math.isfinite(found["nested_offset"])):
        value = str(found.get("nested_offset"))[:60]
        raise fault(part, msg("{key} is {value}", key="nested_offset", value=value), msg("a number"))
    if nested and (missing := [role for role in _NESTED if role not in parts]):
        name = {"scale_scale": "nested_absmax", "scale_levels": "nested_quant_map"}[missing[0]]
        raise fault(parts["scale"], msg("is stored as U8 without {name}", name=name), "F32")
    return {"shape": checked_shape(part, found.get("shape")), "nested": nested} | {
        key: found[key] for key in (*sizes, *(["nested_offset"] if nested else []))
    }


def part_shapes(sizes: Sizes) -> Mapping[str, Shape]:
    """Return the shapes of the parts."""
    count = sizes.n_out * sizes.n_in
    blocks = ceil(count, sizes.facts["blocksize"])
    nested = {"scale_scale": (ceil(blocks, sizes.facts["nested_blocksize"]),)} if sizes.facts["nested"] else {}
    return {ELEMENTS: (ceil(count, 2),), "scale": (blocks,), "levels": (16,), "scale_levels": (256,)} | nested


def elements(matrix: MatrixParts, rows: slice) -> Tensor:
    """Return the levels of some rows: the first of two is in the high half of a byte."""
    n_in = matrix.sizes.n_in
    first, last = rows.start * n_in, rows.stop * n_in
    codes = nibbles(matrix[ELEMENTS][first // 2 : ceil(last, 2)], high_first=True)
    found: Tensor = matrix["levels"][codes[first % 2 : first % 2 + last - first].view(-1, n_in)]
    return found


def scales(matrix: MatrixParts) -> Tensor:
    """Return the scale of each block."""
    scale = matrix["scale"]
    if not matrix.sizes.facts["nested"]:
        return scale
    of_block = matrix["scale_scale"][torch.arange(len(scale)) // matrix.sizes.facts["nested_blocksize"]]
    found: Tensor = matrix["scale_levels"][scale.int()] * of_block + matrix.sizes.facts["nested_offset"]
    return found


def spread(matrix: MatrixParts, small: Tensor, rows: slice) -> Tensor:
    """Return the scales of some rows: [rows, C, 1] if rows are whole blocks, else of each element."""
    n_in, block = matrix.sizes.n_in, matrix.sizes.facts["blocksize"]
    if n_in % block == 0:
        return small.view(-1, n_in // block)[rows].unsqueeze(-1)
    places = torch.arange(rows.start * n_in, rows.stop * n_in) // block
    return small[places].view(-1, n_in)
