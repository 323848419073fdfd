"""What attention to compressed tokens keeps between steps.

Axes: B batch, T new tokens, G entries, H width of an entry, Z width of what a token gives to entries.
"""

from __future__ import annotations

import torch
from torch import Tensor

from archcalc.nn.arm_cache import ArmCache, CacheConfig, append
from archcalc.nn.cache_store import Store
from archcalc.spec.compressed import CompressedAttention, Compression


class PoolCache:
    """The entries of a text, the tokens that are in none yet, and, with overlap, those of the last entry."""

    def __init__(self, part: Compression, width: int, config: CacheConfig) -> None:
        n_series = 2 if part.overlap else 1
        self.n_pool = part.n_pool
        self.entries = config.empty_store(config.capacity // part.n_pool, width)
        self.open_tokens = tuple(config.zero_state(part.n_pool - 1, n_series * width) for _ in range(2))
        self.last_tokens = tuple(config.zero_state(part.n_pool, width) for _ in range(2 if part.overlap else 0))

    @property
    def states(self) -> tuple[Tensor, ...]:
        """The tensors whose size does not depend on the length of the text."""
        return (*self.open_tokens, *self.last_tokens)

    def with_open(self, values_BTZ: Tensor, gates_BTZ: Tensor, past: int) -> tuple[Tensor, Tensor]:
        """Return the tokens that are in no entry yet, then these; keep those that begin an entry which they don't end.

        Values and gates, [B, T, Z] each.
        """
        n_open = past % self.n_pool
        pairs = zip(self.open_tokens, (values_BTZ, gates_BTZ), strict=True)
        values, gates = (torch.cat((old[:, :n_open].to(new.dtype), new), 1) for old, new in pairs)
        n_rest = values.shape[1] % self.n_pool
        for tensor, new in zip(self.open_tokens, (values, gates), strict=True):
            tensor[:, :n_rest] = new[:, new.shape[1] - n_rest :]
        return values, gates

    def replace_last(self, values: Tensor, gates: Tensor, past: int) -> tuple[Tensor, Tensor] | None:
        """Return the tokens of the last entry before this pass, if there is one; keep those of the newest."""
        before = tuple(tensor.to(values.dtype, copy=True) for tensor in self.last_tokens)
        if values.shape[1]:
            for tensor, new in zip(self.last_tokens, (values, gates), strict=True):
                tensor.copy_(new[:, -1])
        return (before[0], before[1]) if past >= self.n_pool else None

    def extend(self, new_BGH: Tensor, past: int) -> Tensor:
        """Return all entries after `past` tokens and these; store the new ones."""
        n_before = past // self.n_pool
        if not new_BGH.shape[1]:
            return self.entries.read(n_before, new_BGH.dtype)
        return append(self.entries, new_BGH, n_before)


class CompressedCache(ArmCache):
    """The keys of the last tokens, which are values too, and the entries of the attention and of its indexer."""

    def __init__(self, window: Store, pools: tuple[PoolCache, ...]) -> None:
        self.window, self.pools = window, pools

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All allocated tensors, scales included."""
        of_pools = (tensor for pool in self.pools for tensor in (*pool.entries.tensors, *pool.states))
        return (*self.window.tensors, *of_pools)

    def reorder(self, rows_B: Tensor, n_tokens: int) -> None:
        """Replace row b with row rows_B[b]; `n_tokens` have been read."""
        self.window.reorder(rows_B, min(n_tokens, self.window.capacity))
        for pool in self.pools:
            pool.entries.reorder(rows_B, n_tokens // pool.n_pool)
            for tensor in pool.states:
                tensor.copy_(tensor[rows_B])

    def keys(self, new_B1TH: Tensor, past: int) -> Tensor:
        """Return the keys of the window before these, and these; store the last ones."""
        return append(self.window, new_B1TH, past)


def cache(part: CompressedAttention, config: CacheConfig) -> CompressedCache:
    """Return an empty cache."""
    window = config.empty_store(1, min(config.capacity, part.window), part.d_head)
    compression = part.compression
    if compression is None:
        return CompressedCache(window, ())
    own = PoolCache(compression, part.d_head, config)
    if compression.indexer is None:
        return CompressedCache(window, (own,))
    return CompressedCache(window, (own, PoolCache(compression, compression.indexer.d_index, config)))
