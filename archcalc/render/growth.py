"""The cache against context length, as a page."""

from __future__ import annotations

from typing import Any

from archcalc.analysis.growth import Growth
from archcalc.render.page import Column, Page, Table
from archcalc.spec import Spec
from archcalc.units import human_bytes
from archcalc.words import joined, msg


def page(spec: Spec, found: Growth) -> Page:
    """A row for each length."""
    columns = (Column(msg("context"), "count"), Column(msg("cache bytes"), "count"), Column("", "human"))
    rows = [(tokens, size, human_bytes(size)) for tokens, size in found.points]
    asked = msg("batch {n:,}", n=found.batch), msg("cache {dtype}", dtype=found.dtype), msg("exact")
    subtitle = joined(" · ", (spec.name, *asked))
    return Page(msg("{label}: the cache as the context grows", label=spec.label), subtitle, [Table("", columns, rows)])


def data(found: Growth) -> dict[str, Any]:
    """The same as plain data."""
    return {
        "batch": found.batch,
        "cache_dtype": found.dtype,
        "points": [{"tokens": tokens, "kv_cache_bytes": size} for tokens, size in found.points],
        "kind": "exact",
    }
