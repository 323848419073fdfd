"""Commands and Python code to copy that reproduce what a page shows."""

from __future__ import annotations

import streamlit as st

from archcalc.dashboard.session import say
from archcalc.words import msg


def show(command: str, python: str) -> None:
    """Draw a button that shows the command and the Python code.

    The button keeps the page fast: the syntax highlighter is large and is loaded only when code is shown.
    """
    with st.popover(say()(msg("Command line and Python")), icon=":material/content_copy:", width="stretch"):
        code(command, python)


def code(command: str, python: str) -> None:
    """Draw the command and the Python code."""
    st.code(command, language="bash", wrap_lines=True)
    st.code(python, language="python", wrap_lines=True)
