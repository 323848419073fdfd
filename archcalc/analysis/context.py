"""FLOPs against the context length, and where attention overtakes the feed-forward network. Exact."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Literal

from archcalc.analysis.flops import OpFlops, by_op
from archcalc.analysis.value_names import COMPONENT_NAMES
from archcalc.errors import InputError
from archcalc.ledger.build import build
from archcalc.ledger.leaves import COMPONENTS
from archcalc.ledger.rows import Ledger
from archcalc.results import Result, Row, Sureness, count, counts, data
from archcalc.spec.groups import has_table
from archcalc.spec.model import Spec
from archcalc.spec.workload import Workload, workload
from archcalc.words import Message, msg

Phase = Literal["prefill", "decode"]
PHASES: tuple[Phase, ...] = ("prefill", "decode")

# The parts of the cost: of attention, products of tokens with weights and of tokens with tokens; other components.
PROJECTIONS, PAIRS = "attention_projections", "attention_pairs"
ATTENTION = (PROJECTIONS, PAIRS)
PART_NAMES: dict[str, Message] = {
    **COMPONENT_NAMES,
    "ffn": msg("FFN"),
    PROJECTIONS: msg("attention's projections"),
    PAIRS: msg("attention's scores and values"),
}

FIRST_TOKENS = 128
# The longest context by default of a model without a table of positions.
FAR_TOKENS = 131_072
# The shortest context; of a decode step, one past and one new token.
SHORTEST: dict[Phase, int] = {"prefill": 1, "decode": 2}


class ContextPoint(Row, frozen=True, kw_only=True):
    """Forward FLOPs at one context length, by part; `new_tokens` of the context are computed.

    forward: over every key that a layer holds. forward_causal: over the attended pairs.
    """

    tokens: Annotated[int, count(msg("context"))]
    new_tokens: Annotated[int, data(msg("tokens that are computed"))]
    forward: Annotated[dict[str, int], counts(msg("forward FLOPs by part"), names=PART_NAMES)]
    forward_causal: Annotated[dict[str, int], data(msg("forward FLOPs over attended pairs, by part"))]
    total: Annotated[int, count(msg("total"), rounded="count")]
    total_causal: Annotated[int, count(msg("total, causal"))]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "exact"


class ContextFlops(Result, frozen=True, kw_only=True):
    """Forward FLOPs along the context length, and the fewest tokens at which attention costs more than the FFN.

    A crossing is None if there is none up to `up_to`. In an encoder-decoder the source is as long as the context.
    """

    name: Annotated[str, data(msg("name of the model"))]
    label: Annotated[str, data(msg("title of the model"))]
    phase: Annotated[Phase, data(msg("prefill of the whole context, or decode step of one token"))]
    up_to: Annotated[int, data(msg("longest context, tokens"))]
    crossing: Annotated[int | None, data(msg("tokens at which attention overtakes the FFN"))]
    crossing_causal: Annotated[int | None, data(msg("tokens at which attention overtakes the FFN, causal"))]
    points: Annotated[tuple[ContextPoint, ...], data(msg("FLOPs at each context length"))]

    @property
    def has_ffn(self) -> bool:
        """Return whether the model has an FFN."""
        return "ffn" in self.points[-1].forward

    @property
    def is_causal(self) -> bool:
        """Return whether attended pairs are anywhere fewer than those multiplied."""
        return any(point.total_causal != point.total for point in self.points)


def context(spec: Spec, phase: Phase, up_to: int | None = None) -> ContextFlops:
    """Return the FLOPs at powers of two of tokens, up to `up_to` (default: `longest_context`).

    Llama 3 8B's attention overtakes its FFN at 16,385 tokens of a prefill; GPT-3's never within its 2,048.
    Raises InputError for a decode step of an encoder, and for more tokens than positions.
    """
    if phase == "decode" and spec.decoder is None:
        raise InputError(msg("an encoder caches nothing"), where="phase", allowed=msg("prefill"))
    most, shortest = most_tokens(spec), SHORTEST[phase]
    up_to = longest_context(spec) if up_to is None else up_to
    if up_to < shortest or (most and up_to > most):
        allowed = f"from {shortest} to {most:,}, the table of positions" if most else f"{shortest} or more"
        raise InputError(msg("found {found}", found=up_to), where="up_to", allowed=allowed)
    workload(spec, **_sizes(phase, up_to))  # raises for sizes that the model does not support
    ledger = build(spec)
    crossings = [_crossing(ledger, phase, up_to, causal=causal) for causal in (False, True)]
    lengths = sorted({*_powers(phase, up_to, crossings), up_to, *filter(None, crossings)})
    return ContextFlops(
        name=spec.name,
        label=spec.label,
        phase=phase,
        up_to=up_to,
        crossing=crossings[0],
        crossing_causal=crossings[1],
        points=tuple(_point(ledger, phase, tokens) for tokens in lengths),
    )


def most_tokens(spec: Spec) -> int | None:
    """Return the number of rows of the shortest table of positions; None if there is no table."""
    return min((each.model.n_ctx for each in spec.stacks if has_table(each.stack)), default=None)


def longest_context(spec: Spec) -> int:
    """Return the default longest context: the table of positions, else n_ctx or `FAR_TOKENS`."""
    return most_tokens(spec) or max(spec.n_ctx, FAR_TOKENS)


def _sizes(phase: Phase, tokens: int) -> dict[str, int]:
    return {"seq": tokens, "past": 0} if phase == "prefill" else {"seq": 1, "past": tokens - 1}


def _point(ledger: Ledger, phase: Phase, tokens: int) -> ContextPoint:
    sizes = _sizes(phase, tokens)
    forward, causal = Counter[str](), Counter[str]()
    for op in by_op(ledger, Workload(source_seq=tokens, **sizes)):
        forward[_part(op)] += op.forward
        causal[_part(op)] += op.forward_causal
    parts = [part for part in (*ATTENTION, *COMPONENTS) if part in forward]
    return ContextPoint(
        tokens=tokens,
        new_tokens=sizes["seq"],
        forward={part: forward[part] for part in parts},
        forward_causal={part: causal[part] for part in parts},
        total=forward.total(),
        total_causal=causal.total(),
    )


def _part(op: OpFlops) -> str:
    """Return the component; of attention, whether tokens are multiplied with weights or with tokens."""
    if op.row.component != "attention":
        return op.row.component
    return PAIRS if op.row.matmul.causal_axes else PROJECTIONS


def _crossing(ledger: Ledger, phase: Phase, up_to: int, *, causal: bool) -> int | None:
    """Return the fewest tokens at which attention costs more than the FFN.

    Found by bisection: per new token, the FFN costs the same in any context, and attention never less in a longer one.
    """

    def is_overtaken(tokens: int) -> bool:
        point = _point(ledger, phase, tokens)
        cost = point.forward_causal if causal else point.forward
        return sum(cost.get(part, 0) for part in ATTENTION) > cost.get("ffn", 0)

    low, high = SHORTEST[phase], up_to
    if not is_overtaken(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if is_overtaken(middle) else (middle + 1, high)
    return high


def _powers(phase: Phase, up_to: int, crossings: list[int | None]) -> list[int]:
    """Return powers of two from 128; from less if the context ends, or attention overtakes the FFN, early."""
    marked = [tokens for tokens in crossings if tokens and tokens > SHORTEST[phase]]
    first = min(FIRST_TOKENS, up_to // 8, *marked)
    start = max(SHORTEST[phase], 1 << max(0, first.bit_length() - 1))
    return [1 << power for power in range(start.bit_length() - 1, up_to.bit_length()) if start <= 1 << power <= up_to]
