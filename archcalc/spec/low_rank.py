"""Low-rank pairs of matrices beside the projections of a part, one pair for each use of its weights."""

from typing import Any

from msgspec import structs

from archcalc.spec.base import Count, Part, Size


class LowRank(Part, frozen=True, kw_only=True):
    """up(down(x)) is added to a projection of x (Zamba 2, Glorioso et al. 2024, section 2).

    There are `n_pairs` pairs of matrices, with `pair_rank` dimensions between both of a pair. Pair `active`, from 0, is
    computed. Layers that use the weights of one layer may each have a pair of their own.
    """

    pair_rank: Size
    n_pairs: Size = 1
    active: Count = 0


def low_rank(part: object) -> LowRank | None:
    """Return the pairs beside the projections of a part, if it has any."""
    return getattr(part, "low_rank", None)


def of_any_use(part: Any) -> Any:
    """Return a part as the first use of its weights computes it."""
    pairs = low_rank(part)
    return part if pairs is None else structs.replace(part, low_rank=structs.replace(pairs, active=0))
