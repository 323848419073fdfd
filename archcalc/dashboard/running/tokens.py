"""Each token of a text with its probability, and what else might have stood in its place."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

import streamlit as st

from archcalc.dashboard import blocks, charts
from archcalc.dashboard.running.controls import Asked, sampling
from archcalc.dashboard.running.writing import Written
from archcalc.dashboard.session import KEPT, say
from archcalc.render.next_token import view
from archcalc.render.text import visible
from archcalc.results import plain
from archcalc.words import msg

if TYPE_CHECKING:
    from archcalc.interp.next_token_result import NextTokenDistributions

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

    result = distribution_at(found, asked, place)
    charts.show(chart(result, found.completion.ids[place]), name=f"{asked.model.replace('/', '.')}.token.{place + 1}")
    with st.expander(say()(msg("As a table"))):
        blocks.show(view(result), name="run.next", data=lambda: plain(result))


def distribution_at(found: Written, asked: Asked, place: int) -> NextTokenDistributions:
    """Return the distribution of the token at a place of the text, with the sampling options of `asked`."""
    from archcalc.interp.next_token import Labels, of_logits

    source, earlier = found.made.loaded_model.source, found.completion.ids[:place]
    text = found.asked.prompt + "".join(map(source.piece, earlier))
    ids = [*found.completion.prompt_ids, *earlier]
    return of_logits(
        found.logits[place][None].double(),
        [set(ids)],
        [ids],
        top=TOP,
        sampling=sampling(asked),
        labels=Labels(source.spec.name, source.label, [text], source.piece),
    )


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
