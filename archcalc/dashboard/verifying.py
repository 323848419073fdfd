"""The proof on the page: the spec as a model on the meta device, held against the numbers."""

from __future__ import annotations

import streamlit as st

from archcalc.dashboard import blocks, job, same, subject
from archcalc.dashboard.session import KEPT, say
from archcalc.extras import require
from archcalc.render import verify as page_of
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
        third = "transformers" if against else None
        st.session_state[key] = job.run(say_(msg("Building and comparing…")), lambda: _verified(spec, third), key=key)
    if key in st.session_state:
        _found(spec, st.session_state[key])
    chosen = subject.chosen()
    more = " --against transformers" if against else ""
    third = ', against="transformers"' if against else ""
    same.lines(
        f"archcalc verify {chosen.words}{more}", f"import archcalc\n\narchcalc.verify({chosen.load_line}{third})"
    )


def _verified(spec: Spec, against: str | None) -> page_of.Found:
    require("torch", does=msg("building the model"), extra="model")
    from archcalc.proof import verify

    return [(spec.name, verify(spec, against=against))]


def _found(spec: Spec, found: page_of.Found) -> None:
    """The verdict in one line, then the table with every difference."""
    say_ = say()
    for comparison in found[0][1]:
        if comparison.holds:
            numbers = {"tensors": exact(comparison.n_tensors), "parameters": exact(comparison.n_parameters)}
            st.success(
                say_(msg("Equal: {tensors} tensors, {parameters} parameters.", **numbers)),
                icon=":material/check_circle:",
            )
        else:
            st.error(say_(msg("{n} tensors differ.", n=exact(len(comparison.differences)))))
    blocks.show(page_of.page(found), name=f"{spec.name}.verify", data=lambda: page_of.data(found))
