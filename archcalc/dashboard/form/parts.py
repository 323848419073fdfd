"""A part and the parts inside it: plain fields in rows, the kind of each part within, lists an item at a time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import msgspec.inspect as inspect
import streamlit as st

from archcalc.dashboard.form import fields, lists
from archcalc.dashboard.form.fields import WIDTH, meaning, tell
from archcalc.dashboard.form.kinds import NONE, kinds, name_of, switched
from archcalc.dashboard.form.places import part_at
from archcalc.dashboard.form.state import Form
from archcalc.dashboard.session import plain
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

MARK: Final = ":material/error: "
# What is found when a file is read, and is nobody's to state.
NOT_EDITED: Final = (Provenance,)
Drawn = Callable[[], None]

# What stands where a part is none: no fields.
_NOTHING: Final = inspect.StructType(cls=Part, fields=())


def holds_parts(told: inspect.Field) -> bool:
    """Whether a field holds a part; what may be said in a word as well is a plain choice."""
    sorts = {type(member) for member in member_types(told.type)}
    return inspect.StructType in sorts and inspect.LiteralType not in sorts


def holds_list(told: inspect.Field) -> bool:
    """Whether a field holds a list of parts."""
    items = [member.item_type for member in member_types(told.type) if isinstance(member, inspect.VarTupleType)]
    return any(isinstance(item, inspect.StructType) for item in items)


def is_edited(told: inspect.Field) -> bool:
    """Whether a visitor may change the part that a field holds."""
    return not any(
        isinstance(member, inspect.StructType) and member.cls in NOT_EDITED for member in member_types(told.type)
    )


def is_plain(told: inspect.Field) -> bool:
    """Whether a field holds no part."""
    return not holds_parts(told) and not holds_list(told)


def part(form: Form, kind: inspect.StructType, path: Path, value: dict[str, Any], depth: int = 0) -> None:
    """All fields of a part."""
    row(form, kind, path, value)
    inside(form, kind, path, value, depth)


def row(form: Form, kind: inspect.StructType, path: Path, value: dict[str, Any], chooser: Drawn | None = None) -> None:
    """The plain fields of a part, side by side as far as there is room; before them what chooses its kind."""
    told = [field for field in kind.fields if is_plain(field)]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if chooser:
            chooser()
        tell(form, path)
        for field in told:
            fields.field(form, kind, field, (*path, field.name), value.get(field.name))


def inside(form: Form, kind: inspect.StructType, path: Path, value: dict[str, Any], depth: int) -> None:
    """The parts of a part, and its lists of them."""
    for told in filter(is_edited, filter(holds_parts, kind.fields)):
        within(form, kind, told, (*path, told.name), value.get(told.name), depth)
    for told in filter(holds_list, kind.fields):
        items(form, kind, told, (*path, told.name), value.get(told.name) or [])


def within(form: Form, kind: inspect.StructType, told: inspect.Field, path: Path, value: Any, depth: int) -> None:
    """A part within a part: its kind to be chosen, then its fields. The outermost has a border."""
    found, options, help_ = part_at(told.type, value), kinds(told.type), meaning(form.say, kind, told)
    with st.container(border=found is not None and depth == 0):
        if found is None and not (value is None and NONE in options):
            fields.raw(form, told, path, value)
            tell(form, path)
            return
        if len(options) == 1:
            st.markdown(f"**{plain(told.name)}**", help=help_)
        now = name_of(found) if found else NONE
        chooser = partial(_kind, form, told, path, now, help_) if len(options) > 1 else None
        row(form, found or _NOTHING, path, value or {}, chooser)
        if found is not None:
            inside(form, found, path, value, depth + 1)


def _kind(form: Form, told: inspect.Field, path: Path, now: str, help_: str) -> None:
    """What chooses a part's kind, where there is a choice."""
    options = kinds(told.type)
    key = form.name(path)
    if st.session_state.get(key) != now:
        st.session_state[key] = now

    def changed() -> None:
        held, name = form.held, st.session_state[key]
        held.were[path, now] = value_at(held.now, path)
        form.put(switched(held.now, path, name, held.were.get((path, name))))

    def shown(name: str) -> str:
        option = options[name]
        return form.say(msg("none")) if option is None else name if option.tag else form.say(msg("stated"))

    st.selectbox(told.name, list(options), format_func=shown, help=help_, width=WIDTH, key=key, on_change=changed)


def items(form: Form, kind: inspect.StructType, told: inspect.Field, path: Path, value: list[Any]) -> None:
    """A list of parts: one of them to be chosen, changed, doubled, moved or taken out."""
    say = form.say
    st.markdown(f"**{plain(told.name)}**", help=meaning(say, kind, told))
    tell(form, path)
    if not value:
        return
    index = pick(form, path, list(range(len(value))), lambda n: _called(form, (*path, n), value[n]), told.name)
    here = (*path, index)
    _buttons(form, here, len(value))
    found = part_at(_item_type(told), value[index])
    if found is not None:
        part(form, found, here, value[index])


def _item_type(told: inspect.Field) -> inspect.Type:
    return next(member.item_type for member in member_types(told.type) if isinstance(member, inspect.VarTupleType))


def _called(form: Form, path: Path, item: Any) -> str:
    """An item by its number and name, marked if something is wrong in it."""
    name = item.get("name") if isinstance(item, dict) else None
    mark = MARK if form.fault is not None and form.fault.within(path) else ""
    return mark + (form.say(msg("{n}: {name}", n=path[-1], name=name)) if name else str(path[-1]))


def pick(form: Form, path: Path, options: list[Any], called: Callable[[Any], str], label: str) -> Any:
    """One of several, of which it alone is drawn."""
    now = form.chosen(path, options)
    if len(options) == 1:
        return now
    key = f"{form.name(path)}.#"
    if st.session_state.get(key) != now:
        st.session_state[key] = now

    def changed() -> None:
        form.held.open[path] = st.session_state[key]

    st.segmented_control(
        label, options, format_func=called, key=key, on_change=changed, required=True, label_visibility="collapsed"
    )
    return now


def _buttons(form: Form, path: Path, n_items: int) -> None:
    index = path[-1]
    assert isinstance(index, int)
    with st.container(horizontal=True, gap="small"):
        _button(form, path, "add", lists.added, n_items)
        _button(form, path, "double", lists.doubled, index + 1)
        if n_items > 1:
            _button(form, path, "remove", lists.removed, max(index - 1, 0))
            _button(form, path, "up", lambda doc, at: lists.moved(doc, at, -1), index - 1, is_off=index == 0)
            _button(form, path, "down", lambda doc, at: lists.moved(doc, at, 1), index + 1, is_off=index == n_items - 1)


def _button(
    form: Form, path: Path, name: str, change: Callable[[Document, Path], Document], then: int, is_off: bool = False
) -> None:
    """A change of a list, after which the item `then` is drawn."""

    def pressed() -> None:
        form.held.open[path[:-1]] = then
        form.put(change(form.held.now, path))

    label = form.say(_BUTTONS[name])
    st.button(label, key=f"{form.name(path)}.{name}", on_click=pressed, disabled=is_off, type="tertiary")
