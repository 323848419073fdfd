"""FLOPs against the context length as a page, and in words."""

from __future__ import annotations

from archcalc.analysis.context import PROJECTIONS, SHORTEST, ContextFlops, ContextPoint
from archcalc.render.flops import LATENT_NOTE
from archcalc.render.page import Page, Text
from archcalc.render.tables import table
from archcalc.words import Message, joined, msg

# The keys that are counted.
EVERY, ATTENDED = msg("every key held"), msg("causal, attended pairs only")
_PHASES = {"prefill": msg("prefill of the whole context"), "decode": msg("one token, the context in the cache")}


def view(result: ContextFlops, options: None = None) -> Page:
    """Return the page of the plot's numbers: forward FLOPs at each length, by part."""
    exact = msg("2 FLOPs per multiply-accumulate, matrix products only: exact")
    subtitle = joined(" · ", (result.name, _PHASES[result.phase], exact))
    without = () if result.is_causal else ("total_causal",)
    points = table(msg("Forward FLOPs"), result.points, ContextPoint, without=without)
    text = Text("", [*crossing_sentences(result), *notes(result)])
    return Page(msg("{label}: cost against context length", label=result.label), subtitle, [points, text])


def crossing_sentences(result: ContextFlops) -> list[Message]:
    """Return where attention overtakes the FFN: over all keys, and over attended pairs where that differs."""
    if not result.has_ffn:
        return [msg("there is no FFN to overtake")]
    if not result.is_causal or result.crossing == result.crossing_causal:
        return [_sentence(result, result.crossing)]
    crossings = ((result.crossing, EVERY), (result.crossing_causal, ATTENDED))
    return [
        msg("{sentence}: {counted}", sentence=_sentence(result, tokens), counted=counted)
        for tokens, counted in crossings
    ]


def _sentence(result: ContextFlops, tokens: int | None) -> Message:
    if tokens is None:
        return msg("attention never overtakes the FFN within {n:,} tokens", n=result.up_to)
    if tokens == SHORTEST[result.phase]:
        return msg("attention costs more than the FFN from the first token on")
    return msg("attention overtakes the FFN at {n:,} tokens", n=tokens)


def notes(result: ContextFlops) -> list[str | Message]:
    """Return the note on latent attention where its projections grow with the context."""
    ends = result.points[0], result.points[-1]
    first, last = (point.forward.get(PROJECTIONS, 0) / point.new_tokens for point in ends)
    return [LATENT_NOTE] if last > first else []
