"""The bytes of weights that a decode step reads: all but tables that are looked up, and experts that are not chosen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from archcalc.nn.head import Head
from archcalc.nn.linear import EmbeddingTable
from archcalc.nn.moe import MoE
from archcalc.run.pack.packed_linear import Packed, PackedTable


def step_bytes(model: Any, batch: int = 1) -> int:
    """Bytes of weights that a step of `batch` tokens reads, each once, as they are stored: what fills up panels too.

    Caches are not counted. Of a mixture, as many experts as the tokens can choose. A table that is the head's matrix
    too is read whole.
    """
    read = {_place(tensor) for module in model.modules() if not _is_looked_up(module) for tensor in _own(module)}
    if type(model.head) is Head and model.head.weight is None:
        read.add(_place(model.embed.tokens.weight))  # the canonical head is handed the table
    return sum(size for _, size in read) - sum(
        _unread(module, batch) for module in model.modules() if isinstance(module, MoE)
    )


def _unread(mixture: MoE, batch: int) -> int:
    """Bytes of the experts that so many tokens leave out at least."""
    n_experts = mixture.part.n_experts
    n_left = max(0, n_experts - batch * mixture.part.n_active)
    held = {_place(tensor) for module in mixture.experts.modules() for tensor in _own(module)}
    return sum(size for _, size in held) * n_left // n_experts


def _is_looked_up(module: nn.Module) -> bool:
    return isinstance(module, EmbeddingTable | PackedTable)


def _own(module: nn.Module) -> Iterator[Tensor]:
    if isinstance(module, Packed):
        yield from module.panels.tensors
    yield from module.parameters(recurse=False)
    yield from module.buffers(recurse=False)


def _place(tensor: Tensor) -> tuple[int, int]:
    """Where a tensor's memory begins, and how many bytes there are: the same for tensors that share it."""
    storage = tensor.untyped_storage()
    return storage.data_ptr(), storage.nbytes()
