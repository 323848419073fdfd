"""The page Run: generated text, the probability of each token, and the tokenizer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import streamlit as st

from archcalc.dashboard import snippets
from archcalc.dashboard.error_box import show_errors
from archcalc.dashboard.running import controls
from archcalc.dashboard.session import choice, escape_markdown, say
from archcalc.extras import require_running
from archcalc.words import msg

if TYPE_CHECKING:
    from archcalc.dashboard.running.generated_text import GeneratedText

_ENDINGS: Final = {
    "eos": msg("end of text"),
    "stop": msg("stop text"),
    "length": msg("maximum length"),
    "stopped": msg("stopped"),
}

_VIEW_NAMES: Final = {
    "generate": msg("Generate"),
    "tokenize": msg("Tokenizer"),
}


def page() -> None:
    """Draw the choice of a model, then the chosen view."""
    say_ = say()
    st.markdown(
        escape_markdown(
            say_(
                msg(
                    "Run a model with trained weights: one that comes with archcalc, or one in the folder of "
                    "archcalc app --models."
                )
            )
        )
    )
    name = controls.choose_model()
    label = say_(msg("View"))
    view = choice(st.segmented_control, label, _VIEW_NAMES, key="run_view", label_visibility="collapsed")
    with show_errors():
        require_running()
        _VIEWS[view](name)


def _generate(name: str) -> None:
    from archcalc.dashboard.running import generated_text, tokens

    say_, request = say(), controls.draw_request(name)
    snippets.show(request.command, request.python)
    controls.sampling(request)
    if st.button(say_(msg("Generate")), type="primary", icon=":material/play_arrow:", key="run_generate"):
        generated_text.generate(request)
    text = generated_text.last_text()
    if text is None:
        return
    generated_text.show_text(text, st)
    _summary(text)
    if text.request.model == name:
        tokens.show(text, request)


def _summary(text: GeneratedText) -> None:
    """Draw why the text ended, its length and the measured speed."""
    say_, timing = say(), text.generation.timing
    ending = text.completion.ended if text.is_done else "stopped"
    parts = [say_(_ENDINGS[ending]), say_(msg("{n} tokens", n=len(text.completion.ids)))]
    if timing.n_steps:
        parts.append(say_(msg("the first after {seconds} s (measured)", seconds=f"{timing.first_seconds:.3f}")))
    if rate := timing.tokens_per_second:
        parts.append(say_(msg("then {rate} tokens/s (measured)", rate=f"{rate:,.1f}")))
    st.caption(" · ".join(map(escape_markdown, parts)))


def _tokenize(name: str) -> None:

    from archcalc.dashboard.running import tokenization

    tokenization.show(name)


_VIEWS: Final[dict[str, Callable[[str], None]]] = {"generate": _generate, "tokenize": _tokenize}
