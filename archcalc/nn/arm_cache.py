"""Caches of one arm of a layer: tokens, a source, or a state of fixed size.

Axes: B batch, S tokens; a part may have axes of its own between them: tokens are stored as [B, …, S, width].
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from archcalc.formats.cache_types import CacheType
from archcalc.nn.cache_store import PlainStore, Store, new_store

Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class CacheConfig:
    """Size and storage of a cache: sequences, tokens of each, tokens of each one's source, and the model's width.

    Tokens are stored in `dtype`, or quantized as `format` says.
    """

    batch: int
    capacity: int
    source_capacity: int
    d_model: int
    dtype: torch.dtype
    device: torch.device
    format: CacheType | None = None

    def empty_store(self, *shape: int) -> Store:
        """Return an empty store of tensors [B, *shape]."""
        if self.format is not None:
            return new_store(self.format, (self.batch, *shape), self.device)
        return PlainStore(self.zero_state(*shape))

    def zero_state(self, *shape: int) -> Tensor:
        """Return zeros [B, *shape] in `dtype`, whatever the format of tokens."""
        return torch.zeros(self.batch, *shape, dtype=self.dtype, device=self.device)


class ArmCache(ABC):
    """What one arm of a layer keeps between steps. It is not read before the first token."""

    @property
    @abstractmethod
    def tensors(self) -> tuple[Tensor, ...]:
        """All allocated tensors, scales included."""

    @abstractmethod
    def reorder(self, rows_B: Tensor, n_tokens: int) -> None:
        """Replace row b with row rows_B[b]; `n_tokens` have been read."""


class RecurrentState(ArmCache):
    """Tensors [B, …] of a fixed size, whatever the length of the text; zero before its first token.

    The writer must leave out padding: a row whose new tokens are padding keeps its state.
    """

    def __init__(self, *tensors: Tensor) -> None:
        self._tensors = tensors

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The tensors of the state."""
        return self._tensors

    def read(self, past: int) -> tuple[Tensor, ...]:
        """Return the state after `past` tokens."""
        return self._tensors if past else tuple(torch.zeros_like(tensor) for tensor in self._tensors)

    def write(self, *states: Tensor) -> None:
        """Store the state after the newest tokens."""
        for tensor, state in zip(self._tensors, states, strict=True):
            tensor.copy_(state)

    def reorder(self, rows_B: Tensor, n_tokens: int) -> None:
        """Replace row b with row rows_B[b]."""
        for tensor in self._tensors:
            tensor.copy_(tensor[rows_B])


class PairCache(ArmCache):
    """Two stores whose last axis but one is tokens: keys and values, or a latent and a shared key.

    Further stores keep other tensors of the same tokens.
    """

    def __init__(self, first: Store, second: Store, *more: Store) -> None:
        self.stores = first, second, *more

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All allocated tensors, scales included."""
        return tuple(tensor for store in self.stores for tensor in store.tensors)

    def reorder(self, rows_B: Tensor, n_tokens: int) -> None:
        """Replace row b with row rows_B[b]; `n_tokens` have been stored."""
        for store in self.stores:
            store.reorder(rows_B, min(n_tokens, store.capacity))

    @abstractmethod
    def update(self, compute: Callable[[], Pair], past: int) -> Pair:
        """Return the pair of all tokens to attend to, after `past` tokens; `compute` returns that of the new ones."""


class TokenCache(PairCache):
    """The last tokens of a text, as many as fit: a ring buffer with token p in slot p mod capacity.

    A new token replaces the oldest one, so a capacity of `window` tokens holds all that a query in the window attends
    to (Beltagy et al. 2020, section 3.1; the rolling buffer of Mistral 7B, Jiang et al. 2023, section 2).
    """

    def update(self, compute: Callable[[], Pair], past: int) -> Pair:
        """Return up to capacity − 1 old tokens, then the new ones; store the last `capacity` of them all."""
        first, second = compute()
        return append(self.stores[0], first, past), append(self.stores[1], second, past)


class IndexedCache(TokenCache):
    """Latents and shared keys, and the keys of an indexer."""

    def update_index(self, new: Tensor, past: int) -> Tensor:
        """Return the indexer's keys of all tokens, after `past` tokens; store the new ones."""
        return append(self.stores[2], new, past)


class ConvolvedCache(TokenCache):
    """Keys and values of tokens, and the last inputs of the convolutions that made them, [B, C, W − 1] each."""

    def __init__(self, first: Store, second: Store, state: RecurrentState) -> None:
        super().__init__(first, second)
        self.state = state

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All allocated tensors, scales included."""
        return (*super().tensors, *self.state.tensors)

    def reorder(self, rows_B: Tensor, n_tokens: int) -> None:
        """Replace row b with row rows_B[b]; `n_tokens` have been stored."""
        super().reorder(rows_B, n_tokens)
        self.state.reorder(rows_B, n_tokens)


class SourceCache(PairCache):
    """Keys and values of a source, computed once."""

    def __init__(self, first: Store, second: Store) -> None:
        super().__init__(first, second)
        self.dtype = first.tensors[0].dtype

    def fill(self, pair: Pair) -> None:
        """Store the pair of a source; it is read back in its present dtype."""
        self.dtype = pair[0].dtype
        for store, new in zip(self.stores, pair, strict=True):
            store.write(new, 0)

    def update(self, compute: Callable[[], Pair], past: int) -> Pair:
        """Return the stored pair; nothing is computed."""
        return self.stores[0].read(past, self.dtype), self.stores[1].read(past, self.dtype)


def append(store: Store, new: Tensor, past: int) -> Tensor:
    """Store new tokens and return them after the old ones [B, …, S, width]; a view until a token is overwritten."""
    stop = past + new.shape[-2]
    if stop <= store.capacity:
        store.write(new, past)
        return store.read(stop, new.dtype) if past else new
    n_old, n_new = min(past, store.capacity - 1), min(new.shape[-2], store.capacity)
    old = store.read_slots(_slots(past - n_old, past, store), new.dtype)
    store.write_slots(new[..., -n_new:, :], _slots(stop - n_new, stop, store))
    return torch.cat((old, new), -2) if past else new


def _slots(start: int, stop: int, store: Store) -> Tensor:
    """Return the slots of tokens start … stop − 1."""
    return torch.arange(start, stop, device=store.tensors[0].device) % store.capacity
