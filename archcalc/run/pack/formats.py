"""The ways to store a matrix's panels: float32, int8, int4.

Axes: M rows of inputs, I inputs, O outputs, C panels, P outputs of a panel, G groups of the inputs.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Self

import torch
from torch import Tensor

from archcalc.run.pack.panels import Panels, bags, cut, laid_out

# What is rounded to 8 bits or fewer loses little by wide products in bfloat16, where the CPU has instructions for them.
_ROUNDED = torch.bfloat16 if torch.cpu.get_capabilities().get("avx512_bf16") else torch.float32
_SUM = 0  # the mode of an embedding bag
_PIECE = 4096  # outputs that are rounded at a time: a multiple of every width, so that little is held beside the matrix


class Float32(Panels):
    """As they are: [C, I, P]."""

    stored, width = "fp32", 32

    @classmethod
    def of(cls, weight_OI: Tensor) -> Self:
        """The matrix [O, I], packed."""
        return cls((cut(weight_OI, cls.width).contiguous(),), *weight_OI.shape)

    @classmethod
    def taking(cls, weight_OI: Tensor) -> Self:
        """In the matrix's own memory, where that is whole panels of float32: a panel's rows lie where it will lie."""
        n_out, n_in = weight_OI.shape
        if n_out % cls.width or weight_OI.dtype != torch.float32 or not weight_OI.is_contiguous():
            return cls.of(weight_OI)
        panels_CPI = weight_OI.detach().view(-1, cls.width, n_in)
        for piece_cPI in torch.split(panels_CPI, _PIECE // cls.width):
            piece_cPI.view(-1).copy_(piece_cPI.transpose(1, 2).flatten())
        return cls((panels_CPI.view(-1, n_in, cls.width),), n_out, n_in)

    def few(self, x_MI: Tensor) -> Tensor:
        """An embedding bag for each panel and row."""
        n_rows, n_in = x_MI.shape
        indices, offsets = bags(self.n_panels, n_rows, n_in)
        inputs = x_MI.float().expand(self.n_panels, n_rows, n_in).reshape(-1).contiguous()
        columns = self.tensors[0].view(-1, self.width)
        y_CMP = torch.embedding_bag(columns, indices, offsets, False, _SUM, False, inputs)[0]
        return laid_out(y_CMP.view(self.n_panels, n_rows, self.width))

    def opened(self, tensors: tuple[Tensor, ...]) -> Tensor:
        """The panels themselves."""
        return tensors[0]

    def between(self, start: int, stop: int) -> tuple[Tensor, ...]:
        """Some of the panels."""
        return (self.tensors[0][start:stop],)

    def rows(self, outputs: Tensor) -> Tensor:
        """A gather."""
        found: Tensor = self.tensors[0][outputs // self.width, :, outputs % self.width]
        return found


class Int8(Panels):
    """q · scale + low with q of 0 … 255: a scale and a low for the P weights of each panel's column.

    Held as PyTorch's quantised embedding bag wants it: P bytes, then scale and low as float32: [C, I, P + 8].
    """

    stored, width, wide = "int8", 64, _ROUNDED

    @classmethod
    def of(cls, weight_OI: Tensor) -> Self:
        """The matrix [O, I], every weight within half a scale."""
        pieces = [cls._bytes(piece_OI) for piece_OI in torch.split(weight_OI, _PIECE)]
        return cls((torch.cat(pieces),), *weight_OI.shape)

    @classmethod
    def _bytes(cls, weight_OI: Tensor) -> Tensor:
        panels = cut(weight_OI, cls.width)
        held = torch.empty(*panels.shape[:2], cls.width + 8, dtype=torch.uint8)
        low, high = panels.amin(-1, keepdim=True), panels.amax(-1, keepdim=True)
        scale = (high - low) / 255
        whole = ((panels - low) / torch.where(scale > 0, scale, 1)).round_().clamp_(0, 255)
        held[..., : cls.width] = whole
        held[..., cls.width :] = torch.cat((scale, low), -1).view(torch.uint8)
        return held

    def few(self, x_MI: Tensor) -> Tensor:
        """A quantised embedding bag for each panel and row; the inputs stay in float32."""
        n_rows, n_in = x_MI.shape
        indices, offsets = bags(self.n_panels, n_rows, n_in)
        inputs = x_MI.float().expand(self.n_panels, n_rows, n_in).reshape(-1).contiguous()
        columns = self.tensors[0].view(-1, self.width + 8)
        y_CMP = torch.ops.quantized.embedding_bag_byte_rowwise_offsets(
            columns, indices, offsets, False, _SUM, False, inputs
        )
        return laid_out(y_CMP.view(self.n_panels, n_rows, self.width))

    def opened(self, tensors: tuple[Tensor, ...]) -> Tensor:
        """q · scale + low."""
        (held,) = tensors
        scale, low = _shared(held[..., self.width :])
        return torch.addcmul(low, held[..., : self.width].float(), scale)

    def between(self, start: int, stop: int) -> tuple[Tensor, ...]:
        """Some of the panels."""
        return (self.tensors[0][start:stop],)

    def rows(self, outputs: Tensor) -> Tensor:
        """A gather of the bytes, and of what they share."""
        panels = outputs // self.width
        scale, low = _shared(self.tensors[0][panels, :, self.width :])
        whole = self.tensors[0][panels, :, outputs % self.width]
        return torch.addcmul(low.squeeze(-1), whole.float(), scale.squeeze(-1))


class Int4(Panels):
    """(q − 8) · scale + middle with q of 0 … 15: scale and middle in bfloat16 for each output's group of inputs.

    Held as PyTorch's int4 kernel wants it: nibbles [O, I / 2] in panels, [G, O, 2] of scales and middles. It reads its
    inputs in bfloat16.
    """

    stored, width, group, wide = "int4", 64, 32, _ROUNDED

    @classmethod
    def of(cls, weight_OI: Tensor) -> Self:
        """The matrix [O, I], every weight within half a scale; I is a multiple of the group."""
        packed, shared = zip(*(cls._nibbles(piece_OI) for piece_OI in torch.split(weight_OI, _PIECE)), strict=True)
        return cls((torch.cat(packed), torch.cat(shared, 1)), *weight_OI.shape)

    @classmethod
    def _nibbles(cls, weight_OI: Tensor) -> tuple[Tensor, Tensor]:
        filled = cut(weight_OI, cls.width).transpose(1, 2).reshape(-1, weight_OI.shape[1])
        groups = filled.view(len(filled), -1, cls.group)
        scale, middle = _affine(groups)
        whole = ((groups - middle.float()) / scale.float()).round_().add_(8).clamp_(0, 15)
        packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(whole.view_as(filled).int(), 1)
        return packed, torch.cat((scale, middle), -1).transpose(0, 1)

    def few(self, x_MI: Tensor) -> Tensor:
        """PyTorch's product with nibbles, in bfloat16."""
        packed, shared = self.tensors
        return torch._weight_int4pack_mm_for_cpu(x_MI.bfloat16(), packed, self.group, shared.contiguous())

    def opened(self, tensors: tuple[Tensor, ...]) -> Tensor:
        """(q − 8) · scale + middle."""
        packed, shared = tensors
        bytes_CIp = packed.view(-1, self.n_in, self.width // 2)
        whole_CIP = torch.empty(len(bytes_CIp), self.n_in, self.width)
        whole_CIP[..., : self.width // 2] = bytes_CIp & 15
        whole_CIP[..., self.width // 2 :] = bytes_CIp >> 4
        if not _in_order():
            whole_CIP = whole_CIP[..., _places()]
        shared_CGP2 = torch.unflatten(shared.float(), 1, (-1, self.width)).transpose(0, 1)
        scale_CG1P, middle_CG1P = (x.contiguous() for x in shared_CGP2.unsqueeze(2).unbind(-1))
        groups = whole_CIP.view(len(whole_CIP), -1, self.group, self.width)
        return groups.mul_(scale_CG1P).add_(middle_CG1P - 8 * scale_CG1P).flatten(1, 2)

    def between(self, start: int, stop: int) -> tuple[Tensor, ...]:
        """Some of the panels; what they share does not lie by panel, so the kernel will read a copy of it."""
        packed, shared = self.tensors
        outputs = slice(start * self.width, stop * self.width)
        return packed[outputs], shared[:, outputs]


def _shared(held: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and low [..., 1] of the eight bytes that follow a column's."""
    scale, low = torch.split(held.contiguous().view(torch.float32), 1, -1)
    return scale, low


def _affine(groups: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and middle [..., 1] in bfloat16 by which −8 … 7 reach all of a group: the scale is rounded up."""
    low, high = groups.amin(-1, keepdim=True), groups.amax(-1, keepdim=True)
    middle = (low + (high - low) * (8 / 15)).bfloat16()
    needed = torch.maximum((high - middle.float()) / 7, (middle.float() - low) / 8)
    scale = needed.bfloat16()
    above = torch.nextafter(scale, torch.full_like(scale, torch.inf))
    return torch.where(scale.float() < needed, above, scale).clamp(min=torch.finfo(torch.bfloat16).tiny), middle


@lru_cache(maxsize=1)
def _places() -> Tensor:
    """Where each output of a panel stands among the low and then the high nibbles of a byte row.

    The order is that of the machine's widest vectors, so it is found by packing outputs numbered in base 16.
    """
    outputs = torch.arange(Int4.width, dtype=torch.int32)

    def packed(digits: Tensor) -> Tensor:
        held = torch.ops.aten._convert_weight_to_int4pack_for_cpu(digits.unsqueeze(1).repeat(1, Int4.group), 1)
        row = held.view(Int4.group, -1)[0]
        return torch.cat((row & 15, row >> 4)).long()

    with torch.inference_mode(False):
        return (packed(outputs % 16) + 16 * packed(outputs // 16)).argsort()


@lru_cache(maxsize=1)
def _in_order() -> bool:
    """Whether the nibbles stand as the outputs do, as they do for vectors of 512 bits."""
    return torch.equal(_places(), torch.arange(Int4.width))


# How matrices are stored, and how tables, which are read by row too, for each way to quantise: what suits comes first.
MATRICES: dict[str | None, tuple[type[Panels], ...]] = {None: (Float32,), "int8": (Int8,), "int4": (Int4, Int8)}
TABLES: dict[str | None, tuple[type[Panels], ...]] = {None: (Float32,), "int8": (Int8,), "int4": (Int8,)}


def stored_as(formats: tuple[type[Panels], ...], weight_OI: Tensor) -> Panels:
    """The matrix, which is used up, in the first of these formats that its inputs suit."""
    found = next(kind for kind in formats if weight_OI.shape[1] % kind.group == 0)
    return found.taking(weight_OI)
