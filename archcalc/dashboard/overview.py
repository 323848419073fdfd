"""The overview of a model: a treemap of its parameters, the closed form of the total, a diagram of the layers."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

import streamlit as st

from archcalc.analysis.closed_form import LETTERS, MAX_TERMS, Rewriter, in_letters
from archcalc.analysis.model_workload import ModelWorkload
from archcalc.analysis.params import shares
from archcalc.analysis.value_names import COMPONENT_NAMES
from archcalc.dashboard import pictures
from archcalc.dashboard.session import say
from archcalc.ledger.algebra import Poly
from archcalc.ledger.rows import Ledger
from archcalc.render.charts.frame import COMPONENT_COLORS
from archcalc.render.diagram import diagram
from archcalc.render.html import Rectangle, rectangles
from archcalc.render.report import treemap
from archcalc.units import exact, percent
from archcalc.words import msg

# The treemap is laid out for this size; the page stretches it.
_WIDTH, _HEIGHT = 480, 340
# A product of more letters may be broken on a narrow page.
_MAX_LETTERS = 30


def show(model: ModelWorkload) -> None:
    """Draw treemap and formula beside the diagram, above it on a narrow page."""
    parts = (_treemap(model.ledger), _legend(model.ledger), _formula(model.ledger))
    drawing = pictures.image(diagram(model.spec, say()))
    st.html(f'<div class="ac-overview"><div>{"".join(parts)}</div><div>{drawing}</div></div>')


def _treemap(ledger: Ledger) -> str:
    title = say()(msg("Where the parameters are"))
    tiles = "".join(map(_tile, rectangles(treemap(ledger).boxes, _WIDTH, _HEIGHT)))
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


def _legend(ledger: Ledger) -> str:
    """Return the share of each component, the largest first, as HTML."""
    lines = sorted((line for line in shares(ledger) if line.stored_once), key=lambda line: -line.stored_once)
    return f'<ul class="ac-legend">{"".join(_entry(line.label, line.stored_once, ledger) for line in lines)}</ul>'


def _entry(component: str, parameters: int, ledger: Ledger) -> str:
    name = say()(COMPONENT_NAMES[component])
    share = "< 0.01 %" if 2e4 * parameters < ledger.total() else percent(parameters, ledger.total())
    key = f'<i style="background:{COMPONENT_COLORS[component]}"></i>'
    return f'<li title="{exact(parameters)}">{key}{escape(name)} <b>{escape(share)}</b></li>'


def _formula(ledger: Ledger) -> str:
    title, lines = say()(msg("Closed form")), "\n".join(map(_breakable, formula_lines(ledger)))
    where = "".join(f"<li>{escape(line)}</li>" for line in _symbols(ledger))
    return f'<h3>{escape(title)}</h3><pre class="ac-lines">{lines}</pre><ul class="ac-legend">{where}</ul>'


def _breakable(line: str) -> str:
    """Return the line as HTML; a long product may be broken between its factors."""
    terms = map(escape, line.split(" "))
    return " ".join(term.replace("·", "·<wbr>") if len(term) > _MAX_LETTERS else term for term in terms)


def formula_lines(ledger: Ledger) -> list[str]:
    """Return the total in letters on one line, or, if that is long, one line per kind of layer by name."""
    rewriter, total = Rewriter(ledger), ledger.formula()
    simple = rewriter.simplify(total)
    if _is_short(simple):
        return [f"{in_letters(simple)} = {exact(ledger.total())}"]
    return rewriter.steps(total, numbers=False)


def _symbols(ledger: Ledger) -> Iterator[str]:
    """Yield the size of each letter, then the relations that the formula uses."""
    rewriter, total = Rewriter(ledger), ledger.formula()
    simple = rewriter.simplify(total)
    if _is_short(simple):
        named = simple.symbols()
        names = [name for name in LETTERS if name in named] + sorted(named - set(LETTERS))
        yield from (" = ".join(filter(None, (LETTERS.get(name), name, exact(ledger.sizes[name])))) for name in names)
    if relations := ", ".join(map(str, rewriter.used(total))):
        yield say()(msg("with {relations}", relations=relations))


def _is_short(formula: Poly) -> bool:
    return len(formula.terms) <= MAX_TERMS
