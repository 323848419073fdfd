"""Bytes of the KV cache against the context length. Exact: layers with a window stop growing."""

from __future__ import annotations

from typing import Annotated

from archcalc.analysis.caches import caches
from archcalc.analysis.context import FIRST_TOKENS, longest_context
from archcalc.errors import InputError
from archcalc.ledger.rows import Ledger
from archcalc.results import Result, Row, Sureness, count, data
from archcalc.spec.model import Spec
from archcalc.spec.workload import Workload, workload
from archcalc.words import msg


class CachePoint(Row, frozen=True, kw_only=True):
    """Bytes of the cache of all sequences at one context length."""

    tokens: Annotated[int, count(msg("context"))]
    kv_cache_bytes: Annotated[int, count(msg("KV cache bytes"), rounded="bytes")]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "exact"


class CacheGrowth(Result, frozen=True, kw_only=True):
    """Bytes of the KV cache of `batch` sequences along the context length.

    In an encoder-decoder the source is as long as the context.
    """

    name: Annotated[str, data(msg("name of the model"))]
    label: Annotated[str, data(msg("title of the model"))]
    batch: Annotated[int, data(msg("sequences"))]
    cache_dtype: Annotated[str, data(msg("format of the cache"))]
    points: Annotated[tuple[CachePoint, ...], data(msg("bytes at each context length"))]


def growth(spec: Spec, ledger: Ledger, batch: int, cache_dtype: str, up_to: int | None = None) -> CacheGrowth:
    """Return the bytes of the cache at powers of two of tokens, up to `up_to` (default: `longest_context`).

    Llama 3 8B in bf16 caches 131,072 bytes per token of a sequence: 17,179,869,184 at 131,072 tokens.
    Raises InputError for a model without a cache, and for more tokens than positions.
    """
    if not ledger.caches:
        raise InputError(msg("{name} caches nothing", name=spec.name), allowed=msg("a decoder"))
    up_to = longest_context(spec) if up_to is None else up_to
    workload(spec, batch=batch, seq=up_to)  # raises for sizes that the model does not support
    first = min(FIRST_TOKENS, up_to)
    lengths = sorted({*(1 << n for n in range(up_to.bit_length()) if first <= 1 << n), up_to})
    return CacheGrowth(
        name=spec.name,
        label=spec.label,
        batch=batch,
        cache_dtype=cache_dtype,
        points=tuple(_point(ledger, batch, cache_dtype, tokens) for tokens in lengths),
    )


def _point(ledger: Ledger, batch: int, cache_dtype: str, tokens: int) -> CachePoint:
    work = Workload(batch=batch, seq=tokens, past=0, source_seq=tokens)
    return CachePoint(tokens=tokens, kv_cache_bytes=sum(row.total_bytes for row in caches(ledger, work, cache_dtype)))
