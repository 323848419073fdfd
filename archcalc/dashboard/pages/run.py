"""The page that runs a model: what it writes, how sure it is of each token, and how it reads a text."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import streamlit as st

from archcalc.dashboard import same
from archcalc.dashboard.errors import told
from archcalc.dashboard.running import controls
from archcalc.dashboard.session import choice, plain, say
from archcalc.extras import require_running
from archcalc.words import msg

if TYPE_CHECKING:
    from archcalc.dashboard.running.writing import Written


_ENDINGS: Final = {
    "eos": msg("ended by itself"),
    "stop": msg("ended at a stop text"),
    "length": msg("as long as was asked for"),
    "stopped": msg("stopped"),
}

_VIEW_NAMES: Final = {
    "generate": msg("Generate"),
    "tokenize": msg("Tokenizer"),
}


def page() -> None:
    """The model, then the view that is chosen."""
    say_ = say()
    st.markdown(
        plain(
            say_(
                msg(
                    "A real model writes here, with weights of its own: those that come with archcalc, and those "
                    "of the folder that archcalc app --models names."
                )
            )
        )
    )
    name = controls.model()
    label = say_(msg("View"))
    view = choice(st.segmented_control, label, _VIEW_NAMES, key="run_view", label_visibility="collapsed")
    with told():
        require_running()
        _VIEWS[view](name)


def _generate(name: str) -> None:
    from archcalc.dashboard.running import tokens, writing

    say_, asked = say(), controls.asked(name)
    same.lines(asked.words, asked.python)
    controls.sampling(asked)
    if st.button(say_(msg("Generate")), type="primary", icon=":material/play_arrow:", key="run_generate"):
        writing.write(asked)
    found = writing.written()
    if found is None:
        return
    writing.text(found, st)
    _said(found)
    if found.asked.model == name:
        tokens.show(found, asked)


def _said(found: Written) -> None:
    """What is measured of the text, how it ended, and whether it is of other settings than those above."""
    say_, timing = say(), found.made.timing
    ended = found.completion.ended if found.is_done else "stopped"
    words = [say_(_ENDINGS[ended]), say_(msg("{n} tokens", n=len(found.completion.ids)))]
    if timing.n_steps:
        words.append(say_(msg("the first after {seconds} s (measured)", seconds=f"{timing.first_seconds:.3f}")))
    if rate := timing.tokens_per_second:
        words.append(say_(msg("then {rate} tokens/s (measured)", rate=f"{rate:,.1f}")))
    st.caption(" · ".join(map(plain, words)))


def _tokenize(name: str) -> None:
    from archcalc.dashboard.running import splitting

    splitting.show(name)


_VIEWS: Final[dict[str, Callable[[str], None]]] = {"generate": _generate, "tokenize": _tokenize}
