"""The menu Export: the report and the spec as files, and the lines that give the same."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from archcalc.analysis.model_report import model_report
from archcalc.analysis.model_workload import ModelWorkload
from archcalc.contract import Report
from archcalc.dashboard import chooser, snippets
from archcalc.dashboard.session import say
from archcalc.render import report as pages
from archcalc.render.output import as_json
from archcalc.words import Message, msg


def show(model: ModelWorkload, report: Report) -> None:
    """Draw the menu."""
    with st.popover(say()(msg("Export")), icon=":material/download:", key="export"):
        _downloads(model, report)
        selection = chooser.selection()
        snippets.code(
            f"archcalc report {selection.arguments}",
            f"import archcalc\n\nspec = {selection.load_call}\narchcalc.report(spec)",
        )


def _downloads(model: ModelWorkload, report: Report) -> None:
    from archcalc.render.html import as_html
    from archcalc.spec.yaml_writer import as_yaml

    name = model.spec.name
    _download(
        msg("Report (HTML)"),
        "description",
        f"{name}.html",
        "text/html",
        lambda: as_html(pages.full_page(model_report(model), model.spec)),
    )
    _download(msg("Report (JSON)"), "data_object", f"{name}.json", "application/json", lambda: as_json(report))
    _download(msg("Spec (YAML)"), "edit_document", f"{name}.yaml", "application/yaml", lambda: as_yaml(model.spec))


def _download(label: Message, icon: str, name: str, media_type: str, content: Callable[[], str]) -> None:
    st.download_button(
        say()(label),
        lambda: content().encode(),
        name,
        media_type,
        icon=f":material/{icon}:",
        on_click="ignore",
        width="stretch",
    )
