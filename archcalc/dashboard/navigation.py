"""The frame of every page: settings, language, navigation, and the choice of an architecture."""

from __future__ import annotations

from importlib import import_module

import streamlit as st

from archcalc.dashboard import chooser, session, style
from archcalc.dashboard.pages import PAGES, PageEntry


def main() -> None:
    """Draw the page that the URL names. Streamlit runs this again after every change."""
    st.set_page_config(page_title="archcalc", layout="wide")
    style.apply()
    session.choose_language()
    session.choose_byte_units()
    say = session.say()
    entries = {entry.path: entry for entry in PAGES}
    pages = [
        st.Page(_body(entry), title=say(entry.title), icon=entry.icon, url_path=entry.path, default=entry is PAGES[0])
        for entry in PAGES
    ]
    page = st.navigation(pages)
    entry = entries.get(page.url_path, PAGES[0])
    st.title(say(entry.title), anchor=False)
    # Drawn here and not in the pages, so that they share its state.
    if entry.has_chooser:
        chooser.draw()
    page.run()


def _body(entry: PageEntry) -> session.Body:
    def body() -> None:
        import_module(f"archcalc.dashboard.pages.{entry.module}").page()

    return body
