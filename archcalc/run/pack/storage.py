"""What a packed model's matrices are stored as."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from torch import Tensor, nn

from archcalc.run.pack.linear import Packed
from archcalc.run.pack.model import PackedModel


class Stored(NamedTuple):
    """A matrix [out, in] or other tensor of a model: its name, shape, and 'int4', 'int8' or 'fp32'."""

    name: str
    shape: tuple[int, ...]
    stored: str


def stored(packed: PackedModel) -> list[Stored]:
    """What each tensor of a packed model is stored as, by its canonical name; a tied head is not named again.

    A matrix that the format asked for does not suit is kept in the next finer one.
    """
    return list(_stored(packed.model))


def packed_bytes(packed: PackedModel) -> int:
    """The bytes of a packed model's weights, scales and what fills up panels included; each stored once."""
    memory = (tensor.untyped_storage() for tensor in _tensors(packed.model))
    return sum({storage.data_ptr(): storage.nbytes() for storage in memory}.values())


def _stored(model: nn.Module) -> Iterator[Stored]:
    seen = set()
    for name, module in model.named_modules():
        if isinstance(module, Packed) and module.panels not in seen:
            seen.add(module.panels)
            yield Stored(f"{name}.weight", (module.panels.n_out, module.panels.n_in), module.panels.stored)
        own = {**dict(module.named_parameters(recurse=False)), **dict(module.named_buffers(recurse=False))}
        yield from (Stored(f"{name}.{key}".lstrip("."), tuple(tensor.shape), "fp32") for key, tensor in own.items())


def _tensors(model: nn.Module) -> Iterator[Tensor]:
    for module in model.modules():
        yield from module.panels.tensors if isinstance(module, Packed) else ()
        yield from module.parameters(recurse=False)
        yield from module.buffers(recurse=False)
