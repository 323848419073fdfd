"""Drawings that are SVG: in the page's ink, as large as they are, and as files."""

from __future__ import annotations

from base64 import b64encode
from typing import Final

import streamlit as st

from archcalc.dashboard.saving import files, save
from archcalc.dashboard.session import is_dark, say
from archcalc.render.charts.file import svg_as_png
from archcalc.render.charts.frame import INK, dark
from archcalc.words import msg

_PAGE: Final = """<!doctype html><meta charset="utf-8"><style>:root {{ color-scheme: light dark }}</style>{svg}"""


def show(svg: str, *, name: str) -> None:
    """An SVG element whose ink is currentColor, and its files. A page narrower than the drawing scrolls it."""
    st.html(image(svg))
    with files(say()(msg("Save the chart"))):
        save("HTML", lambda: _PAGE.format(svg=svg).encode(), f"{name}.html", "text/html")
        save("PNG", lambda: svg_as_png(svg.replace("currentColor", INK)), f"{name}.png", "image/png")
        save("SVG", lambda: svg.replace("currentColor", INK).encode(), f"{name}.svg", "image/svg+xml")


def image(svg: str) -> str:
    """The drawing as HTML, in the page's ink: as an image, since the page lets no foreign SVG stand in it."""
    ink = dark({"ink": INK})["ink"] if is_dark() else INK
    source = f"data:image/svg+xml;base64,{b64encode(svg.replace('currentColor', ink).encode()).decode()}"
    label = svg.partition('aria-label="')[2].partition('"')[0]
    return f'<div class="ac-scroll" tabindex="0"><img alt="{label}" src="{source}"></div>'
