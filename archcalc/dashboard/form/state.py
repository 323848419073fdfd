"""The document that a visitor edits, stored apart from the widgets, so that fields that are not drawn are not lost.

A widget is set from the document before it is drawn, and writes its change into the document. So parts can be added,
removed and moved, although the key of a widget is its path.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import msgspec
import streamlit as st

from archcalc.dashboard.form.document_paths import replace_value
from archcalc.dashboard.form.faults import Fault, fault_of
from archcalc.spec.document import Document
from archcalc.spec.field_types import Path, path_text, with_defaults
from archcalc.words import Translator

OnChange = Callable[[Document], None] | None


class FormState(msgspec.Struct):
    """The state of a form in a session: the caller's document and the edited one.

    `active` is the section or item of a list that is drawn. `replaced_parts` are parts whose kind was changed.
    """

    initial: Document
    current: Document
    active: dict[Path, Hashable] = {}
    replaced_parts: dict[tuple[Path, str], Any] = {}


class Form:
    """One run of the form: its state, its translator, and the fault of its document."""

    def __init__(self, key: str, document: Document, say: Translator, on_change: OnChange) -> None:
        self.key, self.say, self._on_change = key, say, on_change
        self._load_state(document)
        self.document = self.state.current
        self.fault: Fault | None = fault_of(self.document)
        self.is_fault_shown = False

    @property
    def state(self) -> FormState:
        """Return the state of this form in this session."""
        state: FormState = st.session_state[f"{self.key}.#"]
        return state

    def _load_state(self, document: Document) -> None:
        """Keep the edits if the caller passes the same document, or the edited one; else start again."""
        state: FormState | None = st.session_state.get(f"{self.key}.#")
        if state is None:
            st.session_state[f"{self.key}.#"] = FormState(document, with_defaults(document))
        elif document != state.initial:
            is_edited = with_defaults(document) == state.current
            state.initial = document
            if not is_edited:
                state.current, state.replaced_parts = with_defaults(document), {}

    def widget_key(self, path: Path) -> str:
        """Return the key of the widget at a path."""
        return f"{self.key}.{path_text(path)}"

    def update(self, document: Document) -> None:
        """Set the document; for callbacks."""
        self.state.current = document
        if self._on_change is not None:
            self._on_change(document)

    def widget_arguments(
        self, path: Path, value: Any, read: Callable[[Any], Any] = lambda value: value
    ) -> dict[str, Any]:
        """Return key and callback of the widget at a path, and set its value to `value`."""
        key = self.widget_key(path)
        if key not in st.session_state or st.session_state[key] != value:
            st.session_state[key] = value

        def changed() -> None:
            self.update(replace_value(self.state.current, path, read(st.session_state[key])))

        return {"key": key, "on_change": changed}

    def active_item(self, path: Path, options: list[Any]) -> Any:
        """Return the item at a path that is drawn: the one that was chosen, else the first."""
        item = self.state.active.get(path)
        return item if item in options else options[0]
