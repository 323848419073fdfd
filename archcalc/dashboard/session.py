"""The state of one visitor: language, theme, values of widgets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import streamlit as st

from archcalc.units import BYTE_UNITS
from archcalc.words import LANGS, Message, Translator, msg, preferred_byte_units, preferred_lang, translator

Body = Callable[[], None]

# Arguments of a widget with a key: its value is in the URL, and survives a visit to another page.
IN_URL: Final[dict[str, Any]] = {"bind": "query-params", "persist_state": "session"}
# The same for a value that is too long for a URL, or no text.
IN_SESSION: Final[dict[str, Any]] = {"persist_state": "session"}

# Longer pasted text, in bytes, is not in the URL.
LINK_BYTES: Final = 4096

# Widgets whose initial value is called `default`; others call it `index`.
_BUTTON_WIDGETS: Final = ("segmented_control", "pills")

_NAMES: Final = {"en": "English", "zh": "中文"}
_UNIT_NAMES: Final[Mapping[str, str]] = {"both": "GB · GiB", "GB": "GB", "GiB": "GiB"}


def choose_language() -> None:
    """Draw the choice of a language in the sidebar."""
    langs = sorted(LANGS, key=lambda name: name != preferred_lang())
    _choice(st.sidebar.segmented_control, "Language / 语言", langs, _NAMES.__getitem__, key="lang")


def choose_byte_units() -> None:
    """Draw the choice of the units of bytes in the sidebar."""
    units = sorted(BYTE_UNITS, key=lambda name: name != preferred_byte_units())
    _choice(st.sidebar.segmented_control, say()(msg("Bytes in")), units, _UNIT_NAMES.__getitem__, key="bytes")


def lang() -> str:
    """Return the visitor's language, one of `LANGS`."""
    return str(st.session_state.get("lang") or preferred_lang())


def say() -> Translator:
    """Return the translator of the visitor's language and units of bytes."""
    stated = st.session_state.get("bytes")
    return translator(lang(), next((units for units in BYTE_UNITS if units == stated), preferred_byte_units()))


def choice(draw: Callable[..., Any], label: str, names: Mapping[str, Message], *, key: str, **more: Any) -> str:
    """Draw the choice of an option by its name and return the option. The first one is the default.

    `draw` is st.segmented_control, st.radio or st.selectbox. Streamlit would put the translated name into the URL, so
    the option itself is put there by hand.
    """
    say_ = say()
    return _choice(draw, label, tuple(names), lambda option: say_(names[option]), key=key, **more)


def _choice(
    draw: Callable[..., Any],
    label: str,
    options: Sequence[str],
    name_of: Callable[[str], str],
    *,
    key: str,
    **more: Any,
) -> str:
    # Streamlit resets a widget whose initial value changes, so this one stays the same for the whole session.
    initial = st.session_state.setdefault(f"_initial_{key}", _option_in_url(key, options))
    initial_value = (
        {"default": initial, "required": True}
        if draw.__name__ in _BUTTON_WIDGETS
        else {"index": options.index(initial)}
    )
    option = str(draw(label, options, format_func=name_of, key=key, **initial_value, **IN_SESSION, **more))
    put_in_url(key, "" if option == options[0] else option)
    return option


def text_in_url(label: str, key: str, initial: str = "", **more: Any) -> str:
    """Draw a text area and return its text, which is in the URL unless it is longer than LINK_BYTES.

    Streamlit would put a text of any length into the URL.
    """
    widget = f"{key}_text"
    if widget not in st.session_state:
        st.session_state[widget] = st.query_params.get(key, initial)
    text: str = st.text_area(label, key=widget, **IN_SESSION, **more)
    size = len(text.encode("utf-8", "surrogatepass"))
    put_in_url(key, text if size <= LINK_BYTES and text != initial else "")
    if size > LINK_BYTES:
        st.caption(
            say()(
                msg(
                    "{size} bytes: a link holds at most {limit}, so this text is lost when the page is reloaded.",
                    size=f"{size:,}",
                    limit=f"{LINK_BYTES:,}",
                )
            )
        )
    return text


def put_in_url(key: str, value: str) -> None:
    """Put a value into the URL; an empty one is removed."""
    if st.query_params.get(key, "") == value:
        return
    if value:
        st.query_params[key] = value
    else:
        del st.query_params[key]


def _option_in_url(key: str, options: Sequence[str]) -> str:
    """Return the option in the URL, or the first one if the URL has none of them."""
    option = st.query_params.get(key, options[0])
    return option if option in options else options[0]


def is_dark() -> bool:
    """Return whether the browser shows the dark theme."""
    return st.context.theme.type == "dark"


def escape_markdown(text: str) -> str:
    """Return a text with every Markdown sign escaped."""
    return "".join("\\" + c if c in r"\`*_{}[]()<>#+-.!|$~:^=" else c for c in text)
