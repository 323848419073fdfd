"""Headline numbers: exact, rounded, and whether they are exact, measured or modeled."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

import msgspec
import streamlit as st

from archcalc.analysis.value_names import SURENESS
from archcalc.dashboard.session import say


class Metric(msgspec.Struct, frozen=True):
    """A number: its label, all digits, a rounded form; `kind` is exact, measured or modeled."""

    label: str
    exact: str
    human: str
    kind: str = "exact"


def show(metrics: Iterable[Metric]) -> None:
    """Draw the numbers side by side, as many in a row as fit."""
    st.html(f'<dl class="ac-figures">{"".join(map(_metric, metrics))}</dl>')


def _metric(metric: Metric) -> str:
    details = " · ".join(part for part in (metric.human, say()(SURENESS[metric.kind])) if part)
    return (
        f'<div><dt>{escape(metric.label)}</dt><dd class="ac-exact">{escape(metric.exact)}</dd>'
        f'<dd class="ac-human">{escape(details)}</dd></div>'
    )
