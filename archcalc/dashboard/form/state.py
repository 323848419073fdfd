"""The document that a visitor is changing: kept beside the widgets, so that what is not drawn is not lost.

The document is the truth. Before a widget is drawn it is told what the document holds; when it is changed it writes
there. So parts may come, go and change places under widgets that are called by their place.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import msgspec
import streamlit as st

from archcalc.dashboard.form.faults import Fault, fault_of
from archcalc.dashboard.form.places import replaced
from archcalc.spec.document import Document
from archcalc.spec.field_types import Path, path_text, with_defaults
from archcalc.words import Translator

Told = Callable[[Document], None] | None


class Held(msgspec.Struct):
    """`start` is what the caller gave and `now` what has become of it; `open` says which section and which item of a
    list is drawn; `were` remembers parts that another kind took the place of.
    """

    start: Document
    now: Document
    open: dict[Path, Hashable] = {}
    were: dict[tuple[Path, str], Any] = {}


class Form:
    """One drawing of the form: where its state is, the words it speaks, what is wrong with the document."""

    def __init__(self, key: str, document: Document, say: Translator, told: Told) -> None:
        self.key, self.say, self._told = key, say, told
        self._held(document)
        self.document = self.held.now
        self.fault: Fault | None = fault_of(self.document)
        self.is_told = False

    @property
    def held(self) -> Held:
        """The state of this form in this session."""
        found: Held = st.session_state[f"{self.key}.#"]
        return found

    def _held(self, document: Document) -> None:
        """Go on where the caller gives what it gave before, or what it was given back; else start anew."""
        held: Held | None = st.session_state.get(f"{self.key}.#")
        if held is None:
            st.session_state[f"{self.key}.#"] = Held(document, with_defaults(document))
        elif document != held.start:
            is_ours = with_defaults(document) == held.now
            held.start = document
            if not is_ours:
                held.now, held.were = with_defaults(document), {}

    def name(self, path: Path) -> str:
        """The key of the widget of a place."""
        return f"{self.key}.{path_text(path)}"

    def put(self, document: Document) -> None:
        """The document has become this; for callbacks."""
        self.held.now = document
        if self._told is not None:
            self._told(document)

    def widget(self, path: Path, shown: Any, read: Callable[[Any], Any] = lambda value: value) -> dict[str, Any]:
        """What a widget of a place is drawn with: its key, what it shows, and where its change goes."""
        key = self.name(path)
        if key not in st.session_state or st.session_state[key] != shown:
            st.session_state[key] = shown

        def changed() -> None:
            self.put(replaced(self.held.now, path, read(st.session_state[key])))

        return {"key": key, "on_change": changed}

    def chosen(self, path: Path, options: list[Any]) -> Any:
        """Which of a place's items is drawn: the one that was chosen, else the first."""
        found = self.held.open.get(path)
        return found if found in options else options[0]
