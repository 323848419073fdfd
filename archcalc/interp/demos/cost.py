"""FLOPs of a token against the context length: attention and feed-forward network, from the ledger."""

from __future__ import annotations

from archcalc.analysis.context import ATTENTION, PAIRS, ContextPoint, context
from archcalc.interp.demos.results import CostDemo, TokenCost
from archcalc.sources import load

PRESET = "llama-3-8b"


def run() -> CostDemo:
    """Return the costs of Llama 3 8B, whose attention overtakes its FFN at 16,385 tokens."""
    spec = load(PRESET)
    result = context(spec, "prefill")
    return CostDemo(
        name="cost",
        kind="exact",
        label=spec.label,
        points=tuple(map(_token_cost, result.points)),
        crossing=result.crossing,
        crossing_causal=result.crossing_causal,
    )


def _token_cost(point: ContextPoint) -> TokenCost:
    """Return the cost of a prefill per token, which is an integer, as every token is multiplied with every key."""
    cost = {part: count // point.new_tokens for part, count in point.forward.items()}
    attention, ffn = sum(cost[part] for part in ATTENTION), cost["ffn"]
    return TokenCost(
        tokens=point.tokens,
        attention_flops=attention,
        pairs_flops=cost[PAIRS],
        ffn_flops=ffn,
        attention_share=attention / (attention + ffn),
    )
