"""What a token costs as the context grows: attention's FLOPs and the feed-forward network's, from the ledger."""

from __future__ import annotations

from archcalc.analysis.context import ATTENTION, PAIRS, Point, context
from archcalc.interp.demos import Demo
from archcalc.sources import load

PRESET = "llama-3-8b"


class At(Demo, frozen=True):
    """Forward FLOPs of a token in a prefill of so many: attention's, of them its scores and values, and the FFN's."""

    tokens: int
    attention_flops: int
    pairs_flops: int
    ffn_flops: int


class Cost(Demo, frozen=True):
    """Lengths, powers of two among them, and the fewest tokens at which attention costs more than the FFN.

    `crossing` counts every key that a layer holds, `crossing_causal` only the pairs that are attended; None if there is
    none up to the last length.
    """

    model: str
    points: tuple[At, ...]
    crossing: int | None
    crossing_causal: int | None


def run() -> Cost:
    """Llama 3 8B, whose attention overtakes its FFN at 16,385 tokens."""
    spec = load(PRESET)
    found = context(spec, "prefill")
    return Cost(spec.label, tuple(map(_at, found.points)), found.crossing, found.crossing_causal)


def _at(point: Point) -> At:
    """What the whole prefill costs, shared among its tokens: every token meets every key, so it divides."""
    cost = {part: count // point.new for part, count in point.forward.items()}
    return At(point.tokens, sum(cost[part] for part in ATTENTION), cost[PAIRS], cost["ffn"])
