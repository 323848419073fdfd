"""DataFrames of saved activations."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from msgspec import structs

from archcalc.analysis.activations import by_tensor, sureness
from archcalc.analysis.closed_form import Rewriter
from archcalc.extras import require_pandas
from archcalc.ledger.rows import Ledger
from archcalc.spec.execution import Execution
from archcalc.spec.workload import Workload

if TYPE_CHECKING:
    import pandas as pd

INT64 = 2**63


def activations(ledger: Ledger, work: Workload, how: Execution) -> pd.DataFrame:
    """A row for each kept tensor: path, tensor, group, component, dtype, layers, bytes, square, formula, kind.

    `path` is the operation that keeps it. The ledger is one of a training step carried out as `how` says. Bytes are
    over all `layers` (0 for what serves them all); `square` marks what grows with the square of the sequence.
    """
    rewriter = Rewriter(structs.replace(ledger, sizes=ledger.at(work)))
    return _frame(
        {
            "path": one.row.path,
            "tensor": one.row.activation.label,
            "group": one.row.group,
            "component": one.row.component,
            "dtype": one.row.activation.dtype,
            "layers": len(one.row.layer_indices),
            "bytes": one.total_bytes,
            "square": one.row.is_square,
            "formula": rewriter.equation(one.row.formula),
            "kind": sureness(how),
        }
        for one in by_tensor(ledger, work)
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
