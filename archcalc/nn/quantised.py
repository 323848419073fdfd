"""How a cached tensor is really stored: as it is, or quantised along its width when a token comes.

Axes: B batch, S tokens, W width, G groups of the width; what stands between B and S is the attention's own. Every
tensor of a store is [B, …, S, something], so that tokens are written and read alike in all of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from archcalc.formats.cache_types import CacheType
from archcalc.nn.dtypes import torch_dtype

Shape = tuple[int, ...]

FP8 = (torch.float8_e4m3fn, torch.float8_e5m2)


class Store(ABC):
    """A cached tensor [B, …, S, W], as the tensors that hold it."""

    tensors: tuple[Tensor, ...]

    @abstractmethod
    def encode(self, x: Tensor) -> tuple[Tensor, ...]:
        """What is held of tokens [B, …, S, W], a tensor for each of `tensors`."""

    @abstractmethod
    def decode(self, held: tuple[Tensor, ...], dtype: torch.dtype) -> Tensor:
        """Tokens [B, …, S, W] of what is held of them."""

    @property
    def room(self) -> int:
        """How many tokens there are places for."""
        return self.tensors[0].shape[-2]

    def write(self, x: Tensor, start: int) -> None:
        """Put tokens from place `start` on."""
        for held, new in zip(self.tensors, self.encode(x), strict=True):
            held.narrow(-2, start, x.shape[-2]).copy_(new)

    def put(self, x: Tensor, places_S: Tensor) -> None:
        """Put tokens in these places."""
        for held, new in zip(self.tensors, self.encode(x), strict=True):
            _raw(held).index_copy_(-2, places_S, _raw(new))

    def read(self, stop: int, dtype: torch.dtype) -> Tensor:
        """The tokens of places 0 … stop − 1."""
        return self.decode(tuple(held.narrow(-2, 0, stop) for held in self.tensors), dtype)

    def pick(self, places_S: Tensor, dtype: torch.dtype) -> Tensor:
        """The tokens of these places."""
        picked = (_raw(held).index_select(-2, places_S).view(held.dtype) for held in self.tensors)
        return self.decode(tuple(picked), dtype)

    def reorder(self, rows_B: Tensor, stop: int) -> None:
        """Put row rows_B[b] in row b's place, of places 0 … stop − 1."""
        for tensor in self.tensors:
            held = _raw(tensor).narrow(-2, 0, stop)
            held.copy_(held.index_select(0, rows_B))


class Plain(Store):
    """Every element on its own, in the tensor's dtype; what fp8 cannot reach becomes its largest."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensors = (tensor,)

    def encode(self, x: Tensor) -> tuple[Tensor, ...]:
        """The tokens in the tensor's dtype."""
        return (_cast(x, self.tensors[0].dtype),)

    def decode(self, held: tuple[Tensor, ...], dtype: torch.dtype) -> Tensor:
        """The tokens in the dtype asked for."""
        return held[0].to(dtype)


class Scaled(Store):
    """fp8, and a scale for each group of the width: its largest element becomes the largest of fp8."""

    def __init__(self, kind: CacheType, shape: Shape) -> None:
        self.n_groups = _n_groups(kind, shape)
        self.tensors = _zeros(shape, shape[-1], torch_dtype(kind.element)), _scales(kind, shape, self.n_groups)

    def encode(self, x: Tensor) -> tuple[Tensor, ...]:
        """fp8 [B, …, S, W] and scales [B, …, S, G]."""
        payload, scale = self.tensors
        groups = _grouped(x, self.n_groups)
        scale_up = _rounded_up(groups.abs().amax(-1, keepdim=True) / torch.finfo(payload.dtype).max, scale.dtype)
        return _cast(groups / _divisor(scale_up), payload.dtype).flatten(-2), scale_up.squeeze(-1)

    def decode(self, held: tuple[Tensor, ...], dtype: torch.dtype) -> Tensor:
        """fp8 times scale."""
        payload, scale = held
        return (_grouped(payload, self.n_groups) * scale.float().unsqueeze(-1)).flatten(-2).to(dtype)


class Integers(Store):
    """Whole numbers of a scale for each group of the width: x is near (q − zero) · scale, by half a scale or less.

    Without a zero point q is −127 … 127 of int8, −7 … 7 of int4 (held as 1 … 15). With one, 0 … 255 or 0 … 15: the
    range is drawn out to hold 0, and zero is the whole number that stands for it (Jacob et al. 2018, arXiv:1712.05877,
    section 2.1). Scales are rounded up, or the largest element would be out of reach by more than half a scale.
    """

    def __init__(self, kind: CacheType, shape: Shape) -> None:
        self.n_groups = _n_groups(kind, shape)
        self.packed, self.zeroed = kind.element == "int4", kind.zero
        signed_top, self.top = (7, 15) if self.packed else (127, 255)
        if not self.zeroed:
            self.top = signed_top
        dtype = torch.uint8 if self.packed or self.zeroed else torch.int8
        width = shape[-1] // 2 if self.packed else shape[-1]
        shared = [_scales(kind, shape, self.n_groups) for _ in range(1 + self.zeroed)]
        self.tensors = (_zeros(shape, width, dtype), *shared)

    def encode(self, x: Tensor) -> tuple[Tensor, ...]:
        """Whole numbers [B, …, S, W], int4 two to a byte, and scales, perhaps zero points, [B, …, S, G]."""
        groups, scale_dtype = _grouped(x, self.n_groups), self.tensors[1].dtype
        if not self.zeroed:
            scale = _rounded_up(groups.abs().amax(-1, keepdim=True) / self.top, scale_dtype)
            return self._payload((groups / _divisor(scale)).round().clamp(-self.top, self.top)), scale.squeeze(-1)
        low, high = groups.amin(-1, keepdim=True).clamp(max=0), groups.amax(-1, keepdim=True).clamp(min=0)
        scale = _rounded_up((high - low) / self.top, scale_dtype)
        zero = (-low / _divisor(scale)).round()
        whole = ((groups / _divisor(scale)).round() + zero).clamp(0, self.top)
        return self._payload(whole), scale.squeeze(-1), zero.squeeze(-1).to(scale_dtype)

    def decode(self, held: tuple[Tensor, ...], dtype: torch.dtype) -> Tensor:
        """(q − zero) · scale."""
        payload, scale, *zero = held
        whole = _grouped(self._whole(payload), self.n_groups)
        if zero:
            whole = whole - zero[0].float().unsqueeze(-1)
        return (whole * scale.float().unsqueeze(-1)).flatten(-2).to(dtype)

    @property
    def _offset(self) -> int:
        """What is added to int4 without a zero point, so that it has no sign."""
        return 8 if self.packed and not self.zeroed else 0

    def _payload(self, whole: Tensor) -> Tensor:
        held = (whole.flatten(-2) + self._offset).to(self.tensors[0].dtype)
        return held[..., 0::2] | held[..., 1::2] << 4 if self.packed else held

    def _whole(self, held: Tensor) -> Tensor:
        if self.packed:
            held = torch.stack((held & 15, held >> 4), -1).flatten(-2)
        return held.float() - self._offset


def store(kind: CacheType, shape: Shape, device: torch.device) -> Store:
    """An empty store of tensors [B, …, S, W]. InputError if the width does not suit the type."""
    kind.check(shape[-1], "cache")
    with device:
        dtype = torch_dtype(kind.element)
        if dtype.is_floating_point:
            return Scaled(kind, shape) if kind.scale else Plain(_zeros(shape, shape[-1], dtype))
        return Integers(kind, shape)


def _n_groups(kind: CacheType, shape: Shape) -> int:
    return shape[-1] // kind.group if kind.group else 1


def _zeros(shape: Shape, width: int, dtype: torch.dtype) -> Tensor:
    """Zeros of this shape but for the width, on the device at hand."""
    return torch.zeros(*shape[:-1], width, dtype=dtype)


def _scales(kind: CacheType, shape: Shape, n_groups: int) -> Tensor:
    assert kind.scale, "a type without scales has no use for them"
    return _zeros(shape, n_groups, torch_dtype(kind.scale))


def _grouped(x: Tensor, n_groups: int) -> Tensor:
    """[B, …, S, W] as fp32 [B, …, S, G, W / G]."""
    return x.float().reshape(*x.shape[:-1], n_groups, x.shape[-1] // n_groups)


def _rounded_up(scale: Tensor, dtype: torch.dtype) -> Tensor:
    """The smallest number of a dtype that is no less, or its largest."""
    rounded = scale.to(dtype)
    above = torch.nextafter(rounded, torch.full_like(rounded, torch.inf))
    return torch.where(rounded.float() < scale, above, rounded).clamp(max=torch.finfo(dtype).max)


def _divisor(scale: Tensor) -> Tensor:
    """The scale, and 1 where all is 0."""
    return torch.where(scale > 0, scale, 1).float()


def _cast(x: Tensor, dtype: torch.dtype) -> Tensor:
    """`x` in a dtype; fp8 keeps no infinity, so what is beyond its largest becomes that."""
    if dtype in FP8:
        top = torch.finfo(dtype).max
        x = x.clamp(-top, top)
    return x.to(dtype)


def _raw(x: Tensor) -> Tensor:
    """The same elements; fp8 as bytes, which torch can pick by place."""
    return x.view(torch.uint8) if x.dtype in FP8 else x
