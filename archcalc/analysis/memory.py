"""Bytes of weights and caches, exact."""

from __future__ import annotations

from typing import Literal, TypedDict

import msgspec

from archcalc.errors import InputError, nearest, shown
from archcalc.ledger.types import CacheRow, Ledger
from archcalc.spec.workload import Workload

Dtype = Literal["fp32", "fp16", "bf16", "fp8"]
BYTES: dict[Dtype, int] = {"fp32": 4, "fp16": 2, "bf16": 2, "fp8": 1}


def check_dtype(dtype: str) -> None:
    """Raises InputError for a dtype that is none."""
    if dtype not in BYTES:
        raise InputError(f"found {shown(dtype)}{nearest(str(dtype), BYTES)}", where="dtype", allowed=", ".join(BYTES))


class Memory(TypedDict):
    """Bytes by what they hold.

    weights_bytes: all parameters. kv_cache_bytes: after past + seq tokens, the cross cache included. state_bytes: the
    state of recurrent layers.
    """

    weights_bytes: int
    kv_cache_bytes: int
    state_bytes: int


class CacheBytes(msgspec.Struct, frozen=True):
    """One cached tensor's bytes over all its layers and sequences."""

    row: CacheRow
    total_bytes: int


def caches(ledger: Ledger, work: Workload, dtype: Dtype) -> list[CacheBytes]:
    """Every cached tensor's bytes."""
    sizes = ledger.at(work)
    return [CacheBytes(row, row.elements(sizes) * BYTES[dtype]) for row in ledger.caches]


def summary(ledger: Ledger, work: Workload, dtype: Dtype) -> Memory:
    """The totals of a workload in a dtype."""
    return {
        "weights_bytes": ledger.total() * BYTES[dtype],
        "kv_cache_bytes": sum(cache.total_bytes for cache in caches(ledger, work, dtype)),
        "state_bytes": 0,
    }
