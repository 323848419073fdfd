"""The parameters of a module on one of several ranks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor
from torch.distributed.tensor import DTensor

Reader = Callable[[DTensor], Tensor]


class RankParameters(dict[str, Any]):
    """Parameters as DTensors; looking one up by name gives the local tensor that the module computes with.

    `nn.Module` looks up `self.weight` by `[name]`. What moves, saves or trains parameters uses the items: the DTensors.
    """

    def __init__(self, parameters: Mapping[str, Any], readers: Mapping[str, Reader]) -> None:
        super().__init__(parameters)
        self.readers = readers

    def __getitem__(self, name: str) -> Tensor | None:
        weight = super().__getitem__(name)
        return None if weight is None else self.readers[name](weight)
