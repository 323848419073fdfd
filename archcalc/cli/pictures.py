"""Charts within pages."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from msgspec import structs

from archcalc.cli.language import current
from archcalc.render.page import Page, Picture
from archcalc.words import msg


def with_picture(view: Callable[[Any, None], Page], chart: Callable[[], dict[str, Any]]) -> Callable[[Any, None], Page]:
    """Return a view whose page begins with a chart as a drawing, if the extra that draws is installed."""
    if find_spec("vl_convert") is None:
        return view

    def page_with_picture(result: Any, options: None) -> Page:
        from archcalc.render.charts.file import as_bytes

        page, drawing = view(result, options), as_bytes(current().within(chart()), ".svg").decode()
        return structs.replace(page, blocks=[Picture(msg("Chart"), drawing), *page.blocks])

    return page_with_picture
