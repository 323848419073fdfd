"""One step of a trace as a matrix to draw and a table to read, around the place that is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from archcalc.interp.trace.expression import Call, Expression, nodes
from archcalc.render.charts.heat_map import Matrix
from archcalc.render.page import Column, Table
from archcalc.render.trace import Spelled
from archcalc.render.trace_words import FUNCTIONS
from archcalc.words import ENGLISH, Translator, in_context, msg

if TYPE_CHECKING:
    from archcalc.interp.trace.run import Trace, TracedStep
    from archcalc.interp.trace.worked_example import StepCheck

# What is shown of more: places around the one that is looked at, dimensions, the likeliest tokens.
MOST_PLACES, MOST_WIDE, MOST_TOKENS = 16, 32, 12
# Kinds of steps whose values name something; axes of heads.
_NAMING: Final = ("ids", "chosen", "choice")
_HEADS: Final = "NK1"


class Look(msgspec.Struct, frozen=True):
    """What of a large value is looked at: one query head, and from which dimension on."""

    head: int = 0
    start: int = 0


def n_heads(trace: Trace, one: TracedStep) -> int:
    """How many query heads the part of a step has; 1 where it has none."""
    if one.axes[0] not in _HEADS:
        return 1
    return int(trace[f"{one.step.name.rpartition('.')[0]}.scores"].shape[0])


def n_wide(one: TracedStep) -> int:
    """How many dimensions a step's vectors have; 0 where these are tokens, or numbers of something."""
    return 0 if one.axes[-1] in "TSVYPk" else int(one.value.shape[-1])


def places(trace: Trace, one: TracedStep, spelled: Spelled, *, keys: bool = False) -> list[str]:
    """What stands at each place of a step's text, or of its keys': '2 很'."""
    name = one.step.name
    is_source = name.startswith("encoder.") or (".cross." in name and (keys or one.axes[1] == "S"))
    ids = trace.ids["encoder.ids"] if is_source else next(reversed(trace.ids.values()))
    return [f"{place} {in_short(spelled(token)) or token}" for place, token in enumerate(ids)]


def in_short(text: str) -> str:
    """A token's text as it is, quoted where its ends would not be seen."""
    return text if text.isprintable() and text == text.strip() else repr(text)


def matrix(trace: Trace, one: TracedStep, spelled: Spelled, look: Look = Look(), say: Translator = ENGLISH) -> Matrix:  # noqa: B008
    """What a step made, as rows and columns."""
    value, axes, head = _flat(trace, one, one.value, look)
    n_rows, n_columns = value.shape
    row_names = places(trace, one, spelled) if axes[0] in "TS" else _numbers(n_rows)
    here = min(trace.position, n_rows - 1) if axes[0] == "T" else None
    rows = _around(here if axes[0] in "TS" else None, n_rows)
    columns, column_names = _columns(trace, one, spelled, axes, value, look)
    cells = _cells(value, _masked(trace, one, look), rows, columns)
    notes = [say(msg("hatched: masked, which is −∞ and not zero"))] if any(None in row for row in cells) else []
    if len(rows) < n_rows or len(columns) < n_columns:
        counts = {"rows": len(rows), "of_rows": n_rows, "columns": len(columns), "of_columns": n_columns}
        notes.append(
            say(
                msg(
                    "{rows} of {of_rows} rows and {columns} of {of_columns} columns are shown.",
                    **{name: f"{count:,}" for name, count in counts.items()},
                )
            )
        )
    attends = axes[1] == "S"
    return Matrix(
        title=one.step.name if head is None else say(msg("{name}, head {head}", name=one.step.name, head=head)),
        notes=tuple(notes),
        rows=tuple(row_names[i] for i in rows) if axes[0] != " " else ("",),
        columns=column_names,
        values=cells,
        row_title=say(msg("query")) if attends else "",
        column_title=say(msg("key")) if attends else "",
        hidden=say(in_context("cell", "masked")),
        here=None if here is None else list(rows).index(here),
        are_numbers=one.step.kind in _NAMING,
    )


def as_table(found: Matrix, say: Translator = ENGLISH) -> Table:
    """A matrix as a table; what a mask hides is said."""
    columns = [Column(name, "count" if found.are_numbers else "decimal") for name in found.columns]
    rows = [
        (name, *(found.hidden if x is None else x for x in row))
        for name, row in zip(found.rows, found.values, strict=True)
    ]
    return Table("", (Column(found.row_title or say(msg("place"))), *columns), rows)


def printed_table(held: StepCheck, say: Translator = ENGLISH) -> Table:
    """What texts print of a step beside what is computed, number by number."""
    columns = [Column(str(i), "decimal") for i in range(len(held.computed))]
    rows = [(say(msg("printed")), *held.reference.published), (say(msg("computed")), *held.computed)]
    return Table("", (Column(say(msg("As texts print it"))), *columns), rows)


def functions_of(formula: Expression, say: Translator = ENGLISH) -> list[tuple[str, str]]:
    """Return how the functions of a formula are called, and what each computes."""
    used = {node.function for node in nodes(formula) if isinstance(node, Call)}
    every = FUNCTIONS.items()
    return [(called, say(explained.meaning)) for called, explained in every if not used.isdisjoint(explained.names)]


def _flat(trace: Trace, one: TracedStep, value: Any, look: Look) -> tuple[Any, str, int | None]:
    """A value as two axes: of one head, or at the place that is looked at; which head, where there are more."""
    axes = one.axes
    if len(axes) == 1:
        return value[None], f" {axes}", None
    if len(axes) == 2:
        return value, axes, None
    if axes[0] in _HEADS:
        head = look.head * len(value) // n_heads(trace, one)
        return value[head], axes[1:], head if len(value) > 1 else None
    return value[min(trace.position, len(value) - 1)], axes[1:], None


def _masked(trace: Trace, one: TracedStep, look: Look) -> Any:
    """Where a mask hides a cell: there scores are −∞, and a pattern's share is nothing for that."""
    if one.step.kind not in ("scores", "pattern"):
        return None
    scores = trace[f"{one.step.name.rpartition('.')[0]}.scores"]
    found, _, _ = _flat(trace, one, scores, look)
    return found == -float("inf")


def _cells(value: Any, masked: Any, rows: range, columns: list[int]) -> tuple[tuple[float | None, ...], ...]:
    found = value[rows.start : rows.stop][:, columns].tolist()
    if masked is not None:
        hidden = masked[rows.start : rows.stop][:, columns].tolist()
        found = [
            [None if h else x for x, h in zip(row, own, strict=True)] for row, own in zip(found, hidden, strict=True)
        ]
    return tuple(map(tuple, found))


def _columns(
    trace: Trace, one: TracedStep, spelled: Spelled, axes: str, value: Any, look: Look
) -> tuple[list[int], tuple[str, ...]]:
    """Which columns are shown, and their names: keys around the place, the likeliest tokens, dimensions from one on."""
    n = value.shape[1]
    if axes[1] in "TS":
        names, shown = places(trace, one, spelled, keys=True), list(_around(min(trace.position, n - 1), n))
    elif axes[1] == "V":
        best = value[trace.position].topk(min(MOST_TOKENS, n)).indices.tolist()
        shown = best if n > MOST_TOKENS else list(range(n))
        names = [f"{in_short(spelled(token))} {token}".strip() for token in range(n)] if n <= MOST_TOKENS else []
        return shown, tuple(names) or tuple(f"{in_short(spelled(token))} {token}".strip() for token in shown)
    else:
        start = max(0, min(look.start, n - MOST_WIDE))
        names, shown = _numbers(n), list(range(start, min(start + MOST_WIDE, n)))
    return shown, tuple(names[i] for i in shown)


def _numbers(n: int) -> list[str]:
    return [str(i) for i in range(n)]


def _around(place: int | None, n: int) -> range:
    """So many places around one."""
    start = max(0, min((place or 0) - MOST_PLACES // 2, n - MOST_PLACES))
    return range(start, min(start + MOST_PLACES, n))
