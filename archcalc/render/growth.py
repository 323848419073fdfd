"""The KV cache against the context length as a page."""

from __future__ import annotations

from archcalc.analysis.growth import CacheGrowth, CachePoint
from archcalc.render.page import Page
from archcalc.render.tables import table
from archcalc.words import joined, msg


def view(result: CacheGrowth, options: None = None) -> Page:
    """Return the page with a row for each context length."""
    sizes = msg("batch {n:,}", n=result.batch), msg("cache {dtype}", dtype=result.cache_dtype), msg("exact")
    title = msg("{label}: the cache as the context grows", label=result.label)
    return Page(title, joined(" · ", (result.name, *sizes)), [table("", result.points, CachePoint)])
