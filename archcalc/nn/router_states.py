"""The states of routers that a layer reads and lends.

Axes: Q all tokens, R width of the state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class RouterStates:
    """The state [Q, R] of an earlier layer's router, if this one adds it, and what receives this one's."""

    previous: Tensor | None = None
    lend: Callable[[tuple[Tensor]], None] | None = None
