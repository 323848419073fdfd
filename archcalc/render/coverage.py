"""The coverage of model types as a page."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

from archcalc.coverage import CHECKS, Coverage, ModelTypeCoverage
from archcalc.render.page import Page
from archcalc.render.tables import table
from archcalc.results import Row, count
from archcalc.words import msg

NOTE = msg(
    "Compared with transformers: every tensor's name and shape; FLOPs; logits to 1e-4 of their largest; and the same "
    "token by token. Made by 'archcalc coverage'."
)


class ExactTypes(Row, frozen=True, kw_only=True):
    """How many model types there are, and how many are exact in each check."""

    model_types: Annotated[int, count(msg("model types"))]
    parameters: Annotated[int, count(msg("parameters"))]
    flops: Annotated[int, count(msg("FLOPs"))]
    logits: Annotated[int, count("logits")]
    cache: Annotated[int, count(msg("cached decoding"))]


def view(result: Coverage, options: None = None) -> Page:
    """Return the page of the model types, and of how many are exact."""
    n_exact = Counter(check for row in result for check in CHECKS if getattr(row, check) == "exact")
    counts = ExactTypes(model_types=len(result), **{check: n_exact[check] for check in CHECKS})
    return Page(
        msg("Model types"),
        NOTE,
        [table("", result, ModelTypeCoverage), table(msg("Exact model types"), [counts], ExactTypes)],
    )
