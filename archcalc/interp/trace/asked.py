"""What a model is asked to be traced on, checked before its weights are loaded."""

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
class Asked:
    """A text's ids, the target's where there is one (begun, and no more), and what such a pass takes room for."""

    ids: list[int]
    target: list[int] | None
    work: Workload


def asked(found: ModelSource, ids: list[int]) -> Asked:
    """What a trace over these ids reads: of an encoder-decoder the source, its target begun.

    Raises InputError for ids that are not of the vocabulary, too many or none, and where it is not known with which
    token a target begins.
    """
    crosses = found.spec.family == "encoder-decoder"
    if crosses and found.start_id is None:
        raise InputError(
            msg("not known"), where="decoder_start_token_id", allowed=msg("a token id that the decoder begins with")
        )
    check_ids(found.spec.stacks[0], ids, "prompt")
    work = Workload(batch=1, seq=1, source_seq=len(ids)) if crosses else Workload(batch=1, seq=len(ids))
    return Asked(ids, [found.start_id] if crosses and found.start_id is not None else None, work)


def recorded_bytes(spec: Spec, work: Workload) -> int:
    """Bytes that the sites of a pass take in float32: most of what its trace holds.

    >>> from archcalc.sources import load
    >>> recorded_bytes(load("happy"), Workload(batch=1, seq=3))
    708
    """
    return sum(FLOAT_BYTES * prod(shape) for site in sites(spec) if (shape := site.shape(work)) is not None)
