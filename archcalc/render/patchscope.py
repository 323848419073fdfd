"""Patchscopes as a page, and as a grid of source and target layers."""

from __future__ import annotations

from msgspec import Struct, structs

from archcalc.errors import shown
from archcalc.interp.patchscope.result import PatchedToken, PatchscopeResult, PatchscopeText
from archcalc.render.grid import Grid, Values
from archcalc.render.page import Page, Text
from archcalc.render.tables import table
from archcalc.render.text import visible
from archcalc.words import Message, msg

FIGURES = {"probability": msg("P(first token)"), "answer_probability": msg("P(answer)")}


class PatchscopeOptions(Struct, frozen=True, kw_only=True):
    """How many texts the table shows: those of the likeliest answers of a grid; None for all, in their order."""

    top: int | None = None


def view(result: PatchscopeResult, options: PatchscopeOptions) -> Page:
    """Return the page: the generated texts, the vectors, and the text without a patch."""
    tokens = [structs.replace(row, token=visible(row.token)) for row in result.tokens]
    rows = [structs.replace(row, text=visible(row.text).replace("␣", " ")) for row in result.texts]
    if options.top is not None:
        rows = sorted(rows, key=_strength, reverse=True)[: options.top]
    texts = structs.replace(
        table(msg("Generated texts"), rows, PatchscopeText), records=table("", result.texts, PatchscopeText).records
    )
    notes: list[str | Message] = [
        msg("Without a patch: {text}", text=shown(result.plain.text)),
        msg("Layers count from the input of the first layer, 0, to the output of the last, {n}.", n=result.n_layers),
    ]
    return Page(
        title(result), subtitle(result), [texts, table(msg("Source tokens"), tokens, PatchedToken), Text("", notes)]
    )


def _strength(row: PatchscopeText) -> float:
    return row.probability if row.answer_probability is None else row.answer_probability


def title(result: PatchscopeResult) -> Message:
    """Return the title of the page."""
    return msg("{model}: patchscope", model=result.label)


def subtitle(result: PatchscopeResult) -> Message:
    """Return the source tokens and the target prompt."""
    tokens = ", ".join(repr(row.token) if row.token else str(row.id) for row in result.tokens)
    return msg("{tokens} put into {prompt}, measured", tokens=tokens, prompt=shown(result.prompt, 100))


def grid(result: PatchscopeResult) -> Grid:
    """Return the grid of source layers × target layers; cells that were not asked for are empty."""
    layers = sorted({row.layer for row in result.texts})
    targets = sorted({row.target_layer for row in result.texts})
    cells = {(row.layer, row.target_layer): row for row in result.texts}
    found = {figure: _values(cells, layers, targets, figure) for figure in FIGURES}
    texts = tuple(
        tuple(cells[layer, target].text if (layer, target) in cells else "" for target in targets) for layer in layers
    )
    figures = ["answer_probability", "probability"] if result.answer_id is not None else ["probability"]
    return Grid(
        title=msg("source layers × target layers"),
        row_title=msg("source layer"),
        rows=tuple(map(str, layers)),
        column_title=msg("target layer"),
        columns=tuple(map(str, targets)),
        values={name: found[name] for name in figures},
        names=FIGURES,
        texts=texts,
    )


def _values(cells: dict[tuple[int, int], PatchscopeText], layers: list[int], targets: list[int], figure: str) -> Values:
    return tuple(
        tuple(getattr(cells[layer, target], figure) if (layer, target) in cells else None for target in targets)
        for layer in layers
    )
