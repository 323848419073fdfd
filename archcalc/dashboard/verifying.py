"""The proof on the page: the spec as a model on the meta device, held against the numbers."""

from __future__ import annotations

import streamlit as st

from archcalc.dashboard import blocks, job, same, subject
from archcalc.dashboard.session import KEPT, say
from archcalc.extras import require
from archcalc.proof import Comparisons, Reading
from archcalc.render import verify as verify_page
from archcalc.results import plain
from archcalc.spec import Spec
from archcalc.spec.yaml_writer import as_yaml
from archcalc.units import exact
from archcalc.words import msg


def show(spec: Spec) -> None:
    """The button that begins, and what was found of this very spec."""
    say_, key = say(), f"verified_{hash(as_yaml(spec))}"
    st.caption(
        say_(
            msg(
                "Every stored tensor is compared by name, shape and kind: the numbers above on one side, a PyTorch "
                "model built from the same spec on the other. Nothing is allocated."
            )
        )
    )
    against = st.toggle(
        say_(msg("Against transformers too")),
        key="against",
        help=say_(
            msg("A third reading: the model that transformers builds of the same architecture, where it has one.")
        ),
        **KEPT,
    )
    if st.button(
        say_(msg("Build the model on the meta device and compare")), type="primary", icon=":material/verified:"
    ):
        third: Reading | None = "transformers" if against else None
        st.session_state[key] = job.run(say_(msg("Building and comparing…")), lambda: _verified(spec, third), key=key)
    if key in st.session_state:
        _result(spec, st.session_state[key])
    chosen = subject.chosen()
    more = " --against transformers" if against else ""
    option = ', against="transformers"' if against else ""
    same.lines(
        f"archcalc verify {chosen.words}{more}", f"import archcalc\n\narchcalc.verify({chosen.load_line}{option})"
    )


def _verified(spec: Spec, against: Reading | None) -> Comparisons:
    require("torch", does=msg("building the model"), extra="model")
    from archcalc.proof import verify

    return verify(spec, against=against)


def _result(spec: Spec, result: Comparisons) -> None:
    """The verdict in one line, then the table with every difference."""
    say_ = say()
    for comparison in result:
        if comparison.is_equal:
            numbers = {"tensors": exact(comparison.tensors), "parameters": exact(comparison.parameters)}
            st.success(
                say_(msg("Equal: {tensors} tensors, {parameters} parameters.", **numbers)),
                icon=":material/check_circle:",
            )
        else:
            st.error(say_(msg("{n} tensors differ.", n=exact(len(comparison.differences)))))
    page = verify_page.view(result, verify_page.Options())
    blocks.show(page, name=f"{spec.name}.verify", data=lambda: plain(result))
