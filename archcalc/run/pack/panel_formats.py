"""Storage formats of a matrix's panels: float32, int8, int4.

Axes: M rows of inputs, I inputs, O outputs, C panels, P outputs of a panel, G groups of the inputs.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Self

import torch
from torch import Tensor

from archcalc.run.pack.panels import Panels, bags, rows_from_panels, split_panels

# Weights of 8 bits or fewer lose little in bfloat16 products, which are fast on CPUs with instructions for them.
_PRODUCT_DTYPE = torch.bfloat16 if torch.cpu.get_capabilities().get("avx512_bf16") else torch.float32
_SUM = 0  # the mode of an embedding bag
# Outputs that are quantized at a time, a multiple of every width, so that temporary copies stay small.
_CHUNK_OUTPUTS = 4096


class Float32Panels(Panels):
    """Panels [C, I, P] as they are."""

    format, width = "fp32", 32

    @classmethod
    def pack(cls, weight_OI: Tensor) -> Self:
        """Pack the matrix [O, I]."""
        return cls((split_panels(weight_OI, cls.width).contiguous(),), *weight_OI.shape)

    @classmethod
    def pack_in_place(cls, weight_OI: Tensor) -> Self:
        """Pack in the matrix's own memory, if it is contiguous float32 in whole panels: each panel keeps its place."""
        n_out, n_in = weight_OI.shape
        if n_out % cls.width or weight_OI.dtype != torch.float32 or not weight_OI.is_contiguous():
            return cls.pack(weight_OI)
        panels_CPI = weight_OI.detach().view(-1, cls.width, n_in)
        for chunk_cPI in torch.split(panels_CPI, _CHUNK_OUTPUTS // cls.width):
            chunk_cPI.view(-1).copy_(chunk_cPI.transpose(1, 2).flatten())
        return cls((panels_CPI.view(-1, n_in, cls.width),), n_out, n_in)

    def product_few(self, x_MI: Tensor) -> Tensor:
        """Run an embedding bag for each panel and row."""
        n_rows, n_in = x_MI.shape
        indices, offsets = bags(self.n_panels, n_rows, n_in)
        inputs = x_MI.float().expand(self.n_panels, n_rows, n_in).reshape(-1).contiguous()
        columns = self.tensors[0].view(-1, self.width)
        y_CMP = torch.embedding_bag(columns, indices, offsets, False, _SUM, False, inputs)[0]
        return rows_from_panels(y_CMP.view(self.n_panels, n_rows, self.width))

    def unpack(self, tensors: tuple[Tensor, ...]) -> Tensor:
        """Return the panels themselves."""
        return tensors[0]

    def slice_panels(self, start: int, stop: int) -> tuple[Tensor, ...]:
        """Return a slice of the panels."""
        return (self.tensors[0][start:stop],)

    def rows(self, outputs: Tensor) -> Tensor:
        """Gather rows."""
        rows: Tensor = self.tensors[0][outputs // self.width, :, outputs % self.width]
        return rows


class Int8Panels(Panels):
    """q · scale + low with q of 0 … 255: a scale and a low for the P weights of each panel's column.

    The layout is that of PyTorch's quantized embedding bag, [C, I, P + 8]: P bytes, then scale and low as float32.
    """

    format, width, product_dtype = "int8", 64, _PRODUCT_DTYPE

    @classmethod
    def pack(cls, weight_OI: Tensor) -> Self:
        """Pack the matrix [O, I], every weight within half a scale."""
        chunks = [cls._pack_chunk(chunk_OI) for chunk_OI in torch.split(weight_OI, _CHUNK_OUTPUTS)]
        return cls((torch.cat(chunks),), *weight_OI.shape)

    @classmethod
    def _pack_chunk(cls, weight_OI: Tensor) -> Tensor:
        panels = split_panels(weight_OI, cls.width)
        data = torch.empty(*panels.shape[:2], cls.width + 8, dtype=torch.uint8)
        low, high = panels.amin(-1, keepdim=True), panels.amax(-1, keepdim=True)
        scale = (high - low) / 255
        integers = ((panels - low) / torch.where(scale > 0, scale, 1)).round_().clamp_(0, 255)
        data[..., : cls.width] = integers
        data[..., cls.width :] = torch.cat((scale, low), -1).view(torch.uint8)
        return data

    def product_few(self, x_MI: Tensor) -> Tensor:
        """Run a quantized embedding bag for each panel and row; inputs stay in float32."""
        n_rows, n_in = x_MI.shape
        indices, offsets = bags(self.n_panels, n_rows, n_in)
        inputs = x_MI.float().expand(self.n_panels, n_rows, n_in).reshape(-1).contiguous()
        columns = self.tensors[0].view(-1, self.width + 8)
        y_CMP = torch.ops.quantized.embedding_bag_byte_rowwise_offsets(
            columns, indices, offsets, False, _SUM, False, inputs
        )
        return rows_from_panels(y_CMP.view(self.n_panels, n_rows, self.width))

    def unpack(self, tensors: tuple[Tensor, ...]) -> Tensor:
        """Return q · scale + low."""
        (data,) = tensors
        scale, low = _scale_low(data[..., self.width :])
        return torch.addcmul(low, data[..., : self.width].float(), scale)

    def slice_panels(self, start: int, stop: int) -> tuple[Tensor, ...]:
        """Return a slice of the panels."""
        return (self.tensors[0][start:stop],)

    def rows(self, outputs: Tensor) -> Tensor:
        """Gather bytes, scales and lows."""
        panels = outputs // self.width
        scale, low = _scale_low(self.tensors[0][panels, :, self.width :])
        integers = self.tensors[0][panels, :, outputs % self.width]
        return torch.addcmul(low.squeeze(-1), integers.float(), scale.squeeze(-1))


class Int4Panels(Panels):
    """(q − 8) · scale + middle with q of 0 … 15: scale and middle in bfloat16 for each output's group of inputs.

    The layout is that of PyTorch's int4 kernel: nibbles [O, I / 2] in panels, scales and middles [G, O, 2]. It reads
    inputs in bfloat16.
    """

    format, width, group, product_dtype = "int4", 64, 32, _PRODUCT_DTYPE

    @classmethod
    def pack(cls, weight_OI: Tensor) -> Self:
        """Pack the matrix [O, I], every weight within half a scale; I is a multiple of the group."""
        packed, scales = zip(
            *(cls._pack_chunk(chunk_OI) for chunk_OI in torch.split(weight_OI, _CHUNK_OUTPUTS)), strict=True
        )
        return cls((torch.cat(packed), torch.cat(scales, 1)), *weight_OI.shape)

    @classmethod
    def _pack_chunk(cls, weight_OI: Tensor) -> tuple[Tensor, Tensor]:
        padded = split_panels(weight_OI, cls.width).transpose(1, 2).reshape(-1, weight_OI.shape[1])
        groups = padded.view(len(padded), -1, cls.group)
        scale, middle = _affine(groups)
        integers = ((groups - middle.float()) / scale.float()).round_().add_(8).clamp_(0, 15)
        packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(integers.view_as(padded).int(), 1)
        return packed, torch.cat((scale, middle), -1).transpose(0, 1)

    def product_few(self, x_MI: Tensor) -> Tensor:
        """Run PyTorch's int4 product, in bfloat16."""
        packed, scales = self.tensors
        return torch._weight_int4pack_mm_for_cpu(x_MI.bfloat16(), packed, self.group, scales.contiguous())

    def unpack(self, tensors: tuple[Tensor, ...]) -> Tensor:
        """Return (q − 8) · scale + middle."""
        packed, scales = tensors
        bytes_CIp = packed.view(-1, self.n_in, self.width // 2)
        integers_CIP = torch.empty(len(bytes_CIp), self.n_in, self.width)
        integers_CIP[..., : self.width // 2] = bytes_CIp & 15
        integers_CIP[..., self.width // 2 :] = bytes_CIp >> 4
        if not _is_in_output_order():
            integers_CIP = integers_CIP[..., _nibble_order()]
        scales_CGP2 = torch.unflatten(scales.float(), 1, (-1, self.width)).transpose(0, 1)
        scale_CG1P, middle_CG1P = (x.contiguous() for x in scales_CGP2.unsqueeze(2).unbind(-1))
        groups = integers_CIP.view(len(integers_CIP), -1, self.group, self.width)
        return groups.mul_(scale_CG1P).add_(middle_CG1P - 8 * scale_CG1P).flatten(1, 2)

    def slice_panels(self, start: int, stop: int) -> tuple[Tensor, ...]:
        """Return a slice of the panels. Scales are not laid out by panel, so the kernel reads a copy of theirs."""
        packed, scales = self.tensors
        outputs = slice(start * self.width, stop * self.width)
        return packed[outputs], scales[:, outputs]


def _scale_low(data: Tensor) -> tuple[Tensor, Tensor]:
    """Return scale and low [..., 1] from the eight bytes that follow a column's."""
    scale, low = torch.split(data.contiguous().view(torch.float32), 1, -1)
    return scale, low


def _affine(groups: Tensor) -> tuple[Tensor, Tensor]:
    """Return scale and middle [..., 1] in bfloat16; the scale is rounded up so that −8 … 7 cover the group."""
    low, high = groups.amin(-1, keepdim=True), groups.amax(-1, keepdim=True)
    middle = (low + (high - low) * (8 / 15)).bfloat16()
    needed = torch.maximum((high - middle.float()) / 7, (middle.float() - low) / 8)
    scale = needed.bfloat16()
    next_scale = torch.nextafter(scale, torch.full_like(scale, torch.inf))
    return torch.where(scale.float() < needed, next_scale, scale).clamp(min=torch.finfo(torch.bfloat16).tiny), middle


@lru_cache(maxsize=1)
def _nibble_order() -> Tensor:
    """Return the index of each output of a panel among the low, then the high nibbles of a byte row.

    The order depends on the machine's widest vectors, so outputs numbered in base 16 are packed to find it.
    """
    outputs = torch.arange(Int4Panels.width, dtype=torch.int32)

    def nibbles(digits: Tensor) -> Tensor:
        data = torch.ops.aten._convert_weight_to_int4pack_for_cpu(digits.unsqueeze(1).repeat(1, Int4Panels.group), 1)
        row = data.view(Int4Panels.group, -1)[0]
        return torch.cat((row & 15, row >> 4)).long()

    with torch.inference_mode(False):
        return (nibbles(outputs % 16) + 16 * nibbles(outputs // 16)).argsort()


@lru_cache(maxsize=1)
def _is_in_output_order() -> bool:
    """Return whether nibbles are in the order of outputs, as with vectors of 512 bits."""
    return torch.equal(_nibble_order(), torch.arange(Int4Panels.width))


# Formats of matrices, and of tables, which are also read by row, for each quantization; the first that fits is used.
MATRICES: dict[str | None, tuple[type[Panels], ...]] = {
    None: (Float32Panels,),
    "int8": (Int8Panels,),
    "int4": (Int4Panels, Int8Panels),
}
TABLES: dict[str | None, tuple[type[Panels], ...]] = {
    None: (Float32Panels,),
    "int8": (Int8Panels,),
    "int4": (Int8Panels,),
}


def pack_matrix(formats: tuple[type[Panels], ...], weight_OI: Tensor) -> Panels:
    """Pack a matrix, overwriting it, in the first of these formats that its number of inputs fits."""
    panel_format = next(panel_format for panel_format in formats if weight_OI.shape[1] % panel_format.group == 0)
    return panel_format.pack_in_place(weight_OI)
