"""Count the bytes of weights that a decode step reads: all but lookup tables and experts that are not chosen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from archcalc.nn.head import Head
from archcalc.nn.linear import EmbeddingTable
from archcalc.nn.moe import MoE
from archcalc.run.pack.packed_linear import Packed, PackedTable


def step_bytes(model: Any, batch: int = 1) -> int:
    """Return the bytes of weights that a step of `batch` tokens reads, as stored, padding of packed panels included.

    Caches are not counted. Of a mixture, at most the experts that the tokens can choose. A table that is the head's
    matrix as well is read completely.
    """
    storages = {
        _storage(tensor) for module in model.modules() if not _is_looked_up(module) for tensor in _tensors(module)
    }
    if type(model.head) is Head and model.head.weight is None:
        storages.add(_storage(model.embed.tokens.weight))  # the canonical head gets the table as an argument
    return sum(size for _, size in storages) - sum(
        _unused_expert_bytes(module, batch) for module in model.modules() if isinstance(module, MoE)
    )


def _unused_expert_bytes(mixture: MoE, batch: int) -> int:
    """Return the bytes of experts that this many tokens cannot reach."""
    n_experts = mixture.part.n_experts
    n_unused = max(0, n_experts - batch * mixture.part.n_active)
    storages = {_storage(tensor) for module in mixture.experts.modules() for tensor in _tensors(module)}
    return sum(size for _, size in storages) * n_unused // n_experts


def _is_looked_up(module: nn.Module) -> bool:
    return isinstance(module, EmbeddingTable | PackedTable)


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    if isinstance(module, Packed):
        yield from module.panels.tensors
    yield from module.parameters(recurse=False)
    yield from module.buffers(recurse=False)


def _storage(tensor: Tensor) -> tuple[int, int]:
    """Return address and size of a tensor's storage, equal for tensors that share it; of a rank's part, if sharded."""
    local: Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    storage = local.untyped_storage()
    return storage.data_ptr(), storage.nbytes()
