"""What a packed model's matrices are stored as."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from torch import Tensor, nn

from archcalc.run.pack.linear import Packed


class Stored(NamedTuple):
    """A matrix [out, in] or other tensor of a model: its name, shape, and 'int4', 'int8' or 'fp32'."""

    name: str
    shape: tuple[int, ...]
    stored: str


def stored(model: nn.Module) -> list[Stored]:
    """What each tensor of a packed model is stored as, in the model's order; a tied head is not named again.

    A matrix that the format asked for does not suit is kept in the next finer one.
    """
    return list(_stored(model))


def _stored(model: nn.Module) -> Iterator[Stored]:
    seen = set()
    for name, module in model.named_modules():
        own = dict(module.named_parameters(recurse=False)) | dict(module.named_buffers(recurse=False))
        if isinstance(module, Packed) and module.panels not in seen:
            seen.add(module.panels)
            yield Stored(f"{name}.weight", (module.panels.n_out, module.panels.n_in), module.panels.stored)
        yield from (Stored(f"{name}.{key}", tuple(tensor.shape), "fp32") for key, tensor in own.items())


def packed_bytes(model: nn.Module) -> int:
    """The bytes of a packed model's weights, scales and what fills up panels included; each stored once."""
    return sum({_memory(tensor): tensor.untyped_storage().nbytes() for tensor in _tensors(model)}.values())


def _tensors(model: nn.Module) -> Iterator[Tensor]:
    for module in model.modules():
        if isinstance(module, Packed):
            yield from module.panels.tensors
        yield from module.parameters(recurse=False)
        yield from module.buffers(recurse=False)


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
