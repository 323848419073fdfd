"""The overview of a model: a treemap of its parameters, the closed form of the total, a diagram of the layers."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

import streamlit as st

from archcalc.analysis.closed_form import LETTERS, ClosedForm
from archcalc.analysis.model_report import ModelReport
from archcalc.analysis.params import ComponentParams
from archcalc.analysis.value_names import COMPONENT_NAMES
from archcalc.dashboard import pictures
from archcalc.dashboard.session import say
from archcalc.render.charts.frame import COMPONENT_COLORS
from archcalc.render.diagram import diagram
from archcalc.render.html import Rectangle, rectangles
from archcalc.render.report import treemap
from archcalc.spec import Spec
from archcalc.units import exact, percent
from archcalc.words import msg

# The treemap is laid out for this size; the page stretches it.
_WIDTH, _HEIGHT = 480, 340
# A product of more letters may be broken on a narrow page.
_MAX_LETTERS = 30


def show(result: ModelReport, spec: Spec) -> None:
    """Show treemap and formula beside the diagram; below each other where the page is narrow."""
    parts = (_treemap(result), _legend(result), _formula(result.closed_form))
    drawing = pictures.image(diagram(spec, say()))
    st.html(f'<div class="ac-overview"><div>{"".join(parts)}</div><div>{drawing}</div></div>')


def _treemap(result: ModelReport) -> str:
    title = say()(msg("Where the parameters are"))
    tiles = "".join(map(_tile, rectangles(treemap(result.weights).boxes, _WIDTH, _HEIGHT)))
    return f'<h3>{escape(title)}</h3><div class="ac-map" role="img" aria-label="{escape(title)}">{tiles}</div>'


def _tile(tile: Rectangle) -> str:
    area = tile.area
    sides = {
        "left": area.x / _WIDTH,
        "top": area.y / _HEIGHT,
        "width": area.width / _WIDTH,
        "height": area.height / _HEIGHT,
    }
    style = ";".join(f"{side}:{100 * share:.3f}%" for side, share in sides.items())
    # Right to left, so that a long name is cut at its start: names differ at their end.
    name = f'<b dir="rtl"><bdi dir="ltr">{escape(tile.name.removesuffix(".weight"))}</bdi></b>'
    words = f"{name}<span>{escape(tile.size)}</span>"
    return f'<div style="{style};background-color:{tile.color}" title="{escape(tile.title)}">{words}</div>'


def _legend(result: ModelReport) -> str:
    """Return each component's share, the largest first."""
    rows = sorted((row for row in result.components if row.parameters), key=lambda row: -row.parameters)
    return f'<ul class="ac-legend">{"".join(_entry(row, result.closed_form.value) for row in rows)}</ul>'


def _entry(row: ComponentParams, total: int) -> str:
    name = say()(COMPONENT_NAMES[row.component])
    share = "< 0.01 %" if 2e4 * row.parameters < total else percent(row.parameters, total)
    key = f'<i style="background:{COMPONENT_COLORS[row.component]}"></i>'
    return f'<li title="{exact(row.parameters)}">{key}{escape(name)} <b>{escape(share)}</b></li>'


def _formula(formula: ClosedForm) -> str:
    title, lines = say()(msg("Closed form")), "\n".join(map(_breakable, formula_lines(formula)))
    where = "".join(f"<li>{escape(line)}</li>" for line in _symbols(formula))
    return f'<h3>{escape(title)}</h3><pre class="ac-lines">{lines}</pre><ul class="ac-legend">{where}</ul>'


def _breakable(line: str) -> str:
    """Return the line as HTML; a long product may be broken between its factors."""
    terms = map(escape, line.split(" "))
    return " ".join(term.replace("·", "·<wbr>") if len(term) > _MAX_LETTERS else term for term in terms)


def formula_lines(formula: ClosedForm) -> list[str]:
    """Return the total in letters, on one line; if that is long, a line for each kind of layer, by name."""
    if formula.letters is not None:
        return [f"{formula.letters} = {exact(formula.value)}"]
    return list(formula.lines)


def _symbols(formula: ClosedForm) -> Iterator[str]:
    """Yield the sizes that the letters stand for, then the relations that the formula uses."""
    if formula.letters is not None:
        for name, size in formula.symbols.items():
            yield " = ".join(filter(None, (LETTERS.get(name), name, exact(size))))
    if formula.relations:
        yield say()(msg("with {relations}", relations=", ".join(formula.relations)))
