"""The memory of recorded sites."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

from archcalc.spec import Spec
from archcalc.spec.sites import Site, sites
from archcalc.spec.workload import Workload

FLOAT_BYTES = 4


def recorded_bytes(spec: Spec, work: Workload) -> int:
    """Return the bytes of all sites of a pass in float32, which are most of a trace.

    >>> from archcalc.sources import load
    >>> recorded_bytes(load("happy"), Workload(batch=1, seq=3))
    708
    """
    return sites_bytes(sites(spec), work)


def sites_bytes(recorded: Iterable[Site], work: Workload) -> int:
    """Return the bytes of some sites of a pass in float32."""
    return sum(FLOAT_BYTES * prod(shape) for site in recorded if (shape := site.shape(work)) is not None)
