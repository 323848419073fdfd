"""A step of a trace as a matrix for a heat map and a table, around the position of the trace."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from archcalc.render.charts.heat_map import Matrix
from archcalc.render.page import Column, Records, Table
from archcalc.render.tables import grid_records
from archcalc.words import ENGLISH, Translator, in_context, msg

if TYPE_CHECKING:
    from archcalc.interp.trace.run import Trace, TracedStep
    from archcalc.interp.trace.worked_example import StepCheck

# The most positions, dimensions and tokens that a matrix has.
MAX_POSITIONS, MAX_DIMENSIONS, MAX_TOKENS = 16, 32, 12
# Kinds of steps whose values are ids or indices; axes of heads.
_INDICES: Final = ("ids", "chosen", "choice")
_HEAD_AXES: Final = "NK1"

# Returns the text of a token.
Piece = Callable[[int], str]


class Slice(msgspec.Struct, frozen=True):
    """The part of a large value in a matrix: one query head, and dimensions from `start` on."""

    head: int = 0
    start: int = 0


def n_heads(trace: Trace, traced: TracedStep) -> int:
    """Return how many query heads the attention of a step has, 1 for other steps."""
    if traced.axes[0] not in _HEAD_AXES:
        return 1
    return int(trace[f"{traced.step.name.rpartition('.')[0]}.scores"].shape[0])


def n_dimensions(traced: TracedStep) -> int:
    """Return the width of a step's vectors; 0 if its last axis is tokens, experts or none."""
    return 0 if traced.axes[-1] in "TSVYPk" else int(traced.value.shape[-1])


def position_names(trace: Trace, traced: TracedStep, piece: Piece, *, keys: bool = False) -> list[str]:
    """Return the positions of a step, or of its keys, with their tokens: '2 很'."""
    step = traced.step
    has_keys = step.key_ids and (keys or "S" in traced.axes[:2])
    own = step.key_ids if has_keys else next((path for path in trace.ids if _is_of(step.name, path)), "")
    ids = trace.ids.get(own) or next(reversed(trace.ids.values()))
    found = [f"{position} {token_text(piece(token)) or token}" for position, token in enumerate(ids)]
    has_key_axis = has_keys and "S" in traced.axes
    n_before = traced.n_lead + (traced.n_learned if has_key_axis else 0)
    found = [*(f"P {i}" for i in range(n_before)), *found]
    n_keys = traced.value.shape[traced.axes.index("S")] if has_key_axis else 0
    return found + [f"Σ {i}" for i in range(n_keys - len(found))]  # the sums of blocks are keys after the tokens


def _is_of(name: str, ids: str) -> bool:
    """Return whether a step is of the stack that reads these ids; what follows the stacks is of none."""
    return name.startswith(ids.removesuffix("ids"))


def token_text(text: str) -> str:
    """Return the text of a token, quoted if it begins or ends with a space or is not printable."""
    return text if text.isprintable() and text == text.strip() else repr(text)


def matrix(
    trace: Trace,
    traced: TracedStep,
    piece: Piece,
    part: Slice = Slice(),  # noqa: B008
    say: Translator = ENGLISH,
) -> Matrix:
    """Return the value of a step as rows and columns."""
    value, axes, head = _two_axes(trace, traced, traced.value, part)
    n_rows, n_columns = value.shape
    row_names = position_names(trace, traced, piece) if axes[0] in "TSP" else _numbers(n_rows)
    here = traced.row(trace.position) if axes[0] == "T" else None
    rows = _around(here if axes[0] in "TS" else None, n_rows)
    columns, column_names = _columns(trace, traced, piece, axes, value, part)
    cells = _cells(value, _mask(trace, traced, value, part), rows, columns)
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
    has_keys = axes[1] == "S"
    return Matrix(
        title=traced.step.name if head is None else say(msg("{name}, head {head}", name=traced.step.name, head=head)),
        notes=tuple(notes),
        rows=tuple(row_names[i] for i in rows) if axes[0] != " " else ("",),
        columns=column_names,
        values=cells,
        row_title=say(msg("query")) if has_keys else "",
        column_title=say(msg("key")) if has_keys else "",
        mask_label=say(in_context("cell", "masked")),
        here=None if here is None else list(rows).index(here),
        are_indices=traced.step.kind in _INDICES,
    )


def as_table(cells: Matrix, say: Translator = ENGLISH) -> Table:
    """Return a matrix as a table; masked cells have the mask's label, and no value in its records."""
    columns = [Column(name, "count" if cells.are_indices else "decimal") for name in cells.columns]
    rows = [
        (name, *(cells.mask_label if x is None else x for x in row))
        for name, row in zip(cells.rows, cells.values, strict=True)
    ]
    heading = Column(cells.row_title or say(in_context("of a trace", "position")))
    return Table("", (heading, *columns), rows, records=grid_records(cells.rows, cells.columns, cells.values))


def published_table(check: StepCheck, say: Translator = ENGLISH) -> Table:
    """Return the published numbers of a step beside the computed ones."""
    columns = [Column(str(i), "decimal") for i in range(len(check.computed))]
    rows = [(say(msg("published")), *check.reference.published), (say(msg("computed")), *check.computed)]
    pairs = enumerate(zip(check.reference.published, check.computed, strict=True))
    cells = [{"index": i, "published": published, "computed": computed} for i, (published, computed) in pairs]
    records = Records(("index", "published", "computed"), cells)
    return Table("", (Column(say(msg("Published values"))), *columns), rows, records=records)


def _two_axes(trace: Trace, traced: TracedStep, value: Any, part: Slice) -> tuple[Any, str, int | None]:
    """Return a value with two axes, of one head or at the position of the trace; their names; the head of several."""
    axes = traced.axes
    if len(axes) == 1:
        return value[None], f" {axes}", None
    if len(axes) == 2:
        return value, axes, None
    if axes[0] in _HEAD_AXES:
        head = part.head * len(value) // n_heads(trace, traced)
        return value[head], axes[1:], head if len(value) > 1 else None
    return value[traced.row(trace.position)], axes[1:], None


def _mask(trace: Trace, traced: TracedStep, value: Any, part: Slice) -> Any:
    """Return which cells are masked: those that are −∞, in a pattern those whose score is."""
    if traced.step.kind != "pattern":
        return value == -float("inf")
    all_scores = trace[f"{traced.step.name.rpartition('.')[0]}.scores"]
    scores, _, _ = _two_axes(trace, traced, all_scores, part)
    return scores == -float("inf")


def _cells(value: Any, mask: Any, rows: range, columns: list[int]) -> tuple[tuple[float | None, ...], ...]:
    cells, is_masked = (part[rows.start : rows.stop][:, columns].tolist() for part in (value, mask))
    return tuple(
        tuple(None if m else x for x, m in zip(row, mask_row, strict=True))
        for row, mask_row in zip(cells, is_masked, strict=True)
    )


def _columns(
    trace: Trace, traced: TracedStep, piece: Piece, axes: str, value: Any, part: Slice
) -> tuple[list[int], tuple[str, ...]]:
    """Return the columns and their names: keys around the position, the likeliest tokens, or dimensions."""
    n = value.shape[1]
    if axes[1] == "V":
        tokens = list(range(n)) if n <= MAX_TOKENS else value[trace.position].topk(MAX_TOKENS).indices.tolist()
        return tokens, tuple(f"{token_text(piece(token))} {token}".strip() for token in tokens)
    if axes[1] in "TS":
        names = position_names(trace, traced, piece, keys=True)
        columns = list(_around(min(traced.n_learned + traced.n_lead + trace.position, n - 1), n))
    else:
        start = max(0, min(part.start, n - MAX_DIMENSIONS))
        names, columns = _numbers(n), list(range(start, min(start + MAX_DIMENSIONS, n)))
    return columns, tuple(names[i] for i in columns)


def _numbers(n: int) -> list[str]:
    return [str(i) for i in range(n)]


def _around(position: int | None, n: int) -> range:
    """Return the positions around one."""
    start = max(0, min((position or 0) - MAX_POSITIONS // 2, n - MAX_POSITIONS))
    return range(start, min(start + MAX_POSITIONS, n))
