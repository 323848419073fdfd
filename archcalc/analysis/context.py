"""What a token costs as the context grows, and where attention overtakes the feed-forward network: exact."""

from __future__ import annotations

from collections import Counter
from typing import Literal

import msgspec

from archcalc.analysis.flops import OpFlops, by_op
from archcalc.errors import InputError
from archcalc.ledger.build import build
from archcalc.ledger.rows import Ledger
from archcalc.spec.groups import has_table
from archcalc.spec.model import Spec
from archcalc.spec.workload import Workload, workload
from archcalc.words import msg

Phase = Literal["prefill", "decode"]
PHASES: tuple[Phase, ...] = ("prefill", "decode")

PROJECTIONS, PAIRS = "attention's projections", "attention's scores and values"
ATTENTION = (PROJECTIONS, PAIRS)

FIRST_TOKENS = 128
# How far to look where no table of positions ends: what long-context models are trained for.
FAR_TOKENS = 131_072
# The first context of a decode step: one token past, one new.
LEAST: dict[Phase, int] = {"prefill": 1, "decode": 2}


class Point(msgspec.Struct, frozen=True):
    """Forward FLOPs with `tokens` of context, of which `new` are computed, by part.

    forward: every key that a layer holds; causal: the pairs that are attended.
    """

    tokens: int
    new: int
    forward: dict[str, int]
    causal: dict[str, int]


class Context(msgspec.Struct, frozen=True):
    """Points along the context length, and the fewest tokens at which attention costs more than the FFN.

    A crossing is None if there is none up to `up_to`. Of an encoder-decoder the source is as long as the context.
    """

    phase: Phase
    up_to: int
    points: tuple[Point, ...]
    crossing: int | None
    crossing_causal: int | None

    @property
    def has_ffn(self) -> bool:
        """Whether there is anything to overtake."""
        return "ffn" in self.points[-1].forward

    @property
    def is_causal(self) -> bool:
        """Whether the pairs that are attended are fewer than those that are multiplied, anywhere."""
        return any(point.causal != point.forward for point in self.points)


def context(spec: Spec, phase: Phase, up_to: int | None = None) -> Context:
    """What powers of two of tokens cost, up to `up_to` (by default the table of positions, or what is far).

    Llama 3 8B's attention overtakes its FFN at 16,385 tokens of a prefill; GPT-3's never within its 2,048.
    Raises InputError for a decode step of an encoder, or for more tokens than there are positions for.
    """
    if phase == "decode" and spec.decoder is None:
        raise InputError(msg("an encoder caches nothing"), where="phase", allowed=msg("prefill"))
    most = most_tokens(spec)
    up_to = (most or max(spec.n_ctx, FAR_TOKENS)) if up_to is None else up_to
    if up_to < LEAST[phase] or (most and up_to > most):
        allowed = f"from {LEAST[phase]} to {most:,}, the table of positions" if most else f"{LEAST[phase]} or more"
        raise InputError(msg("found {found}", found=up_to), where="up_to", allowed=allowed)
    workload(spec, **_sizes(phase, up_to))  # refuses what cannot be
    ledger = build(spec)
    crossings = [_crossing(ledger, phase, up_to, causal=causal) for causal in (False, True)]
    lengths = sorted({*_powers(phase, up_to, crossings), up_to, *filter(None, crossings)})
    return Context(phase, up_to, tuple(_point(ledger, phase, tokens) for tokens in lengths), *crossings)


def most_tokens(spec: Spec) -> int | None:
    """How many tokens a table of positions has rows for; None if there is no table."""
    return min((each.model.n_ctx for each in spec.stacks if has_table(each.stack)), default=None)


def _sizes(phase: Phase, tokens: int) -> dict[str, int]:
    return {"seq": tokens, "past": 0} if phase == "prefill" else {"seq": 1, "past": tokens - 1}


def _point(ledger: Ledger, phase: Phase, tokens: int) -> Point:
    sizes = _sizes(phase, tokens)
    forward, causal = Counter[str](), Counter[str]()
    for op in by_op(ledger, Workload(source_seq=tokens, **sizes)):
        forward[_part(op)] += op.forward
        causal[_part(op)] += op.forward_causal
    return Point(tokens, sizes["seq"], dict(forward), dict(causal))


def _part(op: OpFlops) -> str:
    """The component; of attention, whether tokens meet weights or each other."""
    if op.row.component != "attention":
        return op.row.component
    return PAIRS if op.row.matmul.causal_axes else PROJECTIONS


def _crossing(ledger: Ledger, phase: Phase, up_to: int, *, causal: bool) -> int | None:
    """The fewest tokens at which attention costs more than the FFN.

    By bisection: of each new token the FFN costs the same in any context, and attention never less in a longer one.
    """

    def overtaken(tokens: int) -> bool:
        point = _point(ledger, phase, tokens)
        cost = point.causal if causal else point.forward
        return sum(cost.get(part, 0) for part in ATTENTION) > cost.get("ffn", 0)

    low, high = LEAST[phase], up_to
    if not overtaken(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if overtaken(middle) else (middle + 1, high)
    return high


def _powers(phase: Phase, up_to: int, crossings: list[int | None]) -> list[int]:
    """Powers of two up to the end, from 128; from less where the context ends, or attention overtakes, early."""
    shown = [tokens for tokens in crossings if tokens and tokens > LEAST[phase]]
    first = min(FIRST_TOKENS, up_to // 8, *shown)
    start = max(LEAST[phase], 1 << max(0, first.bit_length() - 1))
    return [1 << power for power in range(start.bit_length() - 1, up_to.bit_length()) if start <= 1 << power <= up_to]
