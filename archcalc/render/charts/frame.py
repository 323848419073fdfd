"""What every chart has: its size, letters and colours, the title; and the same on a dark ground, or on a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from archcalc.words import Message

WIDTH, HEIGHT = 720, 420
FONT = "Helvetica Neue, Helvetica, Arial, Liberation Sans, PingFang SC, Microsoft YaHei, Noto Sans CJK SC, sans-serif"
INK, FAINT = "#222222", "#767676"

# Areas by component, on either ground. Okabe & Ito's palette, told apart by the colour-blind too.
COMPONENT_COLORS: Final = {
    "embedding": "#E69F00",
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
# What every chart has.
FRAME = {
    "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
    "width": WIDTH,
    "height": HEIGHT,
    "padding": 24,
    "background": "white",
    "usermeta": {"embedOptions": {"actions": {"export": True, "source": False, "compiled": False, "editor": False}}},
    "config": CONFIG,
}

# On a dark ground: what stands for each colour that a chart may have.
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
    """A chart's title, with lines of small print under it."""
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


def at_point(at: dict[str, Any], words: str | Message, **style: Any) -> dict[str, Any]:
    """Words on a halo of white, so that they are read where they cross a line."""
    mark = {"type": "text", "text": words, "align": "left", "baseline": "middle", "fontSize": 13, **style}
    halo = mark | {"stroke": "white", "strokeWidth": 4, "strokeJoin": "round"}
    return {"data": {"values": [at]}, "layer": [{"mark": halo}, {"mark": mark}]}


def dark(chart: dict[str, Any]) -> dict[str, Any]:
    """The same chart for a dark ground: every colour of the palette swapped, wherever it stands."""
    return {key: _swapped(value) for key, value in chart.items()}


def _swapped(value: Any) -> Any:
    if isinstance(value, dict):
        return dark(value)
    if isinstance(value, list | tuple):
        return [_swapped(item) for item in value]
    return _DARK.get(value, value) if isinstance(value, str) else value


def on_page(chart: dict[str, Any]) -> dict[str, Any]:
    """The chart for a page that gives it its width and its ground, and writes its title itself."""
    kept = {key: value for key, value in chart.items() if key not in ("title", "padding")}
    return kept | {
        "width": "container",
        "background": "transparent",
        "autosize": {"type": "fit-x", "contains": "padding"},
    }
