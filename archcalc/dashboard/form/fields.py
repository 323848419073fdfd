"""Draw one widget per field, chosen by the field's type. New fields and choices need no code here."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

import msgspec.inspect as inspect
import streamlit as st

from archcalc.dashboard.form.document_paths import accepts
from archcalc.dashboard.form.kinds import NONE, name_of, part_types
from archcalc.dashboard.form.state import Form
from archcalc.dashboard.session import escape_markdown
from archcalc.errors import InputError
from archcalc.render.meanings import MEANINGS
from archcalc.spec.field_types import FieldType, Path, member_types
from archcalc.spec.inline_yaml import inline_yaml
from archcalc.spec.yaml_reader import parse
from archcalc.words import Translator, msg, translator

WIDTH: Final = 152  # pixels: two fit side by side on a phone, within a border
_DOUBLE_WIDTH: Final = 2 * WIDTH + 16  # with the gap between them
_MAX_INTEGER: Final = 2**53 - 1  # JavaScript rounds larger integers

FieldDrawer = Callable[..., None]


def draw_field(form: Form, part: inspect.StructType, field: inspect.Field, path: Path, value: Any) -> None:
    """Draw a field that has no part, with its meaning as help and its fault after it."""
    _draw(form, field, path, value, meaning(form.say, part, field), WIDTH)
    show_fault(form, path)


def show_fault(form: Form, path: Path) -> None:
    """Show the fault of this path, if there is one, after its widget, so that the widget keeps the focus."""
    if form.fault is not None and form.fault.path == path and not form.is_fault_shown:
        st.markdown(f":material/error: :red[{escape_markdown(form.fault.message)}]", width=_DOUBLE_WIDTH)
        form.is_fault_shown = True


def _draw(form: Form, field: inspect.Field, path: Path, value: Any, help_: str, width: int) -> None:
    is_optional = any(isinstance(member, inspect.NoneType) for member in member_types(field.type))
    is_accepted = accepts(field.type, value) or value is None
    if (type(value) is int and abs(value) > _MAX_INTEGER) or isinstance(value, dict):
        is_accepted = False
    draw = _drawer(field.type) if is_accepted else _raw
    draw(form, field, path, value, {"label": field.name, "help": help_, "width": width}, is_optional)


def _drawer(field_type: FieldType) -> FieldDrawer:
    types = [type(member) for member in member_types(field_type) if not isinstance(member, inspect.NoneType)]
    return next((draw for member_type, draw in _DRAWERS.items() if member_type in types), _raw)


def _integer(
    form: Form, field: inspect.Field, path: Path, value: Any, arguments: dict[str, Any], is_optional: bool
) -> None:
    st.number_input(
        **arguments, **_number_arguments(form, value, is_optional), step=1, **form.widget_arguments(path, value)
    )


def _number(
    form: Form, field: inspect.Field, path: Path, value: Any, arguments: dict[str, Any], is_optional: bool
) -> None:
    number = None if value is None else float(value)
    number_arguments = _number_arguments(form, value, is_optional) | {"step": 0.01, "format": "%g"}
    st.number_input(**arguments, **number_arguments, **form.widget_arguments(path, number))


def _number_arguments(form: Form, value: Any, is_optional: bool) -> dict[str, Any]:
    """Return the arguments of a number input that may be empty."""
    optional = {"placeholder": form.say(msg("none"))} if is_optional else {}
    return optional | ({"value": None} if is_optional or value is None else {})


def _toggle(
    form: Form, field: inspect.Field, path: Path, value: Any, arguments: dict[str, Any], is_optional: bool
) -> None:
    st.toggle(**arguments, **form.widget_arguments(path, bool(value)))


def _text(
    form: Form, field: inspect.Field, path: Path, value: Any, arguments: dict[str, Any], is_optional: bool
) -> None:
    placeholder = form.say(msg("none")) if is_optional else None
    arguments = arguments | {"width": _DOUBLE_WIDTH}
    st.text_input(
        **arguments,
        placeholder=placeholder,
        **form.widget_arguments(path, value or "", lambda text: text or _empty(is_optional)),
    )


def _empty(is_optional: bool) -> str | None:
    return None if is_optional else ""


def _choice(
    form: Form, field: inspect.Field, path: Path, value: Any, arguments: dict[str, Any], is_optional: bool
) -> None:
    options = [str(value) for member in member_types(field.type) for value in getattr(member, "values", ())]
    options = ([NONE] if is_optional else []) + options
    state = form.widget_arguments(
        path, value or NONE, lambda option: None if is_optional and option == NONE else option
    )
    st.selectbox(**arguments, options=options, **state)


def _lines(
    form: Form, field: inspect.Field, path: Path, value: Any, arguments: dict[str, Any], is_optional: bool
) -> None:
    """Draw texts or numbers, one per line. A single text stays a text if the field accepts one."""
    accepts_text = any(isinstance(member, inspect.StrType) for member in member_types(field.type))
    items = [member.item_type for member in member_types(field.type) if isinstance(member, inspect.VarTupleType)]
    has_numbers = any(isinstance(item, inspect.FloatType) for item in items)

    def read(text: str) -> Any:
        lines = [_parse(line) if has_numbers else line for line in text.splitlines() if line.strip()]
        return lines[0] if accepts_text and len(lines) == 1 else lines

    text = value if isinstance(value, str) else "\n".join(map(str, value or ()))
    st.text_area(**arguments | {"width": "stretch"}, height=80, **form.widget_arguments(path, text, read))


def _raw(
    form: Form, field: inspect.Field, path: Path, value: Any, arguments: dict[str, Any], is_optional: bool
) -> None:
    """Draw a value that does not fit the field's type, as YAML."""
    st.text_input(**arguments | {"width": _DOUBLE_WIDTH}, **form.widget_arguments(path, inline_yaml(value), _parse))


def _parse(text: str) -> Any:
    try:
        return parse(text.encode("utf-8", "surrogateescape")) if text.strip() else ""
    except InputError:
        return text


_DRAWERS: Final[dict[type, FieldDrawer]] = {
    inspect.BoolType: _toggle,
    inspect.LiteralType: _choice,
    inspect.IntType: _integer,
    inspect.FloatType: _number,
    inspect.VarTupleType: _lines,
    inspect.StrType: _text,
}


def draw_raw(form: Form, field: inspect.Field, path: Path, value: Any) -> None:
    """Draw a value that is none of the field's parts, as YAML."""
    _raw(form, field, path, value, {"label": field.name, "width": WIDTH}, False)


def meaning(say: Translator, part: inspect.StructType, field: inspect.Field) -> str:
    """Return the meaning of a field and of each of its choices."""
    return _meaning(say.lang, part.cls.__name__, field.name, tuple(_choices(part, field)))


def _choices(part: inspect.StructType, field: inspect.Field) -> list[tuple[str, str]]:
    """Return each choice and the key of its meaning."""
    parts = [(name_of(kind), kind.cls.__name__) for kind in part_types(field.type).values() if kind is not None]
    values = [str(value) for member in member_types(field.type) for value in getattr(member, "values", ())]
    return (parts if len(parts) > 1 else []) + [
        (value, f"{part.cls.__name__}.{field.name}.{value}") for value in values
    ]


@lru_cache(maxsize=1024)
def _meaning(lang: str, part: str, name: str, choices: tuple[tuple[str, str], ...]) -> str:
    say = translator(lang)
    lines = [escape_markdown(say(MEANINGS[f"{part}.{name}"]))]
    lines += [f"- **{escape_markdown(choice)}**: {escape_markdown(say(MEANINGS[key]))}" for choice, key in choices]
    return "\n".join([lines[0], "", *lines[1:]]) if len(lines) > 1 else lines[0]
