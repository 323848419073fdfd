"""Caches as a + b · tokens by kind of layer, and as engines keep them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final, Literal

from msgspec import structs

from archcalc.analysis.caches import CacheBytes, caches
from archcalc.analysis.memory import Dtype
from archcalc.formats.element_types import element_bytes
from archcalc.ledger.rows import Ledger, StateRow
from archcalc.results import Row, Sureness, count, data, text
from archcalc.spec.workload import Workload
from archcalc.words import msg

# Tokens of a text that is longer than any window.
_LONG: Final = 1 << 28
# What llama-server reserves states for unless `--parallel` says otherwise.
LLAMA_CPP_SLOTS: Final = 4
# A window's cache has cells for a micro-batch besides, in whole blocks (llama.cpp src/llama-kv-cache-iswa.cpp).
LLAMA_CPP_MICRO_BATCH: Final = 512
LLAMA_CPP_CELLS: Final = 256
Engine = Literal["archcalc", "full_pages", "llama.cpp"]
_ENGINE_NAMES: Final = {
    "archcalc": msg("windows kept, states for each sequence"),
    "full_pages": msg("full pages for windows too (vLLM without hybrid allocation)"),
    "llama.cpp": msg("llama.cpp: windows and fp32 states for {n} slots, all else unified", n=LLAMA_CPP_SLOTS),
}


class CacheLine(Row, frozen=True, kw_only=True):
    """What the layers of one kind keep for a sequence: fixed bytes and bytes for each token, from some length on."""

    group: Annotated[str, text(msg("kind of layer"))]
    layers: Annotated[int, count(msg("layers"))]
    fixed_bytes: Annotated[int, count(msg("fixed"), rounded="bytes")]
    token_bytes: Annotated[int, count(msg("each token"))]
    from_tokens: Annotated[int, count(msg("from tokens"), is_summed=False)]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "exact"


class EngineCache(Row, frozen=True, kw_only=True):
    """What an engine keeps after the workload's tokens."""

    engine: Annotated[Engine, text(msg("kept as"), names=_ENGINE_NAMES)]
    kv_cache_bytes: Annotated[int, count(msg("KV cache bytes"), rounded="bytes")]
    state_bytes: Annotated[int, count(msg("bytes of states of a fixed size"), rounded="bytes")]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "exact"


def cache_lines(ledger: Ledger, work: Workload, cache_dtype: str, dtype: Dtype) -> tuple[CacheLine, ...]:
    """Return a line for each kind of layer that keeps anything, of one sequence; the source is that of the workload."""
    one = structs.replace(work, batch=1, past=0)
    ends = [caches(ledger, structs.replace(one, seq=_LONG * n), cache_dtype) for n in (1, 2)]
    sizes = ledger.at(structs.replace(one, seq=_LONG))
    groups = dict.fromkeys([row.group for row in ledger.caches] + [row.group for row in ledger.states])
    lines = []
    for group in groups:
        pairs = [pair for pair in zip(*ends, strict=True) if pair[0].row.group == group]
        states = [row for row in ledger.states if row.group == group]
        growth = sum(second.total_bytes - first.total_bytes for first, second in pairs)
        slope = -(-growth // _LONG)  # of entries of several tokens, rounded up
        cached = sum(first.total_bytes for first, _ in pairs) - growth
        lines.append(
            CacheLine(
                group=group,
                layers=max(len(row.layer_indices) or 1 for row in (*(first.row for first, _ in pairs), *states)),
                fixed_bytes=cached + sum(_state(row, ledger, one, dtype) for row in states),
                token_bytes=slope,
                from_tokens=max((sizes[name] for first, _ in pairs for name in _windows(first)), default=0),
            )
        )
    return tuple(lines)


def engine_caches(ledger: Ledger, work: Workload, cache_dtype: str, dtype: Dtype) -> Iterator[EngineCache]:
    """Yield what is kept by convention, where conventions differ for this model."""
    kept = caches(ledger, work, cache_dtype)
    bytes_kept = sum(each.total_bytes for each in kept)
    state_bytes = sum(_state(row, ledger, work, dtype) for row in ledger.states)
    has_windows = any(map(_windows, kept))
    if has_windows or ledger.states:
        yield EngineCache(engine="archcalc", kv_cache_bytes=bytes_kept, state_bytes=state_bytes)
    if has_windows:
        full = sum(_in_full(each, ledger, work) for each in kept)
        yield EngineCache(engine="full_pages", kv_cache_bytes=full, state_bytes=state_bytes)
    if has_windows or ledger.states:
        slots = structs.replace(work, batch=max(work.batch, LLAMA_CPP_SLOTS))
        in_fp32 = sum(_state(row, ledger, slots, "fp32") for row in ledger.states)
        in_cells = sum(_in_cells(each, ledger, work, slots.batch) for each in kept)
        yield EngineCache(engine="llama.cpp", kv_cache_bytes=in_cells, state_bytes=in_fp32)


def _state(row: StateRow, ledger: Ledger, work: Workload, dtype: Dtype) -> int:
    return int(row.bytes_formula(element_bytes(dtype)).at(ledger.at(work)))


def _windows(cache: CacheBytes) -> list[str]:
    """Return the sizes of a cached tensor that a window bounds."""
    return [name for axis in cache.row.cache.axes for name in axis.symbols() if name.startswith("cached(")]


def _in_cells(cache: CacheBytes, ledger: Ledger, work: Workload, slots: int) -> int:
    """Return the bytes of a cache in llama.cpp: a window's has cells for all slots and a micro-batch."""
    names = _windows(cache)
    if not names:
        return cache.total_bytes
    unbounded, tokens = ledger.at(structs.replace(work, past=0, seq=_LONG)), work.batch * (work.past + work.seq)
    cells = {name: min(tokens, slots * unbounded[name] + LLAMA_CPP_MICRO_BATCH) for name in names}
    padded = {name: -(-count // LLAMA_CPP_CELLS) * LLAMA_CPP_CELLS for name, count in cells.items()}
    one = ledger.at(structs.replace(work, batch=1))
    return int(cache.total_bytes * cache.row.elements(one | padded) // cache.row.elements(ledger.at(work)))


def _in_full(cache: CacheBytes, ledger: Ledger, work: Workload) -> int:
    """Return the bytes of a cache that keeps every token, whatever its window."""
    sizes = ledger.at(work)
    full = sizes | dict.fromkeys(_windows(cache), work.past + work.seq)
    return int(cache.total_bytes * cache.row.elements(full) // cache.row.elements(sizes))
