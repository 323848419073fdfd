"""Effects of activation patching as a page, and as grids for heat maps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from msgspec import Struct, structs

from archcalc.errors import shown
from archcalc.interp.patch.result import (
    COMPONENT_NAMES,
    METRIC_NAMES,
    ActivationPatching,
    EstimateError,
    PatchRun,
    PatchToken,
    RestoredEffect,
)
from archcalc.render.grid import Grid
from archcalc.render.page import Block, Column, Page, Table, Text
from archcalc.render.tables import grid_records, table
from archcalc.render.text import visible
from archcalc.words import Message, in_context, joined, msg

# Columns of a map that a terminal has room for.
N_COLUMNS = 14
FIGURES = {"effect": msg("effect"), "estimate": msg("estimate"), "value": msg("metric")}


class PatchOptions(Struct, frozen=True, kw_only=True):
    """How many of the largest effects are listed, and whether the maps are tables too."""

    top: int = 10
    has_maps: bool = True


def view(result: ActivationPatching, options: PatchOptions) -> Page:
    """Return the page: the largest effects, both passes, the maps, and the errors of the estimates."""
    blocks: list[Block] = [_largest(result, options.top), _passes(result)]
    if result.errors:
        blocks.append(table(msg("Attribution patching against exact effects"), result.errors, EstimateError))
    blocks += [_map_table(grid) for grid in grids(result) if len(grid.columns) <= N_COLUMNS] if options.has_maps else []
    blocks += [_input(result), Text(msg("Notes"), list(_notes(result)))]
    return Page(title(result), subtitle(result), blocks)


def title(result: ActivationPatching) -> Message:
    """Return the title of the page."""
    return msg("{model}: activation patching", model=result.label)


def subtitle(result: ActivationPatching) -> Message:
    """Return the metric and what the effects are relative to."""
    answer = shown(result.answer) if result.answer else result.answer_id
    wrong = "" if result.wrong_id is None else shown(result.wrong) if result.wrong else result.wrong_id
    words = msg("{answer} against {wrong}", answer=answer, wrong=wrong) if result.wrong_id is not None else answer
    return msg(
        "{metric} ({answer}), measured; effect 0: as corrupted, 1: as clean",
        metric=METRIC_NAMES[result.metric],
        answer=words,
    )


def _notes(result: ActivationPatching) -> Iterator[Message]:
    if result.noise is not None:
        yield msg(
            "Corrupted by Gaussian noise at positions {positions}, {scale} standard deviations of the embeddings; "
            "mean of {n} samples.",
            positions=", ".join(map(str, result.noise.positions)),
            scale=f"{result.noise.scale:g}",
            n=result.noise.n_samples,
        )
    if result.window > 1:
        yield msg("{n} layers of attention or FFN outputs are restored together.", n=result.window)
    if any(row.effect is not None or row.estimate is not None for row in result.effects):
        yield msg("Effects are not probabilities: they can be negative or above 1.")
    else:
        yield msg("Both passes have the same metric, so that effects are not defined.")
    if any(len(grid.columns) > N_COLUMNS for grid in grids(result)):
        yield msg("Maps with more columns than fit are left out here; HTML has them all.")


def _largest(result: ActivationPatching, top: int) -> Table:
    """Return the table of the largest effects at single positions; CSV has every effect."""
    at_positions = [row for row in result.effects if row.position is not None]
    largest = sorted(at_positions, key=lambda row: -abs(_strength(row)))[:top]
    shown_rows = [structs.replace(row, token=visible(row.token)) for row in largest]
    whole = table("", result.effects, RestoredEffect)
    return structs.replace(table(msg("Largest effects"), shown_rows, RestoredEffect), records=whole.records)


def _passes(result: ActivationPatching) -> Table:
    return table(msg("Passes"), [structs.replace(row, top=visible(row.top)) for row in result.runs], PatchRun)


def _input(result: ActivationPatching) -> Table:
    rows = [structs.replace(row, clean=visible(row.clean), corrupted=visible(row.corrupted)) for row in result.tokens]
    return table(msg("Input"), rows, PatchToken)


def _strength(row: RestoredEffect) -> float:
    return next((x for x in (row.effect, row.estimate) if x is not None), 0.0)


def _map_table(grid: Grid) -> Table:
    """Return a grid as a table of its first figure."""
    figure = next(iter(grid.values))
    columns = (Column(grid.row_title), *(Column(name, "words") for name in grid.columns))
    rows = [
        (name, *(None if x is None else f"{x + 0.0:.2f}" for x in values))
        for name, values in zip(grid.rows, grid.values[figure], strict=True)
    ]
    return Table(grid.title, columns, rows, records=grid_records(grid.rows, grid.columns, grid.values[figure]))


def grids(result: ActivationPatching) -> list[Grid]:
    """Return the map of each component in each stack: sites × positions; of heads, layers × heads too."""
    found: list[Grid] = []
    for (component, stack), rows in groupby(result.effects, lambda row: (row.component, row.stack)):
        cells = list(rows)
        name = COMPONENT_NAMES[component]
        heading = joined(": ", [stack, name]) if stack else name
        if component == "head":
            found.append(_grid(msg("{component}, all positions", component=heading), *_by_head(cells)))
        found.append(_grid(heading, *_by_position(cells)))
    return found


# The rows of a grid with their names, its columns with theirs, and the titles of both.
_Layout = tuple[list[str], list[list[RestoredEffect | None]], list[str | Message], Message, Message]


def _by_position(cells: Sequence[RestoredEffect]) -> _Layout:
    rows = [list(group) for _, group in groupby(cells, lambda row: (row.path, row.index))]
    columns: list[str | Message] = [
        msg("all") if row.position is None else f"{row.position} {visible(row.token)}".rstrip() for row in rows[0]
    ]
    return [_name(row[0]) for row in rows], [list(row) for row in rows], columns, msg("site"), msg("position")


def _name(row: RestoredEffect) -> str:
    site = row.path.removeprefix(f"{row.stack}.").removeprefix("layers.")
    return site if row.index is None else f"{site} {row.index}"


def _by_head(cells: Sequence[RestoredEffect]) -> _Layout:
    whole = [row for row in cells if row.position is None]
    by_site = {site: list(rows) for site, rows in groupby(whole, lambda row: row.path)}
    n_heads = max(map(len, by_site.values()))
    rows = [[*row, *[None] * (n_heads - len(row))] for row in by_site.values()]
    names = [row[0].path.removeprefix(f"{row[0].stack}.").removeprefix("layers.") for row in by_site.values()]
    return names, rows, [str(head) for head in range(n_heads)], msg("site"), in_context("of attention", "head")


def _grid(
    heading: str | Message,
    names: list[str],
    rows: list[list[RestoredEffect | None]],
    columns: list[str | Message],
    row_title: Message,
    column_title: Message,
) -> Grid:
    figures = {
        figure: tuple(tuple(None if cell is None else getattr(cell, figure) for cell in row) for row in rows)
        for figure in FIGURES
    }
    return Grid(
        title=heading,
        row_title=row_title,
        rows=tuple(names),
        column_title=column_title,
        columns=tuple(columns),
        values={name: x for name, x in figures.items() if any(v is not None for row in x for v in row)}
        or {"value": figures["value"]},
        names=dict(FIGURES),
    )
