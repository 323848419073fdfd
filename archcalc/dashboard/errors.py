"""A mistake is told where it was made, in the one line that the command line prints, and the page goes on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from archcalc.dashboard.session import plain, say
from archcalc.errors import ArchcalcError


@contextmanager
def told() -> Iterator[None]:
    """Show what goes wrong inside in this place; what comes after the block is drawn all the same."""
    try:
        yield
    except ArchcalcError as error:
        tell(error)


def tell(error: ArchcalcError) -> None:
    """An error's line, as text: nothing in it is read as Markdown."""
    st.error(plain(error.text(say())), icon=":material/error:")
