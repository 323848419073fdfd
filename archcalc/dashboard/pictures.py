"""Draw SVG pictures in the theme's color, with download buttons."""

from __future__ import annotations

from base64 import b64encode
from typing import Final

import streamlit as st

from archcalc.dashboard.downloads import download_button, download_row
from archcalc.dashboard.session import is_dark, say
from archcalc.render.charts.file import svg_as_png
from archcalc.render.charts.frame import INK, dark
from archcalc.words import msg

_PAGE: Final = """<!doctype html><meta charset="utf-8"><style>:root {{ color-scheme: light dark }}</style>{svg}"""


def show(svg: str, *, name: str) -> None:
    """Draw an SVG element whose color is currentColor, and download buttons. A narrow page scrolls the picture."""
    st.html(image(svg))
    with download_row(say()(msg("Save the chart"))):
        download_button("HTML", lambda: _PAGE.format(svg=svg).encode(), f"{name}.html", "text/html")
        download_button("PNG", lambda: svg_as_png(svg.replace("currentColor", INK)), f"{name}.png", "image/png")
        download_button("SVG", lambda: svg.replace("currentColor", INK).encode(), f"{name}.svg", "image/svg+xml")


def image(svg: str) -> str:
    """Return the picture as an HTML image in the theme's color; streamlit removes inline SVG."""
    ink = dark({"ink": INK})["ink"] if is_dark() else INK
    source = f"data:image/svg+xml;base64,{b64encode(svg.replace('currentColor', ink).encode()).decode()}"
    label = svg.partition('aria-label="')[2].partition('"')[0]
    return f'<div class="ac-scroll" tabindex="0"><img alt="{label}" src="{source}"></div>'
