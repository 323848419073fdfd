"""Parameters: totals, shares and tables, as folds over the ledger's rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypedDict, get_args

import msgspec

from archcalc.extras import require_pandas
from archcalc.ledger.leaves import COMPONENTS, Component, Kind
from archcalc.ledger.rows import Ledger, WeightRow

if TYPE_CHECKING:
    import pandas as pd

# The tensors that accountings leave out by name, and the components that "non-embedding" leaves out whole.
TOKEN_TABLE, SOURCE_TABLE, HEAD_MATRIX = "embed.tokens.weight", "encoder.embed.tokens.weight", "head.weight"
EMBEDDING: tuple[Component, ...] = ("embedding", "position", "head")


class Summary(TypedDict):
    """The totals of a model, in parameters.

    total: trainable and frozen, each stored tensor once. untied: the head's matrix counted beside the embedding.
    active: what one token uses, embedding and head included; its variants leave out the input embedding's table (unless
    the head reads it too), or the embedding's table and the head's matrix. non_embedding: without embedding, positions
    and head. buffers are stored beside the parameters and are in none of the totals.
    """

    total: int
    untied: int
    active: int
    active_without_input_embedding: int
    active_without_embedding_and_head: int
    non_embedding: int
    trainable: int
    frozen: int
    buffers: int
    by_component: dict[Component, int]


def summary(ledger: Ledger) -> Summary:
    """All totals of a ledger."""
    by_component, by_kind = dict.fromkeys(COMPONENTS, 0), dict.fromkeys(get_args(Kind), 0)
    for row in ledger.rows:
        by_kind[row.kind] += row.total
        if row.is_counted:
            by_component[row.component] += row.total
    total = ledger.total()
    assert sum(by_component.values()) == total, "every counted row has one component"
    active = sum(row.active for row in ledger.counted_rows)
    table, source, head = (_named(ledger.rows, name) for name in (TOKEN_TABLE, SOURCE_TABLE, HEAD_MATRIX))
    return {
        "total": total,
        "untied": total + sum(row.total for row in ledger.tied),
        "active": active,
        "active_without_input_embedding": active - source - (0 if ledger.tied else table),
        "active_without_embedding_and_head": active - source - table - head,
        "non_embedding": total - sum(by_component[component] for component in EMBEDDING),
        "trainable": by_kind["trainable"],
        "frozen": by_kind["frozen"],
        "buffers": by_kind["buffer"],
        "by_component": by_component,
    }


def total_of(ledger: Ledger, component: Component) -> int:
    """Parameters of one component."""
    return sum(row.total for row in ledger.counted_rows if row.component == component)


def biases_of(ledger: Ledger, component: Component) -> int:
    """Parameters of one component that are added, not multiplied."""
    return sum(row.total for row in ledger.counted_rows if row.component == component and row.is_bias)


def _named(rows: Iterable[WeightRow], path: str) -> int:
    return sum(row.total for row in rows if row.path == path)


class Share(msgspec.Struct, frozen=True):
    """One line of the breakdown, in both accountings: each tensor once, and a tied head's matrix counted apart."""

    label: str
    stored_once: int
    head_apart: int
    biases: int

    @classmethod
    def sum(cls, label: str, lines: Sequence[Share]) -> Share:
        """The line that these lines add up to."""
        return cls(
            label,
            sum(line.stored_once for line in lines),
            sum(line.head_apart for line in lines),
            sum(line.biases for line in lines),
        )


def shares(ledger: Ledger) -> list[Share]:
    """The components that a model has, with a tied head's matrix as nothing or as a matrix of its own."""
    lines = []
    for component in COMPONENTS:
        once, biases = total_of(ledger, component), biases_of(ledger, component)
        apart = once + sum(row.total for row in ledger.tied if row.component == component)
        if apart:
            lines.append(Share(component, once, apart, biases))
    return lines


class LayerLine(msgspec.Struct, frozen=True):
    """One layer (or what stands outside of the layers), by component."""

    label: str
    group: str
    total: int
    active: int
    by_component: dict[Component, int]


def per_layer(ledger: Ledger) -> list[LayerLine]:
    """A line for each layer that owns weights, in the order of the rows, and one for all that is in no layer."""
    lines: dict[str, list[WeightRow]] = {}
    for row in ledger.counted_rows:
        before, repeated, _ = row.path.partition("{i}")
        labels = [f"{before}{index}" for index in row.indices] if repeated else ["outside the layers"]
        for label in labels:
            lines.setdefault(label, []).append(row)
    sizes = Counter(name for row in ledger.counted_rows for name in _groups(row))
    return [_layer_line(label, lines[label], sizes) for label in sorted(lines, key=_layer_order)]


def _layer_order(label: str) -> tuple[str, int]:
    prefix, _, index = label.rpartition(".")
    return (prefix, int(index)) if index.isdigit() else ("", 0)


def _layer_line(label: str, rows: list[WeightRow], sizes: Counter[str]) -> LayerLine:
    by_component = {component: sum(row.count for row in rows if row.component == component) for component in COMPONENTS}
    active = sum(row.active // row.layers for row in rows)
    return LayerLine(label, _group_of(rows, sizes), sum(by_component.values()), active, by_component)


def _groups(row: WeightRow) -> set[str]:
    return set(row.group.split(", ")) if row.group else set()


def _group_of(rows: list[WeightRow], sizes: Counter[str]) -> str:
    """The group that has all of a layer's rows and no others: of those that have them all, the one with the fewest."""
    named = [groups for row in rows if (groups := _groups(row))]
    common = set.intersection(*named) if named else set()
    return ", ".join(sorted(name for name in common if sizes[name] == min(sizes[other] for other in common)))


def largest(ledger: Ledger, n: int = 10) -> list[WeightRow]:
    """The rows with the largest single tensors, largest first."""
    return sorted(ledger.rows, key=lambda row: row.count, reverse=True)[:n]


def frame(ledger: Ledger) -> pd.DataFrame:
    """A row for each weight: path, group, component, kind, axes, shape, count, layers, total, share, active, formula.

    `share` is of the total; a buffer's is 0, for no total has it.
    """
    require_pandas()
    import pandas as pd

    from archcalc.analysis.closed_form import Rewriter

    total, simplify = ledger.total(), Rewriter(ledger)
    return pd.DataFrame(
        {
            "path": row.path,
            "group": row.group,
            "component": row.component,
            "kind": row.kind,
            "axes": tuple(axis.factored() for axis in row.weight.axes),
            "shape": row.shape,
            "count": row.count,
            "layers": row.layers,
            "total": row.total,
            "share": row.total / total if row.is_counted and total else 0.0,
            "active": row.active,
            "formula": simplify.equation(row.formula),
        }
        for row in ledger.rows
    )
