"""Verification on the page: the ledger compared with the model on the meta device."""

from __future__ import annotations

import streamlit as st

from archcalc.dashboard import blocks, chooser, job, snippets
from archcalc.dashboard.session import IN_URL, say
from archcalc.extras import require
from archcalc.proof import Comparisons, Reading
from archcalc.render import verify as verify_page
from archcalc.results import plain
from archcalc.spec import Spec
from archcalc.spec.yaml_writer import as_yaml
from archcalc.units import exact
from archcalc.words import msg


def show(spec: Spec) -> None:
    """Draw the button that starts the comparison, and the result for this spec."""
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
        say_(msg("Compare with transformers, too")),
        key="against",
        help=say_(msg("Also compare with the model that transformers builds, if it has the architecture.")),
        **IN_URL,
    )
    if st.button(
        say_(msg("Build the model on the meta device and compare")), type="primary", icon=":material/verified:"
    ):
        library: Reading | None = "transformers" if against else None
        st.session_state[key] = job.run(say_(msg("Building and comparing…")), lambda: _verify(spec, library), key=key)
    if key in st.session_state:
        _show_result(spec, st.session_state[key])
    selection = chooser.selection()
    option = " --against transformers" if against else ""
    argument = ', against="transformers"' if against else ""
    snippets.show(
        f"archcalc verify {selection.arguments}{option}",
        f"import archcalc\n\narchcalc.verify({selection.load_call}{argument})",
    )


def _verify(spec: Spec, against: Reading | None) -> Comparisons:
    require("torch", does=msg("building the model"), extra="model")
    from archcalc.proof import verify

    return verify(spec, against=against)


def _show_result(spec: Spec, result: Comparisons) -> None:
    """Draw the verdict in one line, then the table of differences."""
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
    page = verify_page.view(result, verify_page.VerifyOptions())
    blocks.show(page, name=f"{spec.name}.verify", data=lambda: plain(result))
