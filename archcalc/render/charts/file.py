"""A chart as a file: HTML, PNG or SVG, by what its name ends in."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from html import escape
from typing import Any

from archcalc.errors import InputError, shown
from archcalc.extras import require
from archcalc.words import ENGLISH, Translator, msg

Chart = dict[str, Any]

# Of the private use area: stands for "<" until the chart is in its script.
_LESS_THAN = "\ue000"


def _html(chart: Chart) -> bytes:
    """One file that fetches nothing. The library writes the chart into a script as it is, whatever a title holds."""
    import vl_convert

    held = json.dumps(chart, ensure_ascii=False).replace("<", _LESS_THAN)
    page = vl_convert.vegalite_to_html(held, bundle=True)
    title = escape(chart["title"]["text"])
    return page.replace("<title>Chart</title>", f"<title>{title}</title>").replace(_LESS_THAN, r"\u003c").encode()


def _png(chart: Chart) -> bytes:
    import vl_convert

    return bytes(vl_convert.vegalite_to_png(chart, scale=2))


def _svg(chart: Chart) -> bytes:
    import vl_convert

    return vl_convert.vegalite_to_svg(chart).encode()


_WAYS: dict[str, Callable[[Chart], bytes]] = {".html": _html, ".htm": _html, ".png": _png, ".svg": _svg}


def as_file(path: str, chart: Callable[[], Chart], say: Translator = ENGLISH) -> bytes:
    """A chart as the bytes of a file of this name, in the language of `say`.

    Raises InputError for a name with another suffix, MissingExtraError where the extra is not installed.
    """
    way = _WAYS.get(os.path.splitext(path)[1].lower())
    if way is None:
        raise InputError(
            msg("found {found}", found=shown(path)),
            where="plot",
            allowed=msg("a name that ends in .html, .png or .svg"),
        )
    require_plot()
    return way(say.within(chart()))


def as_bytes(chart: Chart, suffix: str) -> bytes:
    """A chart as the file of one of the suffixes that `as_file` knows; MissingExtraError as there."""
    require_plot()
    return _WAYS[suffix](chart)


def require_plot() -> None:
    """Raise MissingExtraError where no plot can be drawn."""
    require("vl_convert", does=msg("drawing a plot"), extra="plot")


def svg_as_png(svg: str) -> bytes:
    """A drawing as PNG, twice its size, on white; MissingExtraError as above."""
    require_plot()
    import vl_convert

    ground = svg.replace("<title>", '<rect width="100%" height="100%" fill="white"/><title>', 1)
    return bytes(vl_convert.svg_to_png(ground, scale=2))
