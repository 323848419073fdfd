"""What one part of a layer keeps from step to step: tokens, a source, or a state of fixed size.

Axes: B batch, S tokens, and what each part puts between and after them: tokens are kept as [B, …, S, width].
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from archcalc.formats.cache_types import CacheType
from archcalc.nn.quantised import Plain, Store, store

Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Room:
    """How much a cache must take: sequences, tokens of each, tokens of the source that each attends to.

    Tensors are in `dtype`, or stored as `format` says.
    """

    batch: int
    capacity: int
    source: int
    dtype: torch.dtype
    device: torch.device
    format: CacheType | None = None

    def zeros(self, *shape: int) -> Store:
        """A store of tensors [B, *shape] of this room's kind."""
        if self.format is not None:
            return store(self.format, (self.batch, *shape), self.device)
        return Plain(self.state(*shape))

    def state(self, *shape: int) -> Tensor:
        """A tensor [B, *shape] of zeros in this room's dtype, whatever the format of its tokens."""
        return torch.zeros(self.batch, *shape, dtype=self.dtype, device=self.device)


class Held(ABC):
    """What one arm of a layer keeps between steps. Where no token has been read, nothing of it is read."""

    @property
    @abstractmethod
    def tensors(self) -> tuple[Tensor, ...]:
        """All that is allocated, scales too."""

    @abstractmethod
    def reorder(self, rows_B: Tensor, n_tokens: int) -> None:
        """Put row rows_B[b] in row b's place; `n_tokens` have been read."""


class State(Held):
    """Tensors [B, …] of a fixed size, whatever the length of the text; zero before its first token.

    What writes them keeps padding out: a row whose new tokens are padding keeps its state.
    """

    def __init__(self, *tensors: Tensor) -> None:
        self._tensors = tensors

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The state's tensors."""
        return self._tensors

    def read(self, past: int) -> tuple[Tensor, ...]:
        """Return the state after `past` tokens."""
        return self._tensors if past else tuple(torch.zeros_like(tensor) for tensor in self._tensors)

    def write(self, *states: Tensor) -> None:
        """Keep the state after the newest tokens."""
        for kept, state in zip(self._tensors, states, strict=True):
            kept.copy_(state)

    def reorder(self, rows_B: Tensor, n_tokens: int) -> None:
        """Put row rows_B[b] in row b's place."""
        for tensor in self._tensors:
            tensor.copy_(tensor[rows_B])


class Pairs(Held):
    """Two stores with their tokens along the last axis but one: keys and values, or what stands for them."""

    def __init__(self, first: Store, second: Store) -> None:
        self.stores = first, second

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All that is allocated, scales too."""
        return tuple(tensor for store in self.stores for tensor in store.tensors)

    def reorder(self, rows_B: Tensor, n_tokens: int) -> None:
        """Put row rows_B[b] in row b's place; `n_tokens` have been held."""
        for held in self.stores:
            held.reorder(rows_B, min(n_tokens, held.room))

    @abstractmethod
    def joined(self, make: Callable[[], Pair], past: int) -> Pair:
        """All that may be looked at where `past` tokens are held; `make` gives what is new."""


class Tokens(Pairs):
    """The last tokens of the text, as many as there is room for: token p stands in place p mod room.

    A new token takes the oldest one's place, so in a room of `window` tokens a query finds those that its window shows
    (Beltagy et al. 2020, section 3.1; the rolling buffer of Mistral 7B, Jiang et al. 2023, section 2).
    """

    def joined(self, make: Callable[[], Pair], past: int) -> Pair:
        """Up to room − 1 tokens from before, then the new ones; the last `room` of them all are kept."""
        first, second = make()
        return _joined(self.stores[0], first, past), _joined(self.stores[1], second, past)


class Source(Pairs):
    """What is made of a source once and never changes."""

    def __init__(self, first: Store, second: Store) -> None:
        super().__init__(first, second)
        self.dtype = first.tensors[0].dtype

    def fill(self, made: Pair) -> None:
        """Keep what was made of a source; it is read in the dtype that it was made in."""
        self.dtype = made[0].dtype
        for held, new in zip(self.stores, made, strict=True):
            held.write(new, 0)

    def joined(self, make: Callable[[], Pair], past: int) -> Pair:
        """What is kept; nothing is made."""
        return self.stores[0].read(past, self.dtype), self.stores[1].read(past, self.dtype)


def _joined(held: Store, new: Tensor, past: int) -> Tensor:
    """Held tokens and the new [B, …, S, width]; without a copy as long as none has had to go."""
    stop = past + new.shape[-2]
    if stop <= held.room:
        held.write(new, past)
        return held.read(stop, new.dtype) if past else new
    n_seen, n_kept = min(past, held.room - 1), min(new.shape[-2], held.room)
    seen = held.pick(_places(past - n_seen, past, held), new.dtype)
    held.put(new[..., -n_kept:, :], _places(stop - n_kept, stop, held))
    return torch.cat((seen, new), -2) if past else new


def _places(start: int, stop: int, held: Store) -> Tensor:
    """Where tokens start … stop − 1 stand."""
    return torch.arange(start, stop, device=held.tensors[0].device) % held.room
