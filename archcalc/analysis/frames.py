"""A workload's FLOPs as a DataFrame."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from msgspec import structs

from archcalc.analysis.closed_form import Rewriter
from archcalc.analysis.flops import by_op
from archcalc.extras import require_pandas
from archcalc.ledger.rows import Ledger
from archcalc.spec.workload import Workload

if TYPE_CHECKING:
    import pandas as pd

INT64 = 2**63


def flops(ledger: Ledger, work: Workload) -> pd.DataFrame:
    """A row for each product: path, group, component, axes, layers, forward, forward_causal, backward, formula, kind.

    FLOPs are over all `layers`; `forward` sums to the report's. `formula` is of `forward`.
    """
    rewriter = Rewriter(structs.replace(ledger, sizes=ledger.at(work)))
    return _frame(
        {
            "path": op.row.path,
            "group": op.row.group,
            "component": op.row.component,
            "axes": tuple(axis.factored() for axis in op.row.matmul.axes),
            "layers": op.row.layers,
            "forward": op.forward,
            "forward_causal": op.forward_causal,
            "backward": op.backward,
            "formula": rewriter.equation(op.row.formula),
            "kind": "exact",
        }
        for op in by_op(ledger, work)
    )


def _frame(rows: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """Whole numbers whose sum is beyond 64 bits as Python's, which do not wrap."""
    require_pandas()
    import pandas as pd

    found = pd.DataFrame(rows)
    for name in found.columns:
        values = found[name].tolist()
        if isinstance(values[0], int) and sum(values) >= INT64:
            found[name] = pd.Series(values, dtype=object)
    return found
