"""The lines that give the same result elsewhere, to copy."""

from __future__ import annotations

import streamlit as st

from archcalc.dashboard.session import say
from archcalc.words import msg


def lines(command: str, python: str) -> None:
    """The command line's and Python's way to what the page shows.

    Behind a button: what colours code is large, and a page that shows none need not wait for it.
    """
    with st.popover(
        say()(msg("The same on the command line and in Python")), icon=":material/content_copy:", width="stretch"
    ):
        code(command, python)


def code(command: str, python: str) -> None:
    """The lines themselves, for a menu."""
    st.code(command, language="bash", wrap_lines=True)
    st.code(python, language="python", wrap_lines=True)
