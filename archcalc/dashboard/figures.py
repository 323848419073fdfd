"""The figures that people look for first: exact, in words, and how each is known."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

import msgspec
import streamlit as st

from archcalc.analysis.value_names import SURENESS
from archcalc.dashboard.session import say


class Figure(msgspec.Struct, frozen=True):
    """One number: its name, exact digits, the same rounded, and its kind: exact, measured or modelled."""

    label: str
    exact: str
    human: str
    kind: str = "exact"


def show(figures: Iterable[Figure]) -> None:
    """Figures side by side, as many in a row as fit."""
    st.html(f'<dl class="ac-figures">{"".join(map(_one, figures))}</dl>')


def _one(figure: Figure) -> str:
    words = " · ".join(part for part in (figure.human, say()(SURENESS[figure.kind])) if part)
    return (
        f'<div><dt>{escape(figure.label)}</dt><dd class="ac-exact">{escape(figure.exact)}</dd>'
        f'<dd class="ac-human">{escape(words)}</dd></div>'
    )
