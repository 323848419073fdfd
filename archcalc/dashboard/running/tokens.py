"""Each token of a text with its probability, and what else might have stood in its place."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

import streamlit as st

from archcalc.dashboard import blocks, charts
from archcalc.dashboard.running.controls import Asked, sampling
from archcalc.dashboard.running.writing import Written
from archcalc.dashboard.session import KEPT, say
from archcalc.render import next_token as page_of
from archcalc.render.text import visible
from archcalc.words import msg

if TYPE_CHECKING:
    from archcalc.interp.next_token import NextTokens

TOP: Final = 20


def show(found: Written, asked: Asked) -> None:
    """The tokens as chips, and below the distribution at the one that is chosen, by the settings as they stand now."""
    ids = found.completion.ids
    if not ids:
        return
    say_ = say()
    st.subheader(say_(msg("Token by token: how likely the model held each")), anchor=False)
    place = int(st.session_state.get("run_place") or 1) if len(ids) > 1 else 1
    place = min(place, len(ids))
    st.html(_chips(found, asked, place - 1))
    if len(ids) > 1:
        if st.session_state.get("run_place", 1) > len(ids):
            st.session_state["run_place"] = len(ids)
        place = int(st.slider(say_(msg("Token that is looked at")), 1, len(ids), 1, key="run_place", **KEPT))
    _runners_up(found, asked, place - 1)


def _runners_up(found: Written, asked: Asked, place: int) -> None:
    from archcalc.render.charts.sampling import chart

    say_, opened = say(), found.made.loaded_model.source
    chosen = found.completion.ids[place]
    here = at(found, asked, place)
    piece = opened.piece
    charts.show(chart(here, chosen, piece, say_), name=f"{asked.model.replace('/', '.')}.token.{place + 1}")
    context = found.asked.prompt + "".join(map(piece, found.completion.ids[:place]))
    page = page_of.page(opened.label, here, [context], piece, say_)
    with st.expander(say_(msg("As a table"))):
        blocks.show(page, name="run.next", data=lambda: page_of.data(opened.label, here, [context], piece))


def at(found: Written, asked: Asked, place: int) -> NextTokens:
    """What might have come at a place of the text, drawn as `asked` says."""
    from archcalc.interp.next_token import of_logits

    ids = [*found.completion.prompt_ids, *found.completion.ids[:place]]
    logits_CV = found.logits[place][None].double()
    return of_logits(logits_CV, [set(ids)], [ids], top=TOP, sampling=sampling(asked))


def _chips(found: Written, asked: Asked, place: int) -> str:
    """Every token over its probability in the model's own distribution; the darker, the likelier."""
    piece = found.made.loaded_model.source.piece
    told = zip(found.completion.ids, _probabilities(found), strict=False)
    chips = "".join(_chip(visible(piece(token)), p, i == place) for i, (token, p) in enumerate(told))
    return f'<div class="ac-chips" role="list">{chips}</div>'


def _probabilities(found: Written) -> list[float]:
    """Of each token that came, how likely the model alone held it."""
    import torch

    return [
        float(torch.log_softmax(logits_V.double(), -1)[token].exp())
        for logits_V, token in zip(found.logits, found.completion.ids, strict=False)
    ]


def _chip(text: str, probability: float, is_chosen: bool) -> str:
    style = f"background: rgba(86, 180, 233, {0.08 + 0.72 * probability:.2f})"
    chosen = ' aria-current="true" class="ac-chip ac-chosen"' if is_chosen else ' class="ac-chip"'
    return (
        f'<span role="listitem"{chosen}><span style="{style}">{escape(text)}</span>'
        f"<small>{100 * probability:.0f} %</small></span>"
    )
