"""Draw charts in the theme of the page, with download buttons."""

from __future__ import annotations

from functools import partial
from typing import Any

import streamlit as st

from archcalc.dashboard.downloads import download_button, download_row
from archcalc.dashboard.session import escape_markdown, is_dark, say
from archcalc.render.charts.file import as_bytes
from archcalc.render.charts.frame import dark, on_page
from archcalc.words import msg

_MEDIA_TYPES = {".html": "text/html", ".png": "image/png", ".svg": "image/svg+xml"}


def show(chart: dict[str, Any], *, name: str) -> None:
    """Draw a Vega-Lite chart with its title and download buttons; `name` is the name of its files."""
    translated = say().within(chart)
    _title(translated.get("title"))
    themed = on_page(translated)
    st.vega_lite_chart(dark(themed) if is_dark() else themed, theme=None, width="stretch", key=f"chart_{name}")
    with download_row(say()(msg("Save the chart"))):
        for suffix, media_type in _MEDIA_TYPES.items():
            download_button(suffix[1:].upper(), partial(as_bytes, translated, suffix), f"{name}{suffix}", media_type)


def _title(title: Any) -> None:
    """Draw title and subtitle as text, which the page can wrap."""
    if isinstance(title, dict):
        st.subheader(escape_markdown(title["text"]), anchor=False)
        st.caption("  \n".join(map(escape_markdown, title.get("subtitle", ()))))
