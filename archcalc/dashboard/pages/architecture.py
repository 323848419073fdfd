"""The page Architecture: parameters, where they are, their formulas, and the verification."""

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
from archcalc.dashboard import blocks, charts, chooser, export, headline, overview
from archcalc.dashboard.error_box import show_errors
from archcalc.dashboard.session import IN_URL, choice, say
from archcalc.render import explain
from archcalc.render import report as report_pages
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
    """Draw the headline, then the chosen view. Invalid input has the view Edit only."""
    model = chooser.model_workload() if chooser.has_selection() else None
    report_data = _report(model) if model else None
    if model and report_data:
        headline.show(model.spec.label, report_data)
    row = st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center")
    with row:
        view = _view()
    if model and report_data:
        with row:
            export.show(model, report_data)
    if view == _FORM:
        _form()
    elif model is None:
        st.stop()
    else:
        with show_errors():
            _VIEWS[view](model)


def _report(model: ModelWorkload) -> Report:
    from archcalc.contract import report

    return report(model.spec)


def _view() -> str:
    return choice(st.segmented_control, say()(msg("View")), _VIEW_NAMES, key="view", label_visibility="collapsed")


def _overview(model: ModelWorkload) -> None:
    """Draw the overview, then tables and notes of the report without the closed form, which the overview has."""
    result = model_report(model)
    overview.show(result, model.spec)
    page = report_pages.view(result, report_pages.ReportOptions())
    closed_form = next(block for block in page.blocks if isinstance(block, Text))
    rest = [block for block in page.blocks if block is not closed_form]
    blocks.show(msgspec.structs.replace(page, blocks=rest), name=f"{model.spec.name}.report")


def _map(model: ModelWorkload) -> None:
    """Draw the treemap, and choices that zoom into a component or a weight."""
    from archcalc.render.charts.treemap import steps, treemap

    weights, within = weight_params(model.ledger), tuple[str, ...]()
    for depth, label in enumerate((msg("Zoom into a component"), msg("Zoom into a weight"))):
        choices = steps(weights, within)
        if not choices:
            break
        step = st.pills(say()(label), choices, key=f"into_{depth}", **IN_URL)
        if step is None:
            break
        within = (*within, step)
    charts.show(treemap(weights, within, say()), name=".".join((model.spec.name, "parameters", *within)))


def _diagram(model: ModelWorkload) -> None:
    from archcalc.dashboard import pictures
    from archcalc.render.diagram import diagram

    pictures.show(diagram(model.spec, say()), name=f"{model.spec.name}.diagram")


def _weights(model: ModelWorkload) -> None:
    views: tuple[report_pages.View, ...] = ("weights", "largest")
    result = model_report(model)
    for view in views:
        blocks.show(report_pages.view(result, report_pages.ReportOptions(view)), name=f"{model.spec.name}.{view}")


def _layers(model: ModelWorkload) -> None:
    blocks.show(
        report_pages.view(model_report(model), report_pages.ReportOptions("layers")), name=f"{model.spec.name}.layers"
    )


def _formulas(model: ModelWorkload) -> None:
    say_ = say()
    row = st.text_input(
        say_(msg("Number or weight")),
        key="row",
        help=say_(
            msg(
                "As in the report's JSON (total, attention, flops.forward), or a path: attn.q, "
                "layers.3.attn.q.weight, layers.*.ffn.*. Empty: the main numbers."
            )
        ),
        placeholder="attention",
        **IN_URL,
    )
    result = explanation(model, row.strip() or None)
    blocks.show(explain.view(result), name=f"{model.spec.name}.explain", data=lambda: plain(result))


def _claims(model: ModelWorkload) -> None:
    from archcalc.analysis.papers.claim_results import claim_results
    from archcalc.render import claims

    result = claim_results(model.spec, model.ledger)
    page = claims.view(result, None)
    st.caption(page.subtitle)
    if result:
        blocks.show(page, name=f"{model.spec.name}.claims", data=lambda: plain(result))


def _verify(model: ModelWorkload) -> None:
    from archcalc.dashboard import verification

    verification.show(model.spec)


def _form() -> None:
    """Draw every field of the spec. Edits go into the changed fields at the top."""
    from archcalc.dashboard.form import draw_form

    draft = chooser.draft()
    draw_form(draft.changed, f"form.{draft.source}", on_change=chooser.apply_changes)


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
