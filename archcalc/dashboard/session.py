"""What belongs to one visitor: the language, the theme, and how a widget's state is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import streamlit as st

from archcalc.words import LANGS, Message, Translator, msg, preferred_lang, translator

Body = Callable[[], None]

# Of a widget with a key: its state is in the URL, and is still there when the visitor comes back from another page.
KEPT: Final[dict[str, Any]] = {"bind": "query-params", "persist_state": "session"}
# The same for what is too large for a URL, or no text.
KEPT_HERE: Final[dict[str, Any]] = {"persist_state": "session"}

# Pasted text goes into the link up to this many bytes.
LINK_BYTES: Final = 4096

# Widgets whose value at first is called `default`; others call it `index`.
_OF_BUTTONS: Final = ("segmented_control", "pills")

_NAMES: Final = {"en": "English", "zh": "中文"}


def choose_language() -> None:
    """The switch of languages, in the sidebar."""
    langs = sorted(LANGS, key=lambda name: name != preferred_lang())
    _choice(st.sidebar.segmented_control, "Language / 语言", langs, _NAMES.__getitem__, key="lang")


def lang() -> str:
    """The language that the visitor reads, one of `LANGS`."""
    return str(st.session_state.get("lang") or preferred_lang())


def say() -> Translator:
    """The words of that language."""
    return translator(lang())


def choice(draw: Callable[..., Any], label: str, names: Mapping[str, Message], *, key: str, **more: Any) -> str:
    """Return the option of `names` that is chosen, which the visitor sees by its name. The first is the default.

    `draw` is st.segmented_control, st.radio or st.selectbox. A widget that streamlit binds to the URL would put the
    translated name there; so the option itself is put there by hand.
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
    # What a widget begins with is part of what it is, so it stays what it was when the visitor came.
    begun = st.session_state.setdefault(f"_begun_{key}", _asked(key, options))
    begins = {"default": begun, "required": True} if draw.__name__ in _OF_BUTTONS else {"index": options.index(begun)}
    chosen = str(draw(label, options, format_func=name_of, key=key, **begins, **KEPT_HERE, **more))
    link(key, "" if chosen == options[0] else chosen)
    return chosen


def text_in_link(label: str, key: str, first: str = "", **more: Any) -> str:
    """A text of several lines, of which up to LINK_BYTES are put into the URL; of a longer one the page says so.

    A widget that streamlit binds to the URL would put all of it there.
    """
    widget = f"{key}_text"
    if widget not in st.session_state:
        st.session_state[widget] = st.query_params.get(key, first)
    text: str = st.text_area(label, key=widget, **KEPT_HERE, **more)
    size = len(text.encode("utf-8", "surrogatepass"))
    link(key, text if size <= LINK_BYTES and text != first else "")
    if size > LINK_BYTES:
        st.caption(
            say()(
                msg(
                    "{size} bytes: more than the {limit} that go into the link, so a reload of the link will not "
                    "bring it back.",
                    size=f"{size:,}",
                    limit=f"{LINK_BYTES:,}",
                )
            )
        )
    return text


def link(key: str, value: str) -> None:
    """Put a value into the URL, or take it out where there is none."""
    if st.query_params.get(key, "") == value:
        return
    if value:
        st.query_params[key] = value
    else:
        del st.query_params[key]


def _asked(key: str, options: Sequence[str]) -> str:
    """What the URL says, if it is one of the options; else the first."""
    asked = st.query_params.get(key, options[0])
    return asked if asked in options else options[0]


def is_dark() -> bool:
    """Whether the page is dark, as far as the browser has told."""
    return st.context.theme.type == "dark"


def plain(text: str) -> str:
    """A text of anybody's for a place that reads Markdown: every sign of which is escaped."""
    return "".join("\\" + c if c in r"\`*_{}[]()<>#+-.!|$~:^=" else c for c in text)
