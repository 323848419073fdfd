"""Cost against context length, as a page, and in words."""

from __future__ import annotations

from typing import Any

from archcalc.analysis.context import ATTENTION, LEAST, PAIRS, PROJECTIONS, Context, Point
from archcalc.analysis.value_names import COMPONENT_NAMES
from archcalc.ledger.leaves import COMPONENTS
from archcalc.render.flops import LATENT_NOTE
from archcalc.render.page import Column, Page, Table, Text
from archcalc.spec import Spec
from archcalc.words import Message, joined, msg

# What is counted, of the pairs of tokens.
EVERY, ATTENDED = msg("every key held"), msg("causal, attended pairs alone")
# The names of the parts of the cost.
NAMES: dict[str, Message] = {
    **COMPONENT_NAMES,
    "ffn": msg("FFN"),
    PROJECTIONS: msg("attention's projections"),
    PAIRS: msg("attention's scores and values"),
}
_PHASES = {"prefill": msg("prefill of the whole context"), "decode": msg("one token, the context in the cache")}


def parts(found: Context) -> list[str]:
    """What the model's cost is made of, attention's two parts first."""
    return [part for part in (*ATTENTION, *COMPONENTS) if part in found.points[-1].forward]


def in_words(found: Context) -> list[Message]:
    """Where attention overtakes the FFN: with all keys, and with attended pairs alone, where that is elsewhere."""
    if not found.has_ffn:
        return [msg("there is no FFN to overtake")]
    if not found.is_causal or found.crossing == found.crossing_causal:
        return [_sentence(found, found.crossing)]
    crossings = ((found.crossing, EVERY), (found.crossing_causal, ATTENDED))
    return [
        msg("{sentence}: {counted}", sentence=_sentence(found, tokens), counted=counted)
        for tokens, counted in crossings
    ]


def _sentence(found: Context, tokens: int | None) -> Message:
    if tokens is None:
        return msg("attention never overtakes the FFN within {n:,} tokens", n=found.up_to)
    if tokens == LEAST[found.phase]:
        return msg("attention costs more than the FFN from the first token on")
    return msg("attention overtakes the FFN at {n:,} tokens", n=tokens)


def notes(found: Context) -> list[str | Message]:
    """What a reader of the numbers should know: that latent attention's projections grow, where they do."""
    first, last = (point.forward.get(PROJECTIONS, 0) / point.new for point in (found.points[0], found.points[-1]))
    return [LATENT_NOTE] if last > first else []


def page(spec: Spec, found: Context) -> Page:
    """The numbers of the plot: forward FLOPs at each length, by part."""
    named = parts(found)
    columns = (
        Column(msg("context"), "count"),
        *(Column(NAMES[part], "count") for part in named),
        *([Column(msg("{part}, causal", part=NAMES[PAIRS]), "count")] if found.is_causal else []),
        Column(msg("total"), "count"),
        Column("", "human"),
    )
    rows = [_row(point, named, is_causal=found.is_causal) for point in found.points]
    exact = msg("2 FLOPs a multiply-accumulate, matmuls alone: exact")
    subtitle = joined(" · ", (spec.name, _PHASES[found.phase], exact))
    table = Table(msg("Forward FLOPs"), columns, rows)
    text = Text("", [*in_words(found), *notes(found)])
    return Page(msg("{label}: cost against context length", label=spec.label), subtitle, [table, text])


def _row(point: Point, named: list[str], *, is_causal: bool) -> tuple[Any, ...]:
    total = sum(point.forward.values())
    causal = [point.causal.get(PAIRS, 0)] if is_causal else []
    return (point.tokens, *(point.forward.get(part, 0) for part in named), *causal, total, total)


def data(found: Context) -> dict[str, Any]:
    """The same as plain data."""
    return {
        "phase": found.phase,
        "up_to": found.up_to,
        "attention_overtakes_ffn_at": {"forward": found.crossing, "forward_causal": found.crossing_causal},
        "in_words": [str(line) for line in in_words(found)],
        "points": [
            {
                "tokens": point.tokens,
                "new_tokens": point.new,
                "forward": point.forward,
                "forward_causal": point.causal,
                "kind": "exact",
            }
            for point in found.points
        ],
    }
