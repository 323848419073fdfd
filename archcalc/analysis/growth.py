"""Bytes of the cache as the context grows, exact: layers of a window stop growing, a source's keys are its length's."""

from __future__ import annotations

import msgspec

from archcalc.analysis.caches import caches
from archcalc.analysis.context import FAR_TOKENS, FIRST_TOKENS, most_tokens
from archcalc.errors import InputError
from archcalc.ledger.rows import Ledger
from archcalc.spec.model import Spec
from archcalc.spec.workload import Workload, workload
from archcalc.words import msg


class Growth(msgspec.Struct, frozen=True):
    """(tokens, bytes) along the context, of `batch` sequences; of an encoder-decoder the source is as long."""

    batch: int
    dtype: str
    points: tuple[tuple[int, int], ...]


def growth(spec: Spec, ledger: Ledger, batch: int, dtype: str, up_to: int | None = None) -> Growth:
    """What powers of two of tokens leave in the cache, up to `up_to`: by default as a plot of FLOPs goes.

    Llama 3 8B in bf16 keeps 131,072 bytes a token of a sequence: 17,179,869,184 at 131,072 tokens.
    Raises InputError where nothing is cached, or for more tokens than there are positions for.
    """
    if not ledger.caches:
        raise InputError(msg("{name} caches nothing", name=spec.name), allowed=msg("a decoder"))
    up_to = (most_tokens(spec) or max(spec.n_ctx, FAR_TOKENS)) if up_to is None else up_to
    workload(spec, batch=batch, seq=up_to)  # refuses what cannot be
    first = min(FIRST_TOKENS, up_to)
    lengths = sorted({*(1 << n for n in range(up_to.bit_length()) if first <= 1 << n), up_to})
    works = [Workload(batch=batch, seq=tokens, past=0, source_seq=tokens) for tokens in lengths]
    sizes = [sum(one.total_bytes for one in caches(ledger, work, dtype)) for work in works]
    return Growth(batch, dtype, tuple(zip(lengths, sizes, strict=True)))
