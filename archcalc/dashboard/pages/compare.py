"""The page Compare: architectures side by side in a table, bars, costs of a workload, and differences."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any, Final

import msgspec
import streamlit as st

from archcalc import presets
from archcalc.analysis.comparison import model_comparison, model_difference, unique_names
from archcalc.analysis.context import longest_context
from archcalc.analysis.costs import workload_costs
from archcalc.analysis.memory import DTYPES
from archcalc.contract import report
from archcalc.dashboard import blocks, charts, chooser, snippets
from archcalc.dashboard.computing import sizes
from archcalc.dashboard.error_box import show_errors
from archcalc.dashboard.session import IN_URL, choice, say
from archcalc.render import comparison, costs
from archcalc.results import plain
from archcalc.sources import load
from archcalc.spec import Spec
from archcalc.spec.workload import workload
from archcalc.words import msg

MIN_MODELS, MAX_MODELS = 2, 6
_LENGTHS: Final = {
    "count": msg("Parameters"),
    "share": msg("Share of the model"),
}
_SCALES: Final = {
    "linear": msg("Linear"),
    "log": msg("Logarithmic"),
}

_VIEW_NAMES: Final = {
    "table": msg("Table"),
    "bars": msg("Bars"),
    "costs": msg("Costs of a workload"),
    "diff": msg("Differences"),
}

_DEFAULT_MODELS: Final = ["llama-3-70b", "deepseek-v3"]
_DTYPES: Final = ("bf16", *(dtype for dtype in DTYPES if dtype != "bf16"))


class ComparedModel(msgspec.Struct, frozen=True):
    """A model of the comparison, and how to load it on the command line and in Python.

    `arguments` may contain `--set`; `file` is the same spec saved to a file, without settings.
    """

    spec: Spec
    arguments: str
    file: str
    load_call: str


def page() -> None:
    """Draw the choice of models, then the chosen view."""
    models, say_ = _compared_models(), say()
    if not MIN_MODELS <= len(models) <= MAX_MODELS:
        st.warning(say_(msg("Choose two to six architectures; found {n}.", n=len(models))), icon=":material/rule:")
        return
    label = say_(msg("View"))
    view = choice(st.segmented_control, label, _VIEW_NAMES, key="compare_view", label_visibility="collapsed")
    with show_errors():
        _VIEWS[view](models)


def _compared_models() -> list[ComparedModel]:
    """Return the current architecture, unless it is left out or a duplicate, and the chosen presets."""
    say_, selection = say(), chooser.selection()
    names = st.multiselect(
        say_(msg("Presets to compare")), presets.names(), default=_DEFAULT_MODELS, key="compare_models", **IN_URL
    )
    has_selection = st.toggle(
        say_(msg("Include the architecture above: {name}", name=selection.spec.name)),
        value=True,
        key="compare_own",
        **IN_URL,
    )
    models = [_preset(name) for name in names]
    if has_selection and selection.spec not in [model.spec for model in models]:
        file = shlex.quote(f"./{selection.spec.name}.yaml" if selection.settings else selection.source)
        models.insert(0, ComparedModel(selection.spec, selection.arguments, file, selection.load_call))
    return models


@st.cache_data(show_spinner=False)
def _preset(name: str) -> ComparedModel:
    return ComparedModel(load(name), name, name, f"archcalc.load({name!r})")


def _table(models: list[ComparedModel]) -> None:
    specs = [model.spec for model in models]
    page = comparison.view(model_comparison(specs), None)
    blocks.show(page, name="compare", data=lambda: [report(spec) for spec in specs])
    _show_snippets("compare", models, models, "[archcalc.report(spec) for spec in specs]")


def _bars(models: list[ComparedModel]) -> None:
    from archcalc.render.charts.side_by_side import chart

    say_, row = say(), st.container(horizontal=True)
    with row:
        length: Any = choice(st.segmented_control, say_(msg("Bar length")), _LENGTHS, key="compare_of")
        scale: Any = choice(
            st.segmented_control,
            say_(msg("Scale")),
            _SCALES,
            key="compare_scale",
        )
    specs = [model.spec for model in models]
    charts.show(chart(specs, scale, say_, of_share=length == "share"), name="compare.bars")
    _show_snippets("compare", models, models, '[archcalc.report(spec)["params"]["by_component"] for spec in specs]')


def _costs(models: list[ComparedModel]) -> None:
    say_, specs = say(), [model.spec for model in models]
    columns = st.columns(3)
    default_seq = min(workload(spec).seq for spec in specs)
    longest = min(map(longest_context, specs))
    with columns[0]:
        batch = sizes.draw_size(
            say_(msg("Batch (sequences)")), "compare_batch", default=1, min_value=1, slider_max=sizes.MAX_BATCH
        )
    with columns[1]:
        seq = sizes.draw_size(
            say_(msg("Context (new tokens, seq)")),
            "compare_seq",
            default=default_seq,
            min_value=1,
            slider_max=longest,
        )
    dtype: Any = columns[2].selectbox(
        say_(msg("Weights and caches stored as (dtype)")), _DTYPES, key="compare_dtype", **IN_URL
    )
    options: dict[str, Any] = {"batch": batch or 1, "seq": seq or default_seq, "dtype": dtype}
    result = workload_costs(dict(zip(unique_names(specs), specs, strict=True)), **options)
    blocks.show(costs.view(result), name="compare.costs", data=lambda: plain(result))
    option_text = sizes.as_options(options)
    lines = "\n".join(f"archcalc report {model.arguments}{option_text}" for model in models)
    snippets.show(lines, _python(models, f"[archcalc.report(spec{sizes.as_arguments(options)}) for spec in specs]"))


def _diff(models: list[ComparedModel]) -> None:
    by_name = dict(zip(unique_names([model.spec for model in models]), models, strict=True))
    left, right = st.columns(2)
    a = by_name[left.selectbox(say()(msg("From")), list(by_name), key="compare_left", **IN_URL)]
    b = by_name[right.selectbox(say()(msg("To")), list(by_name), index=1, key="compare_right", **IN_URL)]
    result = model_difference(a.spec, b.spec)
    blocks.show(comparison.difference_view(result, None), name="diff", data=lambda: plain(result))
    snippets.show(f"archcalc diff {a.file} {b.arguments}", _python([a, b], "archcalc.diff(*specs)"))
    _explain_files([a])


def _show_snippets(command: str, models: list[ComparedModel], by_file: list[ComparedModel], python: str) -> None:
    """Show the lines to copy; a model with settings is a file, because `--set` would apply to all models."""
    snippets.show(f"archcalc {command} {' '.join(model.file for model in by_file)}", _python(models, python))
    _explain_files(by_file)


def _explain_files(models: list[ComparedModel]) -> None:
    """Explain where the file of a model comes from."""
    for model in models:
        if model.file != model.arguments:
            st.caption(
                say()(
                    msg(
                        "{file} is the architecture above with its changed fields. Its page exports it as YAML.",
                        file=f"`{model.file}`",
                    )
                )
            )


def _python(models: list[ComparedModel], then: str) -> str:
    loaded = "".join(f"    {model.load_call},\n" for model in models)
    return f"import archcalc\n\nspecs = [\n{loaded}]\n{then}"


_VIEWS: Final[dict[str, Callable[[list[ComparedModel]], None]]] = {
    "table": _table,
    "bars": _bars,
    "costs": _costs,
    "diff": _diff,
}
