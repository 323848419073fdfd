"""Storage of a cached tensor: as it is, or quantized along its width as tokens are written.

Axes: B batch, S tokens, W width, G groups of the width; an attention may have axes of its own between B and S. Every
tensor of a store is [B, …, S, something], so tokens are indexed alike in all of them.
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
    """A cached tensor [B, …, S, W], as the tensors that encode it."""

    tensors: tuple[Tensor, ...]

    @abstractmethod
    def encode(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the encoding of tokens [B, …, S, W], a tensor for each of `tensors`."""

    @abstractmethod
    def decode(self, tensors: tuple[Tensor, ...], dtype: torch.dtype) -> Tensor:
        """Return the tokens [B, …, S, W] of an encoding."""

    @property
    def capacity(self) -> int:
        """Number of token slots."""
        return self.tensors[0].shape[-2]

    def write(self, x: Tensor, start: int) -> None:
        """Write tokens to the slots from `start` on."""
        for tensor, new in zip(self.tensors, self.encode(x), strict=True):
            tensor.narrow(-2, start, x.shape[-2]).copy_(new)

    def write_slots(self, x: Tensor, slots_S: Tensor) -> None:
        """Write tokens to these slots."""
        for tensor, new in zip(self.tensors, self.encode(x), strict=True):
            _as_bytes(tensor).index_copy_(-2, slots_S, _as_bytes(new))

    def read(self, stop: int, dtype: torch.dtype) -> Tensor:
        """Return the tokens of slots 0 … stop − 1."""
        return self.decode(tuple(tensor.narrow(-2, 0, stop) for tensor in self.tensors), dtype)

    def read_slots(self, slots_S: Tensor, dtype: torch.dtype) -> Tensor:
        """Return the tokens of these slots."""
        rows = (_as_bytes(tensor).index_select(-2, slots_S).view(tensor.dtype) for tensor in self.tensors)
        return self.decode(tuple(rows), dtype)

    def reorder(self, rows_B: Tensor, stop: int) -> None:
        """Replace row b with row rows_B[b] in slots 0 … stop − 1."""
        for tensor in self.tensors:
            rows = _as_bytes(tensor).narrow(-2, 0, stop)
            rows.copy_(rows.index_select(0, rows_B))


class PlainStore(Store):
    """Each element in the tensor's dtype; values beyond the range of fp8 become its largest."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensors = (tensor,)

    def encode(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the tokens in the tensor's dtype."""
        return (_cast(x, self.tensors[0].dtype),)

    def decode(self, tensors: tuple[Tensor, ...], dtype: torch.dtype) -> Tensor:
        """Return the tokens in `dtype`."""
        return tensors[0].to(dtype)


class ScaledStore(Store):
    """fp8 with a scale for each group of the width, so that its largest element becomes the largest of fp8."""

    def __init__(self, cache_type: CacheType, shape: Shape) -> None:
        self.n_groups = _n_groups(cache_type, shape)
        self.tensors = (
            _zeros(shape, shape[-1], torch_dtype(cache_type.element)),
            _scales(cache_type, shape, self.n_groups),
        )

    def encode(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return fp8 [B, …, S, W] and scales [B, …, S, G]."""
        payload, scale = self.tensors
        groups = _split_groups(x, self.n_groups)
        scale_up = _round_up(groups.abs().amax(-1, keepdim=True) / torch.finfo(payload.dtype).max, scale.dtype)
        return _cast(groups / _divisor(scale_up), payload.dtype).flatten(-2), scale_up.squeeze(-1)

    def decode(self, tensors: tuple[Tensor, ...], dtype: torch.dtype) -> Tensor:
        """Return fp8 times scale."""
        payload, scale = tensors
        return (_split_groups(payload, self.n_groups) * scale.float().unsqueeze(-1)).flatten(-2).to(dtype)


class IntegerStore(Store):
    """Integers with a scale for each group of the width: (q − zero) · scale is within half a scale of x.

    Without a zero point q is −127 … 127 of int8, −7 … 7 of int4 (stored as 1 … 15). With one, 0 … 255 or 0 … 15: the
    range is widened to contain 0, and zero is the integer that represents it (Jacob et al. 2018, arXiv:1712.05877,
    section 2.1). Scales are rounded up, else the largest element would be off by more than half a scale.
    """

    def __init__(self, cache_type: CacheType, shape: Shape) -> None:
        self.n_groups = _n_groups(cache_type, shape)
        self.is_packed, self.has_zero = cache_type.element == "int4", cache_type.zero
        signed_max, self.max_value = (7, 15) if self.is_packed else (127, 255)
        if not self.has_zero:
            self.max_value = signed_max
        dtype = torch.uint8 if self.is_packed or self.has_zero else torch.int8
        width = shape[-1] // 2 if self.is_packed else shape[-1]
        scales = [_scales(cache_type, shape, self.n_groups) for _ in range(1 + self.has_zero)]
        self.tensors = (_zeros(shape, width, dtype), *scales)

    def encode(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return integers [B, …, S, W] (int4 two to a byte), scales [B, …, S, G] and, if used, zero points."""
        groups, scale_dtype = _split_groups(x, self.n_groups), self.tensors[1].dtype
        if not self.has_zero:
            scale = _round_up(groups.abs().amax(-1, keepdim=True) / self.max_value, scale_dtype)
            return self._pack((groups / _divisor(scale)).round().clamp(-self.max_value, self.max_value)), scale.squeeze(
                -1
            )
        low, high = groups.amin(-1, keepdim=True).clamp(max=0), groups.amax(-1, keepdim=True).clamp(min=0)
        scale = _round_up((high - low) / self.max_value, scale_dtype)
        zero = (-low / _divisor(scale)).round()
        integers = ((groups / _divisor(scale)).round() + zero).clamp(0, self.max_value)
        return self._pack(integers), scale.squeeze(-1), zero.squeeze(-1).to(scale_dtype)

    def decode(self, tensors: tuple[Tensor, ...], dtype: torch.dtype) -> Tensor:
        """Return (q − zero) · scale."""
        payload, scale, *zero = tensors
        integers = _split_groups(self._unpack(payload), self.n_groups)
        if zero:
            integers = integers - zero[0].float().unsqueeze(-1)
        return (integers * scale.float().unsqueeze(-1)).flatten(-2).to(dtype)

    @property
    def _offset(self) -> int:
        """The number that makes int4 without a zero point unsigned."""
        return 8 if self.is_packed and not self.has_zero else 0

    def _pack(self, integers: Tensor) -> Tensor:
        payload = (integers.flatten(-2) + self._offset).to(self.tensors[0].dtype)
        return payload[..., 0::2] | payload[..., 1::2] << 4 if self.is_packed else payload

    def _unpack(self, payload: Tensor) -> Tensor:
        if self.is_packed:
            payload = torch.stack((payload & 15, payload >> 4), -1).flatten(-2)
        return payload.float() - self._offset


def new_store(cache_type: CacheType, shape: Shape, device: torch.device) -> Store:
    """Return an empty store of tensors [B, …, S, W]. Raises InputError if the width does not suit the type."""
    cache_type.check(shape[-1], "cache")
    with device:
        dtype = torch_dtype(cache_type.element)
        if dtype.is_floating_point:
            return ScaledStore(cache_type, shape) if cache_type.scale else PlainStore(_zeros(shape, shape[-1], dtype))
        return IntegerStore(cache_type, shape)


def _n_groups(cache_type: CacheType, shape: Shape) -> int:
    return shape[-1] // cache_type.group if cache_type.group else 1


def _zeros(shape: Shape, width: int, dtype: torch.dtype) -> Tensor:
    """Return zeros of this shape with another width, on the default device."""
    return torch.zeros(*shape[:-1], width, dtype=dtype)


def _scales(cache_type: CacheType, shape: Shape, n_groups: int) -> Tensor:
    assert cache_type.scale, "called only for types with scales"
    return _zeros(shape, n_groups, torch_dtype(cache_type.scale))


def _split_groups(x: Tensor, n_groups: int) -> Tensor:
    """Return [B, …, S, W] as fp32 [B, …, S, G, W / G]."""
    return x.float().reshape(*x.shape[:-1], n_groups, x.shape[-1] // n_groups)


def _round_up(scale: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the smallest number of `dtype` that is not less, or the largest of all."""
    rounded = scale.to(dtype)
    above = torch.nextafter(rounded, torch.full_like(rounded, torch.inf))
    return torch.where(rounded.float() < scale, above, rounded).clamp(max=torch.finfo(dtype).max)


def _divisor(scale: Tensor) -> Tensor:
    """Return the scale, or 1 where it is 0."""
    return torch.where(scale > 0, scale, 1).float()


def _cast(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Return `x` in `dtype`; fp8 has no infinity, so values beyond its range become its largest."""
    if dtype in FP8:
        max_value = torch.finfo(dtype).max
        x = x.clamp(-max_value, max_value)
    return x.to(dtype)


def _as_bytes(x: Tensor) -> Tensor:
    """Return fp8 as bytes, which torch can index; other dtypes as they are."""
    return x.view(torch.uint8) if x.dtype in FP8 else x
