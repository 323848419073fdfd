"""FLOPs of a workload and of a training step of it, in every accounting."""

from __future__ import annotations

import msgspec

from archcalc.analysis.elementwise import ElementwiseFlops, by_operation
from archcalc.analysis.flops import OpFlops, by_op
from archcalc.analysis.papers.conventions import Counted, counted
from archcalc.ledger.build import build
from archcalc.ledger.rows import Ledger
from archcalc.spec import Spec
from archcalc.spec.execution import Execution
from archcalc.spec.workload import Workload


class WorkloadFlops(msgspec.Struct, frozen=True):
    """FLOPs by op: of products, of elementwise work, and, if they were asked for, as papers count a training step."""

    spec: Spec
    ledger: Ledger
    work: Workload
    how: Execution
    ops: list[OpFlops]
    elementwise: list[ElementwiseFlops]
    papers: list[Counted]


def workload_flops(spec: Spec, work: Workload, how: Execution, *, conventions: bool = False) -> WorkloadFlops:
    """Return the FLOPs of a spec's workload; with `conventions`, the papers' counts too."""
    ledger = build(spec, how)
    papers = counted(spec, ledger, work) if conventions else []
    return WorkloadFlops(spec, ledger, work, how, by_op(ledger, work), by_operation(ledger, work), papers)
