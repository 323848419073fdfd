"""The page of one architecture: its parameters, where they are, why that many, and the proof."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import streamlit as st

from archcalc.analysis.formulas import formulas
from archcalc.analysis.model_workload import ModelWorkload
from archcalc.dashboard import blocks, charts, figures, same, subject
from archcalc.dashboard.errors import told
from archcalc.dashboard.figures import Figure
from archcalc.dashboard.session import KEPT, choice, lang, plain, say
from archcalc.render import explain, report
from archcalc.units import exact, human, human_bytes
from archcalc.words import msg, translator

_VIEW_NAMES: Final = {
    "parameters": msg("Parameters"),
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
_HEADLINES: Final = (
    (msg("Parameters"), "params", "total", human),
    (msg("Active per token"), "params", "active", human),
    (msg("Without embedding, positions, head"), "params", "non_embedding", human),
    (msg("FLOPs of a forward pass"), "flops", "forward", human),
    (msg("Bytes of the weights, bf16"), "memory", "weights_bytes", human_bytes),
    (msg("Bytes of the KV cache"), "memory", "kv_cache_bytes", human_bytes),
)


def page() -> None:
    """Headlines, then the view that is chosen; of what is no architecture, the form alone."""
    if subject.is_valid():
        _headlines(subject.report_subject())
    label = say()(msg("View"))
    view = choice(st.segmented_control, label, _VIEW_NAMES, key="view", label_visibility="collapsed")
    if view == _FORM:
        _form()
        return
    with told():
        _VIEWS[view](subject.report_subject())


def _headlines(about: ModelWorkload) -> None:
    found = _contract(about)
    st.markdown(f"**{plain(about.spec.label)}**")
    figures.show(_figures(found))
    _files(about, found)


def _contract(about: ModelWorkload) -> dict[str, Any]:
    from archcalc.contract import report as contract

    return contract(about.spec)


def _figures(found: dict[str, Any]) -> list[Figure]:
    """What is nothing (an encoder's cache), or says the total again, is left out."""
    say_, total = say(), found["params"]["total"]
    return [
        Figure(say_(label), exact(count), in_words(count), found["kinds"].get(f"{part}.{name}", "exact"))
        for label, part, name, in_words in _HEADLINES
        if (count := found[part][name]) and (name != "active" or count != total)
    ]


def _files(about: ModelWorkload, found: dict[str, Any]) -> None:
    """The whole report, and the spec, as files; the lines that give the same."""
    chosen, say_, name = subject.chosen(), say(), about.spec.name
    from archcalc.render.html import as_html
    from archcalc.spec.written import as_yaml

    row = st.container(horizontal=True)
    row.download_button(
        say_(msg("Report (HTML)")),
        lambda: as_html(report.full_page(about)).encode(),
        f"{name}.html",
        "text/html",
        icon=":material/description:",
        on_click="ignore",
    )
    row.download_button(
        say_(msg("Report (JSON)")),
        lambda: blocks.as_json(found).encode(),
        f"{name}.json",
        "application/json",
        icon=":material/data_object:",
        on_click="ignore",
    )
    row.download_button(
        say_(msg("Spec (YAML)")),
        lambda: as_yaml(about.spec).encode(),
        f"{name}.yaml",
        "application/yaml",
        icon=":material/edit_document:",
        on_click="ignore",
    )
    same.lines(
        f"archcalc report {chosen.words}",
        f"import archcalc\n\nspec = {chosen.load_line}\narchcalc.report(spec)",
    )


def _parameters(about: ModelWorkload) -> None:
    blocks.show(report.page(about, "summary"), name=f"{about.spec.name}.report")


def _map(about: ModelWorkload) -> None:
    """The treemap, and the way into it: a step further for every choice, back by taking it away."""
    from archcalc.render.charts.treemap import steps, treemap

    within: tuple[str, ...] = ()
    for depth, label in enumerate((msg("Look into a component"), msg("Look into a weight, down to each tensor"))):
        choices = steps(about.ledger, within)
        if not choices:
            break
        step = st.pills(say()(label), choices, key=f"into_{depth}", **KEPT)
        if step is None:
            break
        within = (*within, step)
    charts.show(treemap(about.ledger, within, say()), name=".".join((about.spec.name, "parameters", *within)))


def _diagram(about: ModelWorkload) -> None:
    from archcalc.dashboard import pictures
    from archcalc.render.diagram import diagram

    pictures.show(diagram(about.spec, say()), name=f"{about.spec.name}.diagram")


def _weights(about: ModelWorkload) -> None:
    for view in ("weights", "largest"):
        blocks.show(report.page(about, view), name=f"{about.spec.name}.{view}")


def _layers(about: ModelWorkload) -> None:
    blocks.show(report.page(about, "layers"), name=f"{about.spec.name}.layers")


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
    page = explain.page(about, wanted, translator(lang()))
    blocks.show(page, name=f"{about.spec.name}.explain", data=lambda: formulas(about, wanted))


def _claims(about: ModelWorkload) -> None:
    from archcalc.analysis.papers.claims import check
    from archcalc.render import claims

    found = [(about.spec.name, one) for one in check(about.spec, about.ledger)]
    page = claims.page(found)
    st.caption(page.subtitle)
    if found:
        blocks.show(page, name=f"{about.spec.name}.claims", data=lambda: claims.data(found))


def _verify(about: ModelWorkload) -> None:
    from archcalc.dashboard import verifying

    verifying.show(about.spec)


def _form() -> None:
    """Every field of the spec; what is changed here is written into the changed fields on top."""
    from archcalc.dashboard.form import form

    draft = subject.draft()
    form(draft.changed, f"form.{draft.source}", on_change=subject.write)


_VIEWS: Final[dict[str, Callable[[ModelWorkload], None]]] = {
    "parameters": _parameters,
    "map": _map,
    "diagram": _diagram,
    "weights": _weights,
    "layers": _layers,
    "formulas": _formulas,
    "claims": _claims,
    "verify": _verify,
}
