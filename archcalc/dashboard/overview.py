"""The picture beside the answer: where the parameters are, the layers, and the closed form of the total."""

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

# The shape that the treemap is laid out for; the page stretches it.
_WIDTH, _HEIGHT = 480, 340
# Letters of a product that fits on a line of a narrow page.
_LONG = 30


def show(about: ModelWorkload) -> None:
    """Treemap and formula beside the diagram; below each other where the page is narrow."""
    parts = (_treemap(about.ledger), _legend(about.ledger), _formula(about.ledger))
    drawing = pictures.image(diagram(about.spec, say()))
    st.html(f'<div class="ac-overview"><div>{"".join(parts)}</div><div>{drawing}</div></div>')


def _treemap(ledger: Ledger) -> str:
    title = say()(msg("Where the parameters are"))
    tiles = "".join(map(_tile, rectangles(treemap(ledger).boxes, _WIDTH, _HEIGHT)))
    return f'<h3>{escape(title)}</h3><div class="ac-map" role="img" aria-label="{escape(title)}">{tiles}</div>'


def _tile(tile: Rectangle) -> str:
    at = tile.area
    sides = {"left": at.x / _WIDTH, "top": at.y / _HEIGHT, "width": at.width / _WIDTH, "height": at.height / _HEIGHT}
    style = ";".join(f"{side}:{100 * share:.3f}%" for side, share in sides.items())
    # Right to left, so that a long name is cut at its beginning: its end tells tiles apart.
    name = f'<b dir="rtl"><bdi dir="ltr">{escape(tile.name.removesuffix(".weight"))}</bdi></b>'
    words = f"{name}<span>{escape(tile.size)}</span>"
    return f'<div style="{style};background-color:{tile.color}" title="{escape(tile.title)}">{words}</div>'


def _legend(ledger: Ledger) -> str:
    """Each component's share, the largest first."""
    lines = sorted((line for line in shares(ledger) if line.stored_once), key=lambda line: -line.stored_once)
    return f'<ul class="ac-legend">{"".join(_entry(line.label, line.stored_once, ledger) for line in lines)}</ul>'


def _entry(component: str, parameters: int, ledger: Ledger) -> str:
    name = say()(COMPONENT_NAMES[component])
    share = "< 0.01 %" if 2e4 * parameters < ledger.total() else percent(parameters, ledger.total())
    key = f'<i style="background:{COMPONENT_COLORS[component]}"></i>'
    return f'<li title="{exact(parameters)}">{key}{escape(name)} <b>{escape(share)}</b></li>'


def _formula(ledger: Ledger) -> str:
    title, lines = say()(msg("Closed form")), "\n".join(map(_breakable, formula_lines(ledger)))
    where = "".join(f"<li>{escape(line)}</li>" for line in _where(ledger))
    return f'<h3>{escape(title)}</h3><pre class="ac-lines">{lines}</pre><ul class="ac-legend">{where}</ul>'


def _breakable(line: str) -> str:
    """The line as HTML; a product too long for a narrow page may be broken between its factors."""
    terms = map(escape, line.split(" "))
    return " ".join(term.replace("·", "·<wbr>") if len(term) > _LONG else term for term in terms)


def formula_lines(ledger: Ledger) -> list[str]:
    """The total in letters, on one line; where that would be long, a line for each kind of layer, by name."""
    rewriter, total = Rewriter(ledger), ledger.formula()
    simple = rewriter.simplify(total)
    if _is_short(simple):
        return [f"{in_letters(simple)} = {exact(ledger.total())}"]
    return rewriter.steps(total, numbers=False)


def _where(ledger: Ledger) -> Iterator[str]:
    """The sizes that the letters stand for, then the relations that the formula draws on."""
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
