"""The form that builds an architecture by hand: every field of the spec, drawn from the spec's types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec.inspect as inspect
import streamlit as st

from archcalc.dashboard import session
from archcalc.dashboard.form import parts
from archcalc.dashboard.form.parts import MARK, holds_list, holds_parts
from archcalc.dashboard.form.state import Form
from archcalc.dashboard.session import plain
from archcalc.spec.document import Document
from archcalc.spec.field_types import Path, path_text, spec_type
from archcalc.words import in_context, msg

__all__ = ["form"]

FIRST: Final = ""  # the section of what is in no part: name and sizes


def form(document: Document, key: str, *, on_change: Callable[[Document], None] | None = None) -> Document:
    """Draw the form of a document, and return the document as it has been changed, every field of it stated.

    A caller gives the same document each time, or what the form returned; another one starts anew. `on_change` is told
    the new document before the page is drawn again. What is returned need not be valid: its mistake is told beside its
    field. The widget of a place is called `key` + '.' + the place ('form.decoder.runs[0].count').
    """
    say = session.say()
    drawn = Form(key, document, say, on_change)
    spec = spec_type()
    assert isinstance(spec, inspect.StructType)
    names = [FIRST, *(field.name for field in spec.fields if holds_parts(field))]
    top = st.container()
    section = parts.pick(drawn, (), names, lambda name: _called(drawn, spec, name), say(msg("Part of the model")))
    _section(drawn, spec, section)
    if drawn.fault is not None and not drawn.is_told:
        with top:
            _elsewhere(drawn, names)
    return drawn.document


def _section(drawn: Form, spec: inspect.StructType, name: str) -> None:
    if name == FIRST:
        parts.row(drawn, spec, (), drawn.document)
        apart = ", ".join(field.name for field in spec.fields if holds_list(field))
        st.caption(
            drawn.say(
                msg(
                    "Not in this form: {fields}. They stay as they are; paste YAML to change them.", fields=plain(apart)
                )
            )
        )
        return
    told = next(field for field in spec.fields if field.name == name)
    parts.within(drawn, spec, told, (name,), drawn.document.get(name), depth=-1)


def _called(drawn: Form, spec: inspect.StructType, name: str) -> str:
    """A section's name, marked if something is wrong in it."""
    own = [field.name for field in spec.fields if parts.is_plain(field)]
    path = drawn.fault.path[:1] if drawn.fault is not None else ("",)
    is_wrong = drawn.fault is not None and (path == (name,) or (name == FIRST and (not path or path[0] in own)))
    return (MARK if is_wrong else "") + (name or drawn.say(in_context("section", "model")))


def _elsewhere(drawn: Form, names: list[str]) -> None:
    """What is wrong in a place that is not drawn, and the way there."""
    fault = drawn.fault
    assert fault is not None
    place = path_text(fault.path)
    message = (
        drawn.say(msg("{place}: {message}", place=plain(place), message=plain(fault.message)))
        if place
        else fault.message
    )
    st.markdown(f":material/error: :red[{message}]")

    def pressed() -> None:
        for path, chosen in _way(fault.path, names):
            drawn.held.open[path] = chosen

    if fault.path:
        st.button(drawn.say(msg("Show the field")), key=f"{drawn.key}.go", on_click=pressed, type="tertiary")


def _way(path: Path, names: list[str]) -> list[tuple[Path, str | int]]:
    """What must be chosen so that a place is drawn: its section, and its item of each list."""
    section = path[0] if path[0] in names else FIRST
    return [((), section), *((path[:n], key) for n, key in enumerate(path) if isinstance(key, int))]
