"""What belongs to one visitor: the language, the theme, and how a widget's state is kept."""

from __future__ import annotations

from collections.abc import Callable
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

_NAMES: Final = {"en": "English", "zh": "中文"}


def choose_language() -> None:
    """The switch of languages, in the sidebar."""
    st.sidebar.segmented_control(
        "Language / 语言",
        LANGS,
        format_func=_NAMES.__getitem__,
        default=LANGS[0],
        required=True,
        key="lang",
        **KEPT,
    )


def lang() -> str:
    """The language that the visitor reads, one of `LANGS`."""
    return str(st.session_state.get("lang") or LANGS[0])


def say() -> Words:
    """The words of that language."""
    return words(lang())


def is_dark() -> bool:
    """Whether the page is dark, as far as the browser has told."""
    return st.context.theme.type == "dark"


def plain(text: str) -> str:
    """A text of anybody's for a place that reads Markdown: every sign of which is escaped."""
    return "".join("\\" + c if c in r"\`*_{}[]()<>#+-.!|$~:^=" else c for c in text)
