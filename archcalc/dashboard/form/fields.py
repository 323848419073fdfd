"""One widget a field, by the field's type: a new field, or a new choice of one, is drawn without a line here."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

import msgspec.inspect as inspect
import streamlit as st

from archcalc.dashboard.form.kinds import NONE, kinds, name_of
from archcalc.dashboard.form.places import suits
from archcalc.dashboard.form.state import Form
from archcalc.dashboard.session import plain
from archcalc.errors import InputError
from archcalc.render.meanings import MEANINGS
from archcalc.spec.field_types import FieldType, Path, member_types
from archcalc.spec.set_options import inline_yaml
from archcalc.spec.yaml_reader import parse
from archcalc.words import Translator, msg, translator

WIDTH: Final = 152  # pixels: two stand side by side on a telephone, in a border
_EXACT: Final = 2**53 - 1  # integers beyond this are not a browser's

Drawn = Callable[..., None]


def field(form: Form, part: inspect.StructType, told: inspect.Field, path: Path, value: Any) -> None:
    """A field that holds a plain value, with what it means as help and what is wrong with it beside."""
    _draw(form, told, path, value, meaning(form.say, part, told), WIDTH)
    tell(form, path)


def tell(form: Form, path: Path) -> None:
    """What is wrong with this place, if anything is; nothing that stands before it moves, so its widget keeps focus."""
    if form.fault is not None and form.fault.path == path and not form.is_told:
        st.markdown(f":material/error: :red[{plain(form.fault.message)}]", width=2 * WIDTH + 16)
        form.is_told = True


def _draw(form: Form, told: inspect.Field, path: Path, value: Any, help_: str, width: int) -> None:
    is_optional = any(isinstance(member, inspect.NoneType) for member in member_types(told.type))
    fits = suits(told.type, value) or value is None
    if (type(value) is int and abs(value) > _EXACT) or isinstance(value, dict):
        fits = False
    widget = _of(told.type) if fits else _raw
    widget(form, told, path, value, {"label": told.name, "help": help_, "width": width}, is_optional)


def _of(kind: FieldType) -> Drawn:
    sorts = [type(member) for member in member_types(kind) if not isinstance(member, inspect.NoneType)]
    return next((draw for sort, draw in _WIDGETS.items() if sort in sorts), _raw)


def _integer(form: Form, told: inspect.Field, path: Path, value: Any, words: dict[str, Any], is_optional: bool) -> None:
    st.number_input(**words, **_emptied(form, value, is_optional), step=1, **form.widget(path, value))


def _number(form: Form, told: inspect.Field, path: Path, value: Any, words: dict[str, Any], is_optional: bool) -> None:
    shown = None if value is None else float(value)
    how = _emptied(form, value, is_optional) | {"step": 0.01, "format": "%g"}
    st.number_input(**words, **how, **form.widget(path, shown))


def _emptied(form: Form, value: Any, is_optional: bool) -> dict[str, Any]:
    """How a number's widget is drawn that may be empty."""
    hint = {"placeholder": form.say(msg("none"))} if is_optional else {}
    return hint | ({"value": None} if is_optional or value is None else {})


def _toggle(form: Form, told: inspect.Field, path: Path, value: Any, words: dict[str, Any], is_optional: bool) -> None:
    st.toggle(**words, **form.widget(path, bool(value)))


def _text(form: Form, told: inspect.Field, path: Path, value: Any, words: dict[str, Any], is_optional: bool) -> None:
    hint = form.say(msg("none")) if is_optional else None
    wide = words | {"width": 2 * WIDTH + 16}
    st.text_input(**wide, placeholder=hint, **form.widget(path, value or "", lambda text: text or _empty(is_optional)))


def _empty(is_optional: bool) -> str | None:
    return None if is_optional else ""


def _choice(form: Form, told: inspect.Field, path: Path, value: Any, words: dict[str, Any], is_optional: bool) -> None:
    options = [str(one) for member in member_types(told.type) for one in getattr(member, "values", ())]
    options = ([NONE] if is_optional else []) + options
    read = form.widget(path, value or NONE, lambda one: None if is_optional and one == NONE else one)
    st.selectbox(**words, options=options, **read)


def _lines(form: Form, told: inspect.Field, path: Path, value: Any, words: dict[str, Any], is_optional: bool) -> None:
    """Texts or numbers, one a line; one alone is text where the field takes it so."""
    takes_one = any(isinstance(member, inspect.StrType) for member in member_types(told.type))
    items = [member.item_type for member in member_types(told.type) if isinstance(member, inspect.VarTupleType)]
    numbers = any(isinstance(item, inspect.FloatType) for item in items)

    def read(text: str) -> Any:
        lines = [_read(line) if numbers else line for line in text.splitlines() if line.strip()]
        return lines[0] if takes_one and len(lines) == 1 else lines

    shown = value if isinstance(value, str) else "\n".join(map(str, value or ()))
    st.text_area(**words | {"width": "stretch"}, height=80, **form.widget(path, shown, read))


def _raw(form: Form, told: inspect.Field, path: Path, value: Any, words: dict[str, Any], is_optional: bool) -> None:
    """What no widget of the field's type can show, as YAML, to be put right."""
    st.text_input(**words | {"width": 2 * WIDTH + 16}, **form.widget(path, inline_yaml(value), _read))


def _read(text: str) -> Any:
    try:
        return parse(text.encode("utf-8", "surrogateescape")) if text.strip() else ""
    except InputError:
        return text


_WIDGETS: Final[dict[type, Drawn]] = {
    inspect.BoolType: _toggle,
    inspect.LiteralType: _choice,
    inspect.IntType: _integer,
    inspect.FloatType: _number,
    inspect.VarTupleType: _lines,
    inspect.StrType: _text,
}


def raw(form: Form, told: inspect.Field, path: Path, value: Any) -> None:
    """A part that is none of the field's: as YAML."""
    _raw(form, told, path, value, {"label": told.name, "width": WIDTH}, False)


def meaning(say: Translator, part: inspect.StructType, told: inspect.Field) -> str:
    """What a field means, and each of its choices."""
    return _meaning(say.lang, part.cls.__name__, told.name, tuple(_choices(part, told)))


def _choices(part: inspect.StructType, told: inspect.Field) -> list[tuple[str, str]]:
    """What may be chosen, and under which name its words stand."""
    parts = [(name_of(one), one.cls.__name__) for one in kinds(told.type).values() if one is not None]
    values = [str(value) for member in member_types(told.type) for value in getattr(member, "values", ())]
    return (parts if len(parts) > 1 else []) + [(value, f"{part.cls.__name__}.{told.name}.{value}") for value in values]


@lru_cache(maxsize=1024)
def _meaning(lang: str, part: str, name: str, choices: tuple[tuple[str, str], ...]) -> str:
    say = translator(lang)
    lines = [plain(say(MEANINGS[f"{part}.{name}"]))]
    lines += [f"- **{plain(choice)}**: {plain(say(MEANINGS[words]))}" for choice, words in choices]
    return "\n".join([lines[0], "", *lines[1:]]) if len(lines) > 1 else lines[0]
