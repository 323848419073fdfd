"""A workload's FLOPs and bytes as DataFrames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from msgspec import structs

from archcalc.analysis.activations import by_tensor, sureness
from archcalc.analysis.caches import caches
from archcalc.analysis.closed_form import Rewriter
from archcalc.analysis.flops import by_op
from archcalc.analysis.weights import WeightBytes, weights
from archcalc.extras import require_pandas
from archcalc.ledger.algebra import product
from archcalc.ledger.rows import CacheRow, Ledger, WeightRow
from archcalc.spec.execution import Execution
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


def memory(ledger: Ledger, work: Workload, dtype: str = "bf16", cache_dtype: str = "bf16") -> pd.DataFrame:
    """A row for each weight and cache: path, group, what, component, format, layers, elements, bytes, formula, kind.

    `what` is 'weight', 'buffer' (stored, in no total) or 'cache'. Bytes are over all `layers`, scales and zeros of the
    format included; a weight whose layers are stored in two formats has two rows. `formula` is of the elements.
    Raises InputError for a format that is not known, or that a tensor's shape does not fit.
    """
    return _frame([*_weights(ledger, dtype), *_caches(ledger, work, cache_dtype)])


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


def _weights(ledger: Ledger, dtype: str) -> Iterator[dict[str, Any]]:
    rewriter = Rewriter(ledger)
    for row, line in _by_row(ledger, weights(ledger, dtype)):
        formula = row.formula if line.layers == row.layers else product(row.weight.axes) * line.layers
        yield {
            "path": line.path,
            "group": row.group,
            "what": "buffer" if line.kind == "buffer" else "weight",
            "component": row.component,
            "format": line.format,
            "layers": line.layers,
            "elements": row.count * line.layers,
            "bytes": line.total_bytes,
            "formula": rewriter.equation(formula),
            "kind": "exact",
        }


def _by_row(ledger: Ledger, lines: list[WeightBytes]) -> Iterator[tuple[WeightRow, WeightBytes]]:
    """Each line with its row: they stand in the order of the rows, a row's lines making up its layers."""
    waiting = iter(lines)
    for row in ledger.rows:
        layers = row.layers
        while layers:
            line = next(waiting)
            layers -= line.layers
            yield row, line


def _caches(ledger: Ledger, work: Workload, dtype: str) -> Iterator[dict[str, Any]]:
    sizes = ledger.at(work)
    rewriter = Rewriter(structs.replace(ledger, sizes=sizes))
    for kept in caches(ledger, work, dtype):
        yield {
            "path": kept.row.path,
            "group": kept.row.group,
            "what": "cache",
            "component": _component(ledger, kept.row),
            "format": dtype,
            "layers": max(1, len(kept.row.layer_indices)),
            "elements": kept.row.formula.at(sizes),
            "bytes": kept.total_bytes,
            "formula": rewriter.equation(kept.row.formula),
            "kind": "exact",
        }


def _component(ledger: Ledger, cache: CacheRow) -> str:
    """What the module that keeps it belongs to, as the products that it computes itself do."""
    module, turns = cache.path.rpartition(".")[0], set(cache.layer_indices)
    own = (row for row in ledger.matmuls if row.path.rpartition(".")[0] == module and turns & set(row.layer_indices))
    return next(row.component for row in own)


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
