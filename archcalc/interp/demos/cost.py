"""FLOPs of a token against the context length: attention and feed-forward network, from the ledger."""

from __future__ import annotations

from archcalc.analysis.context import ATTENTION, PAIRS, ContextPoint, context
from archcalc.interp.demos import Demo
from archcalc.sources import load

PRESET = "llama-3-8b"


class TokenCost(Demo, frozen=True):
    """Forward FLOPs of a token in a prefill of `tokens`; `pairs_flops` are the scores and values within attention."""

    tokens: int
    attention_flops: int
    pairs_flops: int
    ffn_flops: int


class CostDemo(Demo, frozen=True):
    """Costs at several context lengths, and the fewest tokens at which attention costs more than the FFN.

    `crossing` counts every key that a layer holds, `crossing_causal` only the attended pairs; None if attention never
    costs more, up to the longest context.
    """

    model: str
    points: tuple[TokenCost, ...]
    crossing: int | None
    crossing_causal: int | None


def run() -> CostDemo:
    """Return the costs of Llama 3 8B, whose attention overtakes its FFN at 16,385 tokens."""
    spec = load(PRESET)
    result = context(spec, "prefill")
    return CostDemo(spec.label, tuple(map(_token_cost, result.points)), result.crossing, result.crossing_causal)


def _token_cost(point: ContextPoint) -> TokenCost:
    """Return the cost of a prefill per token, which is an integer, as every token is multiplied with every key."""
    cost = {part: count // point.new_tokens for part, count in point.forward.items()}
    return TokenCost(point.tokens, sum(cost[part] for part in ATTENTION), cost[PAIRS], cost["ffn"])
