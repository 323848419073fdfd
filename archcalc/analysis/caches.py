"""Bytes of what is cached, in any format of `formats.cache_types`: exact, tensor by tensor and layer by layer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from math import gcd, lcm

import msgspec

from archcalc.formats.cache_types import CacheType, cache_type
from archcalc.formats.element_types import ELEMENT_TYPES, element_bytes
from archcalc.ledger.algebra import Poly, product
from archcalc.ledger.rows import CacheRow, Ledger
from archcalc.spec.workload import Workload


class Share(msgspec.Struct, frozen=True):
    """A formula over a whole number that divides it: bytes of int4 are elements / 2."""

    formula: Poly
    per: int = 1

    def __add__(self, other: Share) -> Share:
        per = lcm(self.per, other.per)
        return Share(self.formula * (per // self.per) + other.formula * (per // other.per), per).reduced()

    def __str__(self) -> str:
        return self.formula.factored() + (f" / {self.per}" if self.per > 1 else "")

    def reduced(self) -> Share:
        """Return the share in lowest terms."""
        shared = gcd(self.per, *self.formula.terms.values())
        terms = {monomial: factor // shared for monomial, factor in self.formula.terms.items()}
        return Share(Poly(terms), self.per // shared)

    def at(self, sizes: Mapping[str, int]) -> int:
        """Return the value."""
        found, rest = divmod(int(self.formula.at(sizes)), self.per)
        assert not rest, "the width suits the format"
        return found


class CacheBytes(msgspec.Struct, frozen=True):
    """One cached tensor's bytes over all its layers and sequences: elements, and their scales and zero points.

    `payload` and `overhead` are the same in symbols.
    """

    row: CacheRow
    payload_bytes: int
    overhead_bytes: int
    payload: Share
    overhead: Share

    @property
    def total_bytes(self) -> int:
        """Return payload and overhead together."""
        return self.payload_bytes + self.overhead_bytes

    @property
    def formula(self) -> Share:
        """Return `total_bytes` in symbols."""
        return self.payload + self.overhead

    @property
    def layer_bytes(self) -> int:
        """Return the bytes of one layer."""
        return self.total_bytes // len(self.row.layer_indices)


def caches(ledger: Ledger, work: Workload, dtype: str) -> list[CacheBytes]:
    """Return every cached tensor's bytes in `dtype`, one of `formats.cache_types`.

    llama-3-8b in 'int8' keeps 2·32 layers · 8 heads of 128 bytes and a 4-byte scale for each token: 67,584 bytes.
    InputError, naming the tensor, if its width does not suit the format.
    """
    kind, sizes = cache_type(dtype), ledger.at(work)
    return [_bytes(row, kind, sizes) for row in ledger.caches]


def next_token(ledger: Ledger, work: Workload, dtype: str) -> list[int]:
    """Return the bytes that one more token of every sequence would add to each of `caches`.

    A full sliding layer and the cache of a source grow by none.
    """
    after = msgspec.structs.replace(work, past=work.past + 1)
    both = zip(caches(ledger, work, dtype), caches(ledger, after, dtype), strict=True)
    return [later.total_bytes - now.total_bytes for now, later in both]


class LayerBytes(msgspec.Struct, frozen=True):
    """What one layer caches, and what one more token of every sequence would add to that."""

    turn: int
    payload_bytes: int
    overhead_bytes: int
    next_token_bytes: int

    @property
    def total_bytes(self) -> int:
        """Return payload and overhead together."""
        return self.payload_bytes + self.overhead_bytes


def by_layer(ledger: Ledger, work: Workload, dtype: str) -> list[LayerBytes]:
    """Return the bytes of `caches` and of `next_token` by layer. Layers that share weights have caches of their own."""
    payload: Counter[int] = Counter()
    overhead: Counter[int] = Counter()
    more: Counter[int] = Counter()
    for one, added in zip(caches(ledger, work, dtype), next_token(ledger, work, dtype), strict=True):
        n_layers = len(one.row.layer_indices)
        for turn in one.row.layer_indices:
            payload[turn] += one.payload_bytes // n_layers
            overhead[turn] += one.overhead_bytes // n_layers
            more[turn] += added // n_layers
    return [LayerBytes(turn, payload[turn], overhead[turn], more[turn]) for turn in sorted(payload)]


def _bytes(row: CacheRow, kind: CacheType, sizes: Mapping[str, int]) -> CacheBytes:
    kind.check(int(row.cache.axes[-1].at(sizes)), row.path.replace("{i}", "*"))
    payload, overhead = Share(row.formula * ELEMENT_TYPES[kind.element].bits, 8).reduced(), _overhead(row, kind)
    return CacheBytes(row, payload.at(sizes), overhead.at(sizes), payload, overhead)


def _overhead(row: CacheRow, kind: CacheType) -> Share:
    """Return the bytes of scales and zero points: one for each group, or for each whole width."""
    each = element_bytes(kind.scale) * (1 + kind.zero) if kind.scale else 0
    if kind.group:
        return Share(row.formula * each, kind.group).reduced()
    return Share(product((Poly.symbol("batch"), *row.cache.axes[:-1], row.repeats)) * each)
