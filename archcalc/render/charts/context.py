"""Chart of FLOPs per token against the context length. Both axes are logarithmic."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, log, log10
from typing import Any

import msgspec

from archcalc.analysis.context import (
    ATTENTION,
    PAIRS,
    PART_NAMES,
    PROJECTIONS,
    SHORTEST,
    ContextFlops,
    ContextPoint,
)
from archcalc.render.charts.file import as_file
from archcalc.render.charts.frame import FAINT, FRAME, HEIGHT, INK, WIDTH, text_at, title
from archcalc.render.context import crossing_sentences, notes
from archcalc.units import exact
from archcalc.words import ENGLISH, Message, Translator, msg

MANY_DECADES = 5
# Pixels: between the lines of labels, and the width of a number of tokens.
LINE, LABEL = 16, 100

# Okabe & Ito's palette for color-blind readers; attention's parts are lighter than their sum.
_COLORS = {
    "attention": "#0072B2",
    PROJECTIONS: "#3A96D2",
    PAIRS: "#3A96D2",
    "ffn": "#009E73",
    "head": "#D55E00",
    "embedding": "#E69F00",
    "mixer": "#CC79A7",
}
_BOLD = ("attention", "ffn")


_NAMES = PART_NAMES | {PROJECTIONS: msg("projections"), PAIRS: msg("scores and values")}
_PHASES = {
    "prefill": msg("Prefill of the whole context; forward FLOPs of matrix products, 2 per multiply-accumulate, exact"),
    "decode": msg(
        "Decode, the context in the cache; forward FLOPs of matrix products, 2 per multiply-accumulate, exact"
    ),
}


class Line(msgspec.Struct, frozen=True):
    """A line of the chart: FLOPs of a token by context length."""

    name: Message
    part: str
    is_causal: bool
    values: tuple[tuple[int, float], ...]

    @property
    def end(self) -> float:
        """Return the FLOPs at the longest context."""
        return self.values[-1][1]


def chart_file(path: str, result: ContextFlops, say: Translator = ENGLISH) -> bytes:
    """Return the chart as the bytes of a file of this name; raises as `as_file` does."""
    return as_file(path, lambda: chart(result), say)


def chart(result: ContextFlops) -> dict[str, Any]:
    """Return the Vega-Lite chart: lines, their names at their ends, and where attention overtakes the FFN."""
    all_lines = lines(result)
    values = [value for line in all_lines for _, value in line.values]
    low, high = min(values) / 1.6, max(values) * 1.25
    return {
        **FRAME,
        "title": title(msg("{label}: FLOPs per token as the context grows", label=result.label), _subtitle(result)),
        "encoding": {"x": _x(result), "y": _y(low, high)},
        "layer": [*_paths(all_lines), *_names(all_lines, result.up_to, low, high), *_crossings(result, low)],
    }


def lines(result: ContextFlops) -> list[Line]:
    """Return the lines of attention, its parts and the other components; and the causal ones where they differ."""
    parts = list(result.points[-1].forward)
    own = [part for part in ATTENTION if part in parts]
    sums = {"attention": own} if len(own) > 1 else {}
    sums |= {part: [part] for part in parts}
    all_lines = [_line(result, part, of, causal=False) for part, of in sums.items()]
    if result.is_causal:
        all_lines += [_line(result, part, of, causal=True) for part, of in sums.items() if PAIRS in of]
    return [line for line in all_lines if line.values]


def _line(result: ContextFlops, part: str, of: list[str], *, causal: bool) -> Line:
    name = _NAMES[part]
    name = msg("{part}, causal", part=name) if causal else name

    def per_token(point: ContextPoint) -> float:
        return _flops(point, of, causal=causal) / point.new_tokens

    return Line(name, part, causal, tuple((p.tokens, per_token(p)) for p in result.points if per_token(p)))


def _flops(point: ContextPoint, parts: Sequence[str], *, causal: bool) -> int:
    flops = point.forward_causal if causal else point.forward
    return sum(flops.get(part, 0) for part in parts)


def _subtitle(result: ContextFlops) -> list[str | Message]:
    return [*crossing_sentences(result), _PHASES[result.phase], *notes(result)]


def _x(result: ContextFlops) -> dict[str, Any]:
    lengths = [point.tokens for point in result.points]
    powers = [tokens for tokens in lengths if not tokens & (tokens - 1)]
    return {
        "field": "tokens",
        "type": "quantitative",
        "title": msg("context length, tokens"),
        "scale": {"type": "log", "base": 2, "domain": [lengths[0], lengths[-1]], "nice": False},
        "axis": {"values": powers, "format": ",d", "grid": False, "labelFlush": False},
    }


def _y(low: float, high: float) -> dict[str, Any]:
    return {
        "field": "flops",
        "type": "quantitative",
        "title": msg("forward FLOPs per token"),
        "scale": {"type": "log", "domain": [low, high], "nice": False},
        "axis": {"values": ticks(low, high), "labelExpr": "replace(format(datum.value, '~s'), /([kMGTP])$/, ' $1')"},
    }


def ticks(low: float, high: float) -> list[int]:
    """Return the ticks of a logarithmic axis: powers of ten; over few decades also twice and five times as much."""
    decades = range(int(log10(low)), int(log10(high)) + 1)
    factors = (1, 2, 5) if len(decades) <= MANY_DECADES else (1,)
    return [factor * 10**power for power in decades for factor in factors if low <= factor * 10**power <= high]


def _paths(all_lines: list[Line]) -> list[dict[str, Any]]:
    """Return the marks of the lines, the bold ones last, above the others."""
    ordered = sorted(all_lines, key=lambda line: (line.part in _BOLD, not line.is_causal))
    return [_path(line) for line in ordered]


def _path(line: Line) -> dict[str, Any]:
    mark = {
        "type": "line",
        "color": _color(line),
        "strokeWidth": 3 if line.part in _BOLD else 1.75,
        "strokeDash": [6, 4] if line.is_causal else [1, 0],
        "strokeCap": "butt" if line.is_causal else "round",
        "interpolate": "monotone",
        "point": {"color": _color(line), "size": 90, "opacity": 0},
        "tooltip": True,
    }
    values = [{"tokens": tokens, "flops": value, "of": line.name} for tokens, value in line.values]
    tooltip = [
        {"field": "of", "type": "nominal", "title": msg("of")},
        {"field": "tokens", "type": "quantitative", "title": msg("tokens"), "format": ",d"},
        {"field": "flops", "type": "quantitative", "title": msg("FLOPs per token"), "format": ",.2~f"},
    ]
    return {"data": {"values": values}, "mark": mark, "encoding": {"tooltip": tooltip}}


def _names(all_lines: list[Line], end: int, low: float, high: float) -> list[dict[str, Any]]:
    """Return the names of the lines at their ends, moved apart where two lines end close to each other."""
    ordered = sorted(all_lines, key=lambda line: -line.end)
    ends = [HEIGHT * log(high / line.end) / log(high / low) for line in ordered]
    return [
        text_at(
            {"tokens": end, "flops": high * exp(-log(high / low) * place / HEIGHT)},
            line.name,
            color=_color(line),
            fontWeight="bold" if line.part in _BOLD and not line.is_causal else "normal",
            dx=8,
        )
        for line, place in zip(ordered, apart(ends), strict=True)
    ]


def apart(ends: list[float]) -> list[float]:
    """Return places for labels near the ends of their lines, in order, a line of text apart, within the height."""
    places: list[float] = []
    for end in ends:
        places.append(max(end, places[-1] + LINE) if places else end)
    lowest = float(HEIGHT)
    for i in reversed(range(len(places))):
        places[i] = min(places[i], lowest)
        lowest = places[i] - LINE
    return places


def _crossings(result: ContextFlops, low: float) -> list[dict[str, Any]]:
    """Return a line down from each crossing to the axis, with its number of tokens."""
    crossings = [(result.crossing, False)] + ([(result.crossing_causal, True)] if result.is_causal else [])
    marks = []
    for tokens, causal in crossings:
        if result.has_ffn and tokens and tokens > SHORTEST[result.phase]:
            marks += _crossing(result, tokens, low, causal=causal)
    return marks


def _crossing(result: ContextFlops, tokens: int, low: float, *, causal: bool) -> list[dict[str, Any]]:
    """Return the marks of a crossing, its label left of the line; of the causal crossing, which is later, right."""
    point = next(point for point in result.points if point.tokens == tokens)
    at = {"tokens": tokens, "flops": _flops(point, ATTENTION, causal=causal) / point.new_tokens}
    label = f"{exact(tokens)} tokens" + (", causal" if causal else "")
    rule = {"type": "rule", "color": FAINT, "strokeDash": [2, 3]}
    dot = {"type": "point", "filled": True, "fill": "white", "stroke": INK, "strokeWidth": 2, "size": 80, "opacity": 1}
    first, last = result.points[0].tokens, result.points[-1].tokens
    fits_left = WIDTH * log(tokens / first) / log(last / first) > LABEL
    side = {"align": "left", "dx": 7} if causal or not fits_left else {"align": "right", "dx": -7}
    return [
        {"data": {"values": [at | {"low": low}]}, "mark": rule, "encoding": {"y2": {"field": "low"}}},
        {"data": {"values": [at]}, "mark": dot},
        text_at({"tokens": tokens, "flops": low}, label, color=INK, dy=-10 - LINE * causal, **side),
    ]


def _color(line: Line) -> str:
    return _COLORS.get(line.part, FAINT)
