"""A form for every field of a spec, made from the spec's types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec.inspect as inspect
import streamlit as st

from archcalc.dashboard import session
from archcalc.dashboard.form import parts
from archcalc.dashboard.form.parts import FAULT_MARK, has_list, has_part
from archcalc.dashboard.form.state import Form
from archcalc.dashboard.session import escape_markdown
from archcalc.spec.document import Document
from archcalc.spec.field_types import Path, path_text, spec_type
from archcalc.words import in_context, msg

__all__ = ["draw_form"]

MODEL_SECTION: Final = ""  # the fields outside all parts: name and sizes


def draw_form(document: Document, key: str, *, on_change: Callable[[Document], None] | None = None) -> Document:
    """Draw the form of a document and return the edited document with every field stated.

    The caller passes the same document each time, or the returned one; another document starts again. `on_change` is
    called with the new document before the page is drawn again. The returned document may be invalid: its fault is
    shown beside the field. The key of a widget is `key`, a dot and the path ('form.decoder.runs[0].count').
    """
    say = session.say()
    form = Form(key, document, say, on_change)
    spec = spec_type()
    assert isinstance(spec, inspect.StructType)
    names = [MODEL_SECTION, *(field.name for field in spec.fields if has_part(field))]
    top = st.container()
    section = parts.draw_picker(
        form, (), names, lambda name: _section_label(form, spec, name), say(msg("Part of the model"))
    )
    _draw_section(form, spec, section)
    if form.fault is not None and not form.is_fault_shown:
        with top:
            _draw_hidden_fault(form, names)
    return form.document


def _draw_section(form: Form, spec: inspect.StructType, name: str) -> None:
    if name == MODEL_SECTION:
        parts.draw_row(form, spec, (), form.document)
        left_out = ", ".join(field.name for field in spec.fields if has_list(field))
        st.caption(
            form.say(msg("Not in this form: {fields}. To change them, paste YAML.", fields=escape_markdown(left_out)))
        )
        return
    field = next(field for field in spec.fields if field.name == name)
    parts.draw_inner_part(form, spec, field, (name,), form.document.get(name), depth=-1)


def _section_label(form: Form, spec: inspect.StructType, name: str) -> str:
    """Return the name of a section, with a mark if it has a fault."""
    plain_fields = [field.name for field in spec.fields if parts.is_plain(field)]
    path = form.fault.path[:1] if form.fault is not None else ("",)
    has_fault = form.fault is not None and (
        path == (name,) or (name == MODEL_SECTION and (not path or path[0] in plain_fields))
    )
    return (FAULT_MARK if has_fault else "") + (name or form.say(in_context("section", "model")))


def _draw_hidden_fault(form: Form, names: list[str]) -> None:
    """Draw a fault whose field is not drawn, and a button that goes to the field."""
    fault = form.fault
    assert fault is not None
    place = path_text(fault.path)
    message = (
        form.say(msg("{place}: {message}", place=escape_markdown(place), message=escape_markdown(fault.message)))
        if place
        else fault.message
    )
    st.markdown(f":material/error: :red[{message}]")

    def pressed() -> None:
        for path, item in _route(fault.path, names):
            form.state.active[path] = item

    if fault.path:
        st.button(form.say(msg("Show the field")), key=f"{form.key}.go", on_click=pressed, type="tertiary")


def _route(path: Path, names: list[str]) -> list[tuple[Path, str | int]]:
    """Return the choices that show a path: its section, and its item of each list."""
    section = path[0] if path[0] in names else MODEL_SECTION
    return [((), section), *((path[:n], key) for n, key in enumerate(path) if isinstance(key, int))]
