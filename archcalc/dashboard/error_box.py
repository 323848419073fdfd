"""Show an error in its place, in the line that the command line prints; the rest of the page is drawn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from archcalc.dashboard.session import escape_markdown, say
from archcalc.errors import ArchcalcError


@contextmanager
def show_errors() -> Iterator[None]:
    """Show an error of the block in its place; the page goes on after the block."""
    try:
        yield
    except ArchcalcError as error:
        show_error(error)


def show_error(error: ArchcalcError) -> None:
    """Show the message of an error as plain text, not as Markdown."""
    st.error(escape_markdown(error.text(say())), icon=":material/error:")
