"""A chart as an HTML, PNG or SVG file, by the suffix of its name."""

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

# A character of the private use area, in place of "<" until the chart is in its script.
_LESS_THAN = "\ue000"


def _html(chart: Chart) -> bytes:
    """Return a self-contained page. The library does not escape the chart that it writes into a script."""
    import vl_convert

    escaped = json.dumps(chart, ensure_ascii=False).replace("<", _LESS_THAN)
    page = vl_convert.vegalite_to_html(escaped, bundle=True)
    title = escape(chart["title"]["text"])
    return page.replace("<title>Chart</title>", f"<title>{title}</title>").replace(_LESS_THAN, r"\u003c").encode()


def _png(chart: Chart) -> bytes:
    import vl_convert

    return bytes(vl_convert.vegalite_to_png(chart, scale=2))


def _svg(chart: Chart) -> bytes:
    import vl_convert

    return vl_convert.vegalite_to_svg(chart).encode()


_WRITERS: dict[str, Callable[[Chart], bytes]] = {".html": _html, ".htm": _html, ".png": _png, ".svg": _svg}


def as_file(path: str, chart: Callable[[], Chart], say: Translator = ENGLISH) -> bytes:
    """Return the bytes of a file of this name, in the language of `say`.

    Raises InputError for another suffix, MissingExtraError if the extra is not installed.
    """
    writer = _WRITERS.get(os.path.splitext(path)[1].lower())
    if writer is None:
        raise InputError(
            msg("found {found}", found=shown(path)),
            where="plot",
            allowed=msg("a name that ends in .html, .png or .svg"),
        )
    require_plot()
    return writer(say.within(chart()))


def as_bytes(chart: Chart, suffix: str) -> bytes:
    """Return the bytes of a file with this suffix; see `as_file`."""
    require_plot()
    return _WRITERS[suffix](chart)


def require_plot() -> None:
    """Raise MissingExtraError if the extra `plot` is not installed."""
    require("vl_convert", does=msg("drawing a plot"), extra="plot")


def svg_as_png(svg: str) -> bytes:
    """Return a drawing as PNG, twice its size, on white. Raises MissingExtraError without the extra `plot`."""
    require_plot()
    import vl_convert

    opaque = svg.replace("<title>", '<rect width="100%" height="100%" fill="white"/><title>', 1)
    return bytes(vl_convert.svg_to_png(opaque, scale=2))
