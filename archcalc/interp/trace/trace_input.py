"""The input of a trace, checked before weights are loaded."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from archcalc.errors import InputError
from archcalc.interp.trace.run import check_ids
from archcalc.run.loading.source import ModelSource
from archcalc.spec import Spec
from archcalc.spec.sites import sites
from archcalc.spec.workload import Workload
from archcalc.words import msg

FLOAT_BYTES = 4


@dataclass(frozen=True)
class TraceInput:
    """The ids of the text, the start of the target (of an encoder-decoder), and the workload of the pass."""

    ids: list[int]
    target: list[int] | None
    work: Workload


def trace_input(source: ModelSource, ids: list[int]) -> TraceInput:
    """Return the input of a trace over these ids. For an encoder-decoder they are the source.

    Raises InputError for no ids, too many, ids outside the vocabulary, and an unknown decoder start token.
    """
    is_seq2seq = source.spec.family == "encoder-decoder"
    if is_seq2seq and source.start_id is None:
        raise InputError(
            msg("not known"), where="decoder_start_token_id", allowed=msg("a token id that the decoder begins with")
        )
    check_ids(source.spec.stacks[0], ids, "prompt")
    work = Workload(batch=1, seq=1, source_seq=len(ids)) if is_seq2seq else Workload(batch=1, seq=len(ids))
    return TraceInput(ids, [source.start_id] if is_seq2seq and source.start_id is not None else None, work)


def recorded_bytes(spec: Spec, work: Workload) -> int:
    """Return the bytes of all recorded sites in float32, which are most of a trace.

    >>> from archcalc.sources import load
    >>> recorded_bytes(load("happy"), Workload(batch=1, seq=3))
    708
    """
    return sum(FLOAT_BYTES * prod(shape) for site in sites(spec) if (shape := site.shape(work)) is not None)
