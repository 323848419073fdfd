"""What a visitor takes away: the report and the spec as files, and the lines that give the same."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from archcalc.analysis.model_report import model_report
from archcalc.analysis.model_workload import ModelWorkload
from archcalc.contract import Report
from archcalc.dashboard import blocks, same, subject
from archcalc.dashboard.session import say
from archcalc.render import report as pages
from archcalc.words import Message, msg


def show(about: ModelWorkload, report: Report) -> None:
    """A menu, so that the page opens on its answer."""
    with st.popover(say()(msg("Export")), icon=":material/download:", key="export"):
        _files(about, report)
        chosen = subject.chosen()
        same.code(
            f"archcalc report {chosen.words}", f"import archcalc\n\nspec = {chosen.load_line}\narchcalc.report(spec)"
        )


def _files(about: ModelWorkload, report: Report) -> None:
    from archcalc.render.html import as_html
    from archcalc.spec.yaml_writer import as_yaml

    name = about.spec.name
    _file(
        msg("Report (HTML)"),
        "description",
        f"{name}.html",
        "text/html",
        lambda: as_html(pages.full_page(model_report(about), about.spec)),
    )
    _file(msg("Report (JSON)"), "data_object", f"{name}.json", "application/json", lambda: blocks.as_json(report))
    _file(msg("Spec (YAML)"), "edit_document", f"{name}.yaml", "application/yaml", lambda: as_yaml(about.spec))


def _file(label: Message, icon: str, name: str, media_type: str, content: Callable[[], str]) -> None:
    st.download_button(
        say()(label),
        lambda: content().encode(),
        name,
        media_type,
        icon=f":material/{icon}:",
        on_click="ignore",
        width="stretch",
    )
