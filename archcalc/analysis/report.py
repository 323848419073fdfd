"""Every figure of a report, of one model or of a sweep."""

from __future__ import annotations

from typing import TypedDict

from archcalc.analysis import flops, memory, params
from archcalc.analysis.memory import Dtype
from archcalc.ledger.rows import Ledger
from archcalc.results import Sureness
from archcalc.spec.workload import Workload

# The kind of each figure.
KINDS: dict[str, Sureness] = {"params": "exact", "flops.forward": "exact", "flops": "exact", "memory": "exact"}


class Figures(TypedDict):
    """Figures of a model and a workload."""

    params: params.Summary
    flops: flops.Flops
    memory: memory.Memory


def figures(ledger: Ledger, work: Workload, dtype: Dtype, weights_bytes: int | None = None) -> Figures:
    """Return the figures of a ledger, a workload, and a dtype of weights and caches.

    `weights_bytes` are those of the weights as files store them, if they are not in the dtype.
    """
    bytes_ = memory.summary(ledger, work, dtype)
    return {
        "params": params.summary(ledger),
        "flops": flops.summary(ledger, work),
        "memory": bytes_ if weights_bytes is None else bytes_ | {"weights_bytes": weights_bytes},
    }
