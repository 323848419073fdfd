"""The frame of every chart: size, font, colors, title; its form on a dark background and on a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from archcalc.words import Message

WIDTH, HEIGHT = 720, 420
FONT = "Helvetica Neue, Helvetica, Arial, Liberation Sans, PingFang SC, Microsoft YaHei, Noto Sans CJK SC, sans-serif"
INK, FAINT = "#222222", "#767676"

# Colors of components on a light or dark background: the palette of Okabe & Ito, which is safe for color blindness.
COMPONENT_COLORS: Final = {
    "embedding": "#E69F00",
    "per_layer_embedding": "#0072B2",
    "position": "#F0E442",
    "attention": "#56B4E9",
    "ffn": "#009E73",
    "mixer": "#CC79A7",
    "norm": "#999999",
    "head": "#D55E00",
    "other": "#BBBBBB",
}


CONFIG = {
    "font": FONT,
    "view": {"stroke": None},
    "title": {"color": INK, "fontWeight": 600},
    "axis": {
        "labelFontSize": 12,
        "titleFontSize": 13,
        "titleFontWeight": "normal",
        "titlePadding": 12,
        "labelColor": "#555555",
        "titleColor": INK,
        "gridColor": "#ECECEC",
        "domainColor": "#BBBBBB",
        "tickColor": "#BBBBBB",
        "labelPadding": 6,
    },
    "axisY": {"domain": False, "ticks": False},
}
# The common part of every chart.
FRAME = {
    "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
    "width": WIDTH,
    "height": HEIGHT,
    "padding": 24,
    "background": "white",
    "usermeta": {"embedOptions": {"actions": {"export": True, "source": False, "compiled": False, "editor": False}}},
    "config": CONFIG,
}

# Color on white → color on a dark background.
_DARK: Final = {
    "white": "#0e1117",
    INK: "#ececec",
    "#555555": "#b8b8b8",
    FAINT: "#9a9a9a",
    "#BBBBBB": "#5c6169",
    "#ECECEC": "#2a2e36",
    "#0072B2": "#4aa8e8",
    "#3A96D2": "#86c6f0",
    "#009E73": "#2cc79b",
    "#D55E00": "#ff8b45",
}


def title(text: str | Message, subtitle: Sequence[str | Message]) -> dict[str, Any]:
    """Return the title of a chart, with the lines of its subtitle."""
    return {
        "text": text,
        "subtitle": list(subtitle),
        "anchor": "start",
        "frame": "group",
        "fontSize": 19,
        "limit": WIDTH + 160,
        "subtitleFontSize": 13,
        "subtitleColor": "#555555",
        "subtitlePadding": 6,
        "subtitleLineHeight": 18,
        "offset": 18,
    }


def text_at(point: dict[str, Any], text: str | Message, **style: Any) -> dict[str, Any]:
    """Return a text with a white halo, which keeps it readable on lines."""
    mark = {"type": "text", "text": text, "align": "left", "baseline": "middle", "fontSize": 13, **style}
    halo = mark | {"stroke": "white", "strokeWidth": 4, "strokeJoin": "round"}
    return {"data": {"values": [point]}, "layer": [{"mark": halo}, {"mark": mark}]}


def dark(chart: dict[str, Any]) -> dict[str, Any]:
    """Return the chart for a dark background: every color of the palette is replaced."""
    return {key: _darkened(value) for key, value in chart.items()}


def _darkened(value: Any) -> Any:
    if isinstance(value, dict):
        return dark(value)
    if isinstance(value, list | tuple):
        return [_darkened(item) for item in value]
    return _DARK.get(value, value) if isinstance(value, str) else value


def on_page(chart: dict[str, Any]) -> dict[str, Any]:
    """Return the chart without title, in the width and on the background of a page."""
    content = {key: value for key, value in chart.items() if key not in ("title", "padding")}
    return content | {
        "width": "container",
        "background": "transparent",
        "autosize": {"type": "fit-x", "contains": "padding"},
    }
