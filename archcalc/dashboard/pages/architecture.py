"""The page of one architecture: its parameters, where they are, why that many, and the proof."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
import streamlit as st

from archcalc.analysis.formulas import explanation
from archcalc.analysis.model_report import model_report
from archcalc.analysis.model_workload import ModelWorkload
from archcalc.analysis.params import weight_params
from archcalc.contract import Report
from archcalc.dashboard import blocks, charts, export, headline, overview, subject
from archcalc.dashboard.errors import told
from archcalc.dashboard.session import KEPT, choice, say
from archcalc.render import explain, report
from archcalc.render.page import Text
from archcalc.results import plain
from archcalc.words import msg

_VIEW_NAMES: Final = {
    "overview": msg("Overview"),
    "map": msg("Treemap"),
    "diagram": msg("Diagram"),
    "weights": msg("Weights"),
    "layers": msg("Layers"),
    "formulas": msg("Formulas"),
    "claims": msg("Claims"),
    "verify": msg("Verify"),
    "form": msg("Edit"),
}

_FORM: Final = "form"


def page() -> None:
    """The answer, then the view that is chosen; of what is no architecture, the form alone."""
    about = subject.report_subject() if subject.is_valid() else None
    found = _contract(about) if about else None
    if about and found:
        headline.show(about.spec.label, found)
    row = st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center")
    with row:
        view = _view()
    if about and found:
        with row:
            export.show(about, found)
    if view == _FORM:
        _form()
    elif about is None:
        st.stop()
    else:
        with told():
            _VIEWS[view](about)


def _contract(about: ModelWorkload) -> Report:
    from archcalc.contract import report as contract

    return contract(about.spec)


def _view() -> str:
    return choice(st.segmented_control, say()(msg("View")), _VIEW_NAMES, key="view", label_visibility="collapsed")


def _overview(about: ModelWorkload) -> None:
    """The picture and the formula, then the report's tables and notes; its closed form is the formula above."""
    result = model_report(about)
    overview.show(result, about.spec)
    page = report.view(result, report.Options())
    closed_form = next(block for block in page.blocks if isinstance(block, Text))
    rest = [block for block in page.blocks if block is not closed_form]
    blocks.show(msgspec.structs.replace(page, blocks=rest), name=f"{about.spec.name}.report")


def _map(about: ModelWorkload) -> None:
    """The treemap, and the way into it: a step further for every choice, back by taking it away."""
    from archcalc.render.charts.treemap import steps, treemap

    weights, within = weight_params(about.ledger), tuple[str, ...]()
    for depth, label in enumerate((msg("Look into a component"), msg("Look into a weight, down to each tensor"))):
        choices = steps(weights, within)
        if not choices:
            break
        step = st.pills(say()(label), choices, key=f"into_{depth}", **KEPT)
        if step is None:
            break
        within = (*within, step)
    charts.show(treemap(weights, within, say()), name=".".join((about.spec.name, "parameters", *within)))


def _diagram(about: ModelWorkload) -> None:
    from archcalc.dashboard import pictures
    from archcalc.render.diagram import diagram

    pictures.show(diagram(about.spec, say()), name=f"{about.spec.name}.diagram")


def _weights(about: ModelWorkload) -> None:
    views: tuple[report.View, ...] = ("weights", "largest")
    result = model_report(about)
    for view in views:
        blocks.show(report.view(result, report.Options(view)), name=f"{about.spec.name}.{view}")


def _layers(about: ModelWorkload) -> None:
    blocks.show(report.view(model_report(about), report.Options("layers")), name=f"{about.spec.name}.layers")


def _formulas(about: ModelWorkload) -> None:
    say_ = say()
    row = st.text_input(
        say_(msg("Figure or weight")),
        key="row",
        help=say_(
            msg(
                "As in the report's JSON (total, attention, flops.forward), or a path: attn.q, "
                "layers.3.attn.q.weight, layers.*.ffn.*. Empty: the figures that people ask for first."
            )
        ),
        placeholder="attention",
        **KEPT,
    )
    wanted = row.strip() or None
    page = explain.view(about, explain.Options(wanted))
    blocks.show(page, name=f"{about.spec.name}.explain", data=lambda: plain(explanation(about, wanted)))


def _claims(about: ModelWorkload) -> None:
    from archcalc.analysis.papers.claim_results import claim_results
    from archcalc.render import claims

    result = claim_results(about.spec, about.ledger)
    page = claims.view(result, None)
    st.caption(page.subtitle)
    if result:
        blocks.show(page, name=f"{about.spec.name}.claims", data=lambda: plain(result))


def _verify(about: ModelWorkload) -> None:
    from archcalc.dashboard import verifying

    verifying.show(about.spec)


def _form() -> None:
    """Every field of the spec; what is changed here is written into the changed fields on top."""
    from archcalc.dashboard.form import form

    draft = subject.draft()
    form(draft.changed, f"form.{draft.source}", on_change=subject.write)


_VIEWS: Final[dict[str, Callable[[ModelWorkload], None]]] = {
    "overview": _overview,
    "map": _map,
    "diagram": _diagram,
    "weights": _weights,
    "layers": _layers,
    "formulas": _formulas,
    "claims": _claims,
    "verify": _verify,
}
