"""Where the numbers of a tensor go: into the whole of it, or into the part that one of several processes holds."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Target:
    """A tensor of `shape`, of which `local` holds what stands from `first` on along one axis; the rest is elsewhere."""

    local: Tensor
    shape: tuple[int, ...]
    axis: int = 0
    first: int = 0

    @classmethod
    def of(cls, whole: Tensor) -> Target:
        """All of a tensor."""
        return cls(whole, tuple(whole.shape))

    def row(self, index: int) -> Target | None:
        """One row of it, None if it is elsewhere."""
        if self.axis:
            return Target(self.local[index], self.shape[1:], self.axis - 1, self.first)
        here = 0 <= index - self.first < len(self.local)
        return Target.of(self.local[index - self.first]) if here else None

    def holds(self, axis: int, part: slice) -> bool:
        """Whether anything of this part along an axis is here."""
        n_here = self.local.numel() and self.local.shape[self.axis]
        return bool(n_here) and (axis != self.axis or (part.start < self.first + n_here and self.first < part.stop))

    def put(self, axis: int, start: int, numbers: Tensor) -> None:
        """Take what is here of numbers that stand from `start` on along an axis, and are whole along the others."""
        if not self.shape:
            self.local.copy_(numbers)
        elif axis != self.axis:
            here = numbers.narrow(self.axis, self.first, self.local.shape[self.axis])
            self.local.narrow(axis, start, numbers.shape[axis]).copy_(here)
        else:
            low = max(start, self.first)
            high = min(start + numbers.shape[axis], self.first + self.local.shape[axis])
            if low < high:
                self.local.narrow(axis, low - self.first, high - low).copy_(
                    numbers.narrow(axis, low - start, high - low)
                )


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor, gathered where processes share it: all of them ask for it then."""
    gathered: Tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return gathered
