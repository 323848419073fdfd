"""The part of a tensor that one process holds, as the destination of its values."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class TensorShard:
    """The slice `local` of a tensor of `shape`: from `first` on along `axis`. A whole tensor is its own shard."""

    local: Tensor
    shape: tuple[int, ...]
    axis: int = 0
    first: int = 0

    @classmethod
    def of(cls, tensor: Tensor) -> TensorShard:
        """Return the shard that is all of a tensor."""
        return cls(tensor, tuple(tensor.shape))

    def row(self, index: int) -> TensorShard | None:
        """Return one row of the tensor, None if another process holds it."""
        if self.axis:
            return TensorShard(self.local[index], self.shape[1:], self.axis - 1, self.first)
        is_local = 0 <= index - self.first < len(self.local)
        return TensorShard.of(self.local[index - self.first]) if is_local else None

    def holds(self, axis: int, part: slice) -> bool:
        """Return whether this shard overlaps `part` of an axis."""
        n_local = self.local.numel() and self.local.shape[self.axis]
        return bool(n_local) and (axis != self.axis or (part.start < self.first + n_local and self.first < part.stop))

    def put(self, axis: int, start: int, values: Tensor) -> None:
        """Copy the local part of values that begin at `start` along `axis` and are complete along the others."""
        if not self.shape:
            self.local.copy_(values)
        elif axis != self.axis:
            part = values.narrow(self.axis, self.first, self.local.shape[self.axis])
            self.local.narrow(axis, start, values.shape[axis]).copy_(part)
        else:
            low = max(start, self.first)
            high = min(start + values.shape[axis], self.first + self.local.shape[axis])
            if low < high:
                self.local.narrow(axis, low - self.first, high - low).copy_(
                    values.narrow(axis, low - start, high - low)
                )


def full_tensor(tensor: Tensor) -> Tensor:
    """Return a whole tensor; a distributed one is gathered, which all ranks must call together."""
    gathered: Tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return gathered
