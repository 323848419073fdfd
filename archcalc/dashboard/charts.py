"""Charts: as the page's theme has them, and as files."""

from __future__ import annotations

from functools import partial
from typing import Any

import streamlit as st

from archcalc.dashboard.saving import files, save
from archcalc.dashboard.session import is_dark, plain, say
from archcalc.render.charts.file import as_bytes
from archcalc.render.charts.frame import dark, on_page
from archcalc.render.translate import chart_in
from archcalc.words import msg

_FILES = {".html": "text/html", ".png": "image/png", ".svg": "image/svg+xml"}


def show(chart: dict[str, Any], *, name: str) -> None:
    """A Vega-Lite chart under its title, and a menu with its files, drawn when asked for; `name` is theirs."""
    said = chart_in(chart, say())
    _titled(said.get("title"))
    drawn = on_page(said)
    st.vega_lite_chart(dark(drawn) if is_dark() else drawn, theme=None, width="stretch", key=f"chart_{name}")
    with files(say()(msg("Save the chart"))):
        for suffix, kind in _FILES.items():
            save(suffix[1:].upper(), partial(as_bytes, chart, suffix), f"{name}{suffix}", kind)


def _titled(title: Any) -> None:
    """The chart's title and its lines of small print, which a page can wrap."""
    if isinstance(title, dict):
        st.subheader(plain(title["text"]), anchor=False)
        st.caption("  \n".join(map(plain, title.get("subtitle", ()))))
