"""What belongs to one visitor: the language, the theme, and how a widget's state is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import streamlit as st

from archcalc.render.lang import LANGS, Words, words

Body = Callable[[], None]

# Of a widget with a key: its state is in the URL, and is still there when the visitor comes back from another page.
KEPT: Final[dict[str, Any]] = {"bind": "query-params", "persist_state": "session"}
# The same for what is too large for a URL, or no text.
KEPT_HERE: Final[dict[str, Any]] = {"persist_state": "session"}

# Pasted text goes into the link up to this many bytes.
LINK_BYTES: Final = 4096

_LANG: Final = "_lang"
_NAMES: Final = {"en": "English", "zh": "中文"}


def choose_language() -> None:
    """The switch of languages, in the sidebar."""
    st.session_state.setdefault(_LANG, _asked("lang", LANGS, LANGS[0]))
    st.session_state.setdefault("lang", st.session_state[_LANG])
    st.session_state[_LANG] = st.sidebar.segmented_control(
        "Language / 语言", LANGS, format_func=_NAMES.__getitem__, required=True, key="lang"
    )
    link("lang", "" if lang() == LANGS[0] else lang())


def lang() -> str:
    """The language that the visitor reads, one of `LANGS`."""
    return str(st.session_state.get(_LANG, LANGS[0]))


def say() -> Words:
    """The words of that language."""
    return words(lang())


def choice(draw: Callable[..., Any], label: str, options: Sequence[str], names: str, *, key: str, **more: Any) -> str:
    """One of `options`, whose names are words: 'app.from_' and the option itself. The first is the default.

    `draw` is st.segmented_control, st.radio or st.selectbox. A widget that streamlit binds to the URL would put the
    translated name there, and lose its value with the language; so the option itself is kept, here and in the link.
    """
    held, widget = f"_{key}", f"{key}_{lang()}"
    st.session_state.setdefault(held, _asked(key, options, options[0]))
    if st.session_state[held] not in options:
        st.session_state[held] = options[0]
    st.session_state.setdefault(widget, st.session_state[held])
    required = {"required": True} if draw in (st.segmented_control, st.pills) else {}
    chosen = draw(label, options, format_func=lambda option: say()(f"{names}{option}"), key=widget, **required, **more)
    st.session_state[held] = chosen
    link(key, "" if chosen == options[0] else chosen)
    return str(chosen)


def link(key: str, value: str) -> None:
    """Put a value into the URL, or take it out where there is none."""
    if st.query_params.get(key, "") == value:
        return
    if value:
        st.query_params[key] = value
    else:
        del st.query_params[key]


def _asked(key: str, options: Sequence[str], default: str) -> str:
    """What the URL says, if it is one of the options."""
    asked = st.query_params.get(key, default)
    return asked if asked in options else default


def is_dark() -> bool:
    """Whether the page is dark, as far as the browser has told."""
    return st.context.theme.type == "dark"


def plain(text: str) -> str:
    """A text of anybody's for a place that reads Markdown: every sign of which is escaped."""
    return "".join("\\" + c if c in r"\`*_{}[]()<>#+-.!|$~:^=" else c for c in text)
