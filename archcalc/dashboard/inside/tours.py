"""Guided tours: short paths of links to views of the page, with a sentence each."""

from __future__ import annotations

from functools import cache
from html import escape
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

import msgspec
import streamlit as st

from archcalc.dashboard.session import lang, say
from archcalc.spec.yaml_reader import parse
from archcalc.typed_data import convert
from archcalc.words import Message, msg

_FILE: Final = Path(__file__).with_name("tours.yaml")
# In the URL: the tour, and its step from 1.
_TOUR, _STEP = "tour", "step"


class Translated(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A text in each language."""

    en: str
    zh: str

    def text(self) -> str:
        """Return it in the visitor's language."""
        return str(getattr(self, lang()))


class TourStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A view of the page by its link's parameters, and what to see there."""

    title: Translated
    sentence: Translated
    link: dict[str, str | int]


class Tour(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A path of steps."""

    title: Translated
    steps: tuple[TourStep, ...]


@cache
def tours() -> dict[str, Tour]:
    """Return the tours by their names in the URL."""
    return convert(parse(_FILE.read_bytes()), dict[str, Tour])


def parameters(name: str, number: int) -> dict[str, str]:
    """Return the parameters of the link to a step, from 1."""
    link = tours()[name].steps[number - 1].link
    return {_TOUR: name, _STEP: str(number), **{key: str(value) for key, value in link.items()}}


def show() -> None:
    """Draw the links to the tours; of the tour in the URL, the step."""
    name = st.query_params.get(_TOUR, "")
    if name not in tours():
        links = [_link(tour.title.text(), each, 1) for each, tour in tours().items()]
        st.html(f'<p class="ac-tours">{escape(say()(msg("Guided tours:")))} {" · ".join(links)}</p>')
        return
    tour, number = tours()[name], _number(len(tours()[name].steps))
    step, n = tour.steps[number - 1], len(tour.steps)
    place = say()(msg("{tour}: step {number} of {n}", tour=tour.title.text(), number=number, n=n))
    ways = [
        *([_link(_told(msg("Previous step")), name, number - 1)] if number > 1 else []),
        *([_link(_told(msg("Next step")), name, number + 1)] if number < n else []),
        f'<a href="?{urlencode({"lang": lang()})}">{escape(_told(msg("End the tour")))}</a>',
    ]
    st.html(
        f'<section class="ac-tour"><small>{escape(place)}</small><h3>{escape(step.title.text())}</h3>'
        f"<p>{escape(step.sentence.text())}</p><nav>{' · '.join(ways)}</nav></section>"
    )


def _number(n: int) -> int:
    """Return the step in the URL, within the tour."""
    text = st.query_params.get(_STEP, "1")
    return min(max(int(text), 1), n) if text.isdecimal() else 1


def _told(message: Message) -> str:
    return say()(message)


def _link(text: str, name: str, number: int) -> str:
    query = urlencode({"lang": lang(), **parameters(name, number)})
    return f'<a href="?{escape(query)}">{escape(text)}</a>'
