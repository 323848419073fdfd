"""The page of some architectures side by side: a table, bars, what a workload costs, and what differs."""

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
from archcalc.dashboard import blocks, charts, same, subject
from archcalc.dashboard.computing import sizes
from archcalc.dashboard.errors import told
from archcalc.dashboard.session import KEPT, choice, say
from archcalc.render import comparison, costs
from archcalc.results import plain
from archcalc.sources import load
from archcalc.spec import Spec
from archcalc.spec.workload import workload
from archcalc.words import msg

FEWEST, MOST = 2, 6
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
    "diff": msg("What differs"),
}

_USUAL: Final = ["llama-3-70b", "deepseek-v3"]
_DTYPES: Final = ("bf16", *(dtype for dtype in DTYPES if dtype != "bf16"))


class Compared(msgspec.Struct, frozen=True):
    """One of those that are compared: its spec, and what the command line and Python are told of it.

    `words` may have settings of its own, which `file`, the spec as it can be saved, has not.
    """

    spec: Spec
    words: str
    file: str
    load_line: str


def page() -> None:
    """Which ones, then the view that is chosen."""
    found, say_ = _chosen(), say()
    if not FEWEST <= len(found) <= MOST:
        st.warning(
            say_(msg("Two to six architectures can be compared; {n} chosen.", n=len(found))), icon=":material/rule:"
        )
        return
    label = say_(msg("View"))
    view = choice(st.segmented_control, label, _VIEW_NAMES, key="compare_view", label_visibility="collapsed")
    with told():
        _VIEWS[view](found)


def _chosen() -> list[Compared]:
    """The architecture of the moment, unless it is left out or chosen again, and presets."""
    say_, own = say(), subject.chosen()
    names = st.multiselect(
        say_(msg("Presets to compare")), presets.names(), default=_USUAL, key="compare_models", **KEPT
    )
    with_own = st.toggle(
        say_(msg("With the architecture above: {name}", name=own.spec.name)), value=True, key="compare_own", **KEPT
    )
    found = [_preset(name) for name in names]
    if with_own and own.spec not in [one.spec for one in found]:
        file = shlex.quote(f"./{own.spec.name}.yaml" if own.settings else own.source)
        found.insert(0, Compared(own.spec, own.words, file, own.load_line))
    return found


@st.cache_data(show_spinner=False)
def _preset(name: str) -> Compared:
    return Compared(load(name), name, name, f"archcalc.load({name!r})")


def _table(found: list[Compared]) -> None:
    specs = [one.spec for one in found]
    page = comparison.view(model_comparison(specs), None)
    blocks.show(page, name="compare", data=lambda: [report(spec) for spec in specs])
    _same("compare", found, found, "[archcalc.report(spec) for spec in specs]")


def _bars(found: list[Compared]) -> None:
    from archcalc.render.charts.side_by_side import chart

    say_, row = say(), st.container(horizontal=True)
    with row:
        of: Any = choice(st.segmented_control, say_(msg("Length of a bar")), _LENGTHS, key="compare_of")
        scale: Any = choice(
            st.segmented_control,
            say_(msg("Scale")),
            _SCALES,
            key="compare_scale",
        )
    specs = [one.spec for one in found]
    charts.show(chart(specs, scale, say_, of_share=of == "share"), name="compare.bars")
    _same("compare", found, found, '[archcalc.report(spec)["params"]["by_component"] for spec in specs]')


def _costs(found: list[Compared]) -> None:
    say_, specs = say(), [one.spec for one in found]
    columns = st.columns(3)
    usual = min(workload(spec).seq for spec in specs)
    far = min(map(longest_context, specs))
    with columns[0]:
        batch = sizes.size(
            say_(msg("Batch (sequences)")), "compare_batch", default=1, least=1, most=sizes.MOST_SEQUENCES
        )
    with columns[1]:
        seq = sizes.size(say_(msg("Context (new tokens, seq)")), "compare_seq", default=usual, least=1, most=far)
    dtype: Any = columns[2].selectbox(
        say_(msg("Weights and caches stored as (dtype)")), _DTYPES, key="compare_dtype", **KEPT
    )
    asked: dict[str, Any] = {"batch": batch or 1, "seq": seq or usual, "dtype": dtype}
    result = workload_costs(dict(zip(unique_names(specs), specs, strict=True)), **asked)
    blocks.show(costs.view(result), name="compare.costs", data=lambda: plain(result))
    options = sizes.in_words(asked)
    lines = "\n".join(f"archcalc report {one.words}{options}" for one in found)
    same.lines(lines, _python(found, f"[archcalc.report(spec{sizes.in_python(asked)}) for spec in specs]"))


def _diff(found: list[Compared]) -> None:
    named = dict(zip(unique_names([one.spec for one in found]), found, strict=True))
    left, right = st.columns(2)
    a = named[left.selectbox(say()(msg("From")), list(named), key="compare_left", **KEPT)]
    b = named[right.selectbox(say()(msg("To")), list(named), index=1, key="compare_right", **KEPT)]
    result = model_difference(a.spec, b.spec)
    blocks.show(comparison.difference_view(result, None), name="diff", data=lambda: plain(result))
    same.lines(f"archcalc diff {a.file} {b.words}", _python([a, b], "archcalc.diff(*specs)"))
    _say_of_file([a])


def _same(command: str, found: list[Compared], told_by_file: list[Compared], python: str) -> None:
    """`--set` would be applied to all: what has settings of its own is told as a file."""
    same.lines(f"archcalc {command} {' '.join(one.file for one in told_by_file)}", _python(found, python))
    _say_of_file(told_by_file)


def _say_of_file(found: list[Compared]) -> None:
    """Where the file comes from, if there is one."""
    for one in found:
        if one.file != one.words:
            st.caption(
                say()(
                    msg(
                        "{file} is the architecture above with its changed fields, as its page saves it.",
                        file=f"`{one.file}`",
                    )
                )
            )


def _python(found: list[Compared], then: str) -> str:
    loaded = "".join(f"    {one.load_line},\n" for one in found)
    return f"import archcalc\n\nspecs = [\n{loaded}]\n{then}"


_VIEWS: Final[dict[str, Callable[[list[Compared]], None]]] = {
    "table": _table,
    "bars": _bars,
    "costs": _costs,
    "diff": _diff,
}
