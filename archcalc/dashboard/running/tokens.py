"""The tokens of a generated text: the probability of each, and the alternatives at one of them."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

import streamlit as st

from archcalc.dashboard import blocks, charts
from archcalc.dashboard.running.controls import GenerationRequest, sampling
from archcalc.dashboard.running.generated_text import GeneratedText
from archcalc.dashboard.session import IN_URL, say
from archcalc.render.next_token import view
from archcalc.render.text import visible
from archcalc.results import plain
from archcalc.words import msg

if TYPE_CHECKING:
    from archcalc.interp.next_token_result import NextTokenDistributions

TOP: Final = 20


def show(text: GeneratedText, request: GenerationRequest) -> None:
    """Draw the tokens as chips, and the distribution at the chosen one, sampled as `request` says."""
    ids = text.completion.ids
    if not ids:
        return
    say_ = say()
    st.subheader(say_(msg("Token by token: the probability of each")), anchor=False)
    position = int(st.session_state.get("run_place") or 1) if len(ids) > 1 else 1
    position = min(position, len(ids))
    st.html(_chips(text, request, position - 1))
    if len(ids) > 1:
        if st.session_state.get("run_place", 1) > len(ids):
            st.session_state["run_place"] = len(ids)
        position = int(st.slider(say_(msg("Position of the token")), 1, len(ids), 1, key="run_place", **IN_URL))
    _show_candidates(text, request, position - 1)


def _show_candidates(text: GeneratedText, request: GenerationRequest, position: int) -> None:
    from archcalc.render.charts.sampling import chart

    result = distribution_at(text, request, position)
    charts.show(
        chart(result, text.completion.ids[position]), name=f"{request.model.replace('/', '.')}.token.{position + 1}"
    )
    with st.expander(say()(msg("As a table"))):
        blocks.show(view(result), name="run.next", data=lambda: plain(result))


def distribution_at(text: GeneratedText, request: GenerationRequest, position: int) -> NextTokenDistributions:
    """Return the distribution of the token at a position of the text, with the sampling options of `request`."""
    from archcalc.interp.next_token import DisplayNames, of_logits

    source, earlier = text.generation.loaded_model.source, text.completion.ids[:position]
    context = text.request.prompt + "".join(map(source.piece, earlier))
    ids = [*text.completion.prompt_ids, *earlier]
    return of_logits(
        text.logits[position][None].double(),
        [set(ids)],
        [ids],
        top=TOP,
        sampling=sampling(request),
        labels=DisplayNames(source.spec.name, source.label, [context], source.piece),
    )


def _chips(text: GeneratedText, request: GenerationRequest, position: int) -> str:
    """Return every token over its probability in the unchanged distribution, as HTML; darker is more probable."""
    piece = text.generation.loaded_model.source.piece
    pairs = zip(text.completion.ids, _probabilities(text), strict=False)
    chips = "".join(_chip(visible(piece(token)), p, i == position) for i, (token, p) in enumerate(pairs))
    return f'<div class="ac-chips" role="list">{chips}</div>'


def _probabilities(text: GeneratedText) -> list[float]:
    """Return the probability of each token before sampling options change it."""
    import torch

    return [
        float(torch.log_softmax(logits_V.double(), -1)[token].exp())
        for logits_V, token in zip(text.logits, text.completion.ids, strict=False)
    ]


def _chip(text: str, probability: float, is_chosen: bool) -> str:
    style = f"background: rgba(86, 180, 233, {0.08 + 0.72 * probability:.2f})"
    chosen = ' aria-current="true" class="ac-chip ac-chosen"' if is_chosen else ' class="ac-chip"'
    return (
        f'<span role="listitem"{chosen}><span style="{style}">{escape(text)}</span>'
        f"<small>{100 * probability:.0f} %</small></span>"
    )
