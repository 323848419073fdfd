"""The parameters of a module on one rank of several."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor
from torch.distributed.tensor import DTensor

Reader = Callable[[DTensor], Tensor]


class RankParameters(dict[str, Any]):
    """Parameters as DTensors, of which `[name]` is what the module computes with.

    `nn.Module` looks up `self.weight` by `[name]`. All that moves, saves or trains parameters goes through the items,
    which are the DTensors themselves.
    """

    def __init__(self, parameters: Mapping[str, Any], readers: Mapping[str, Reader]) -> None:
        super().__init__(parameters)
        self.readers = readers

    def __getitem__(self, name: str) -> Tensor | None:
        weight = super().__getitem__(name)
        return None if weight is None else self.readers[name](weight)
