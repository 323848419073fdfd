"""Storage of a packed model's tensors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from torch import Tensor, nn

from archcalc.run.pack.packed_linear import Packed
from archcalc.run.pack.packed_model import PackedModel


class PackedTensor(NamedTuple):
    """A matrix [out, in] or other tensor of a model; `format` is 'int4', 'int8' or 'fp32'."""

    name: str
    shape: tuple[int, ...]
    format: str


def packed_tensors(packed: PackedModel) -> list[PackedTensor]:
    """Return the storage of each tensor by its canonical name; a tied head is listed once, as the table.

    A matrix that does not fit the chosen format is stored in the next finer one.
    """
    return list(_packed_tensors(packed.model))


def packed_bytes(packed: PackedModel) -> int:
    """Return the bytes of a packed model's weights, scales and padding included; shared memory counts once."""
    memory = (tensor.untyped_storage() for tensor in _tensors(packed.model))
    return sum({storage.data_ptr(): storage.nbytes() for storage in memory}.values())


def _packed_tensors(model: nn.Module) -> Iterator[PackedTensor]:
    seen = set()
    for name, module in model.named_modules():
        if isinstance(module, Packed) and module.panels not in seen:
            seen.add(module.panels)
            yield PackedTensor(f"{name}.weight", (module.panels.n_out, module.panels.n_in), module.panels.format)
        unpacked = {**dict(module.named_parameters(recurse=False)), **dict(module.named_buffers(recurse=False))}
        yield from (
            PackedTensor(f"{name}.{key}".lstrip("."), tuple(tensor.shape), "fp32") for key, tensor in unpacked.items()
        )


def _tensors(model: nn.Module) -> Iterator[Tensor]:
    for module in model.modules():
        yield from module.panels.tensors if isinstance(module, Packed) else ()
        yield from module.parameters(recurse=False)
        yield from module.buffers(recurse=False)
