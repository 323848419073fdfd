"""Draw a part and the parts inside it: plain fields in rows, a choice of kind per part, one item per list."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import msgspec.inspect as inspect
import streamlit as st

from archcalc.dashboard.form import fields, lists
from archcalc.dashboard.form.document_paths import part_type
from archcalc.dashboard.form.fields import WIDTH, meaning, show_fault
from archcalc.dashboard.form.kinds import NONE, name_of, part_types, switch_kind
from archcalc.dashboard.form.state import Form
from archcalc.dashboard.session import escape_markdown
from archcalc.spec.about import Provenance
from archcalc.spec.base import Part
from archcalc.spec.document import Document
from archcalc.spec.field_types import Path, member_types, value_at
from archcalc.words import msg

_BUTTONS: Final = {
    "add": msg("Add"),
    "double": msg("Duplicate"),
    "remove": msg("Remove"),
    "up": msg("Move up"),
    "down": msg("Move down"),
}

FAULT_MARK: Final = ":material/error: "
# Facts about the file that was read, which no one edits.
READ_ONLY: Final = (Provenance,)
Drawer = Callable[[], None]

# The type of an absent part, without fields.
_ABSENT: Final = inspect.StructType(cls=Part, fields=())


def has_part(field: inspect.Field) -> bool:
    """Return whether a field has a part. A part that can also be a word is a plain choice."""
    types = {type(member) for member in member_types(field.type)}
    return inspect.StructType in types and inspect.LiteralType not in types


def has_list(field: inspect.Field) -> bool:
    """Return whether a field has a list of parts."""
    item_types = [member.item_type for member in member_types(field.type) if isinstance(member, inspect.VarTupleType)]
    return any(isinstance(item, inspect.StructType) for item in item_types)


def is_editable(field: inspect.Field) -> bool:
    """Return whether visitors can edit the part of a field."""
    return not any(
        isinstance(member, inspect.StructType) and member.cls in READ_ONLY for member in member_types(field.type)
    )


def is_plain(field: inspect.Field) -> bool:
    """Return whether a field has no parts."""
    return not has_part(field) and not has_list(field)


def draw_part(form: Form, kind: inspect.StructType, path: Path, value: dict[str, Any], depth: int = 0) -> None:
    """Draw all fields of a part."""
    draw_row(form, kind, path, value)
    draw_inner_parts(form, kind, path, value, depth)


def draw_row(
    form: Form, kind: inspect.StructType, path: Path, value: dict[str, Any], chooser: Drawer | None = None
) -> None:
    """Draw the choice of a kind, if there is one, and the plain fields side by side."""
    plain_fields = [field for field in kind.fields if is_plain(field)]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if chooser:
            chooser()
        show_fault(form, path)
        for field in plain_fields:
            fields.draw_field(form, kind, field, (*path, field.name), value.get(field.name))


def draw_inner_parts(form: Form, kind: inspect.StructType, path: Path, value: dict[str, Any], depth: int) -> None:
    """Draw the parts of a part, then its lists of parts."""
    for field in filter(is_editable, filter(has_part, kind.fields)):
        draw_inner_part(form, kind, field, (*path, field.name), value.get(field.name), depth)
    for field in filter(has_list, kind.fields):
        draw_list(form, kind, field, (*path, field.name), value.get(field.name) or [])


def draw_inner_part(
    form: Form, kind: inspect.StructType, field: inspect.Field, path: Path, value: Any, depth: int
) -> None:
    """Draw a part within a part: the choice of its kind, then its fields. An outer one has a border."""
    current, options, help_ = part_type(field.type, value), part_types(field.type), meaning(form.say, kind, field)
    with st.container(border=current is not None and depth == 0):
        if current is None and not (value is None and NONE in options):
            fields.draw_raw(form, field, path, value)
            show_fault(form, path)
            return
        if len(options) == 1:
            st.markdown(f"**{escape_markdown(field.name)}**", help=help_)
        name = name_of(current) if current else NONE
        chooser = partial(_draw_kind, form, field, path, name, help_) if len(options) > 1 else None
        draw_row(form, current or _ABSENT, path, value or {}, chooser)
        if current is not None:
            draw_inner_parts(form, current, path, value, depth + 1)


def _draw_kind(form: Form, field: inspect.Field, path: Path, current: str, help_: str) -> None:
    """Draw the choice of a part's kind."""
    options = part_types(field.type)
    key = form.widget_key(path)
    if st.session_state.get(key) != current:
        st.session_state[key] = current

    def changed() -> None:
        state, name = form.state, st.session_state[key]
        state.replaced_parts[path, current] = value_at(state.current, path)
        form.update(switch_kind(state.current, path, name, state.replaced_parts.get((path, name))))

    def label(name: str) -> str:
        option = options[name]
        return form.say(msg("none")) if option is None else name if option.tag else form.say(msg("stated"))

    st.selectbox(field.name, list(options), format_func=label, help=help_, width=WIDTH, key=key, on_change=changed)


def draw_list(form: Form, kind: inspect.StructType, field: inspect.Field, path: Path, value: list[Any]) -> None:
    """Draw a list of parts: the choice of an item, buttons that change the list, and the chosen item."""
    say = form.say
    st.markdown(f"**{escape_markdown(field.name)}**", help=meaning(say, kind, field))
    show_fault(form, path)
    if not value:
        return
    index = draw_picker(
        form, path, list(range(len(value))), lambda n: _item_label(form, (*path, n), value[n]), field.name
    )
    item_path = (*path, index)
    _draw_buttons(form, item_path, len(value))
    kind_of_item = part_type(_item_type(field), value[index])
    if kind_of_item is not None:
        draw_part(form, kind_of_item, item_path, value[index])


def _item_type(field: inspect.Field) -> inspect.Type:
    return next(member.item_type for member in member_types(field.type) if isinstance(member, inspect.VarTupleType))


def _item_label(form: Form, path: Path, item: Any) -> str:
    """Return an item's number and name, with a mark if it has a fault."""
    name = item.get("name") if isinstance(item, dict) else None
    mark = FAULT_MARK if form.fault is not None and form.fault.within(path) else ""
    return mark + (form.say(msg("{n}: {name}", n=path[-1], name=name)) if name else str(path[-1]))


def draw_picker(form: Form, path: Path, options: list[Any], item_label: Callable[[Any], str], label: str) -> Any:
    """Draw the choice of an item, unless there is only one, and return it."""
    current = form.active_item(path, options)
    if len(options) == 1:
        return current
    key = f"{form.widget_key(path)}.#"
    if st.session_state.get(key) != current:
        st.session_state[key] = current

    def changed() -> None:
        form.state.active[path] = st.session_state[key]

    st.segmented_control(
        label, options, format_func=item_label, key=key, on_change=changed, required=True, label_visibility="collapsed"
    )
    return current


def _draw_buttons(form: Form, path: Path, n_items: int) -> None:
    index = path[-1]
    assert isinstance(index, int)
    with st.container(horizontal=True, gap="small"):
        _draw_button(form, path, "add", lists.append_item, n_items)
        _draw_button(form, path, "double", lists.duplicate_item, index + 1)
        if n_items > 1:
            _draw_button(form, path, "remove", lists.remove_item, max(index - 1, 0))
            _draw_button(
                form, path, "up", lambda doc, at: lists.move_item(doc, at, -1), index - 1, is_disabled=index == 0
            )
            _draw_button(
                form,
                path,
                "down",
                lambda doc, at: lists.move_item(doc, at, 1),
                index + 1,
                is_disabled=index == n_items - 1,
            )


def _draw_button(
    form: Form,
    path: Path,
    name: str,
    change: Callable[[Document, Path], Document],
    next_item: int,
    is_disabled: bool = False,
) -> None:
    """Draw a button that changes a list and then shows the item `next_item`."""

    def pressed() -> None:
        form.state.active[path[:-1]] = next_item
        form.update(change(form.state.current, path))

    label = form.say(_BUTTONS[name])
    st.button(label, key=f"{form.widget_key(path)}.{name}", on_click=pressed, disabled=is_disabled, type="tertiary")
