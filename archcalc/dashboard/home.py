"""What every page stands in: its settings, the language, the way from page to page."""

from __future__ import annotations

from importlib import import_module

import streamlit as st

from archcalc.dashboard import session, style, subject
from archcalc.dashboard.pages import PAGES, Entry


def main() -> None:
    """Draw the page that the URL names; streamlit calls this anew for every change."""
    st.set_page_config(page_title="archcalc", layout="wide")
    style.put()
    session.choose_language()
    say = session.say()
    entries = {entry.path: entry for entry in PAGES}
    shown = [
        st.Page(_body(entry), title=say(entry.title), icon=entry.icon, url_path=entry.path, default=entry is PAGES[0])
        for entry in PAGES
    ]
    page = st.navigation(shown)
    entry = entries.get(page.url_path, PAGES[0])
    st.title(say(entry.title), anchor=False)
    # The chooser is drawn here and not by the pages: they share its state so.
    if entry.has_subject:
        subject.choose()
    page.run()


def _body(entry: Entry) -> session.Body:
    def body() -> None:
        import_module(f"archcalc.dashboard.pages.{entry.module}").page()

    return body
