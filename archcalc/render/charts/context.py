"""The figure of cost against context length: one Vega-Lite chart.

Both axes are logarithmic and a line is FLOPs of one token, so that what does not grow with the context lies flat.
"""

from __future__ import annotations

from math import exp, log, log10
from typing import Any

import msgspec

from archcalc.analysis.context import ATTENTION, LEAST, PAIRS, PROJECTIONS, Context, Point
from archcalc.render.charts.file import as_file
from archcalc.render.charts.frame import FAINT, FRAME, HEIGHT, INK, WIDTH, text_at, title
from archcalc.render.context import NAMES, in_words, notes, parts
from archcalc.spec import Spec
from archcalc.units import exact
from archcalc.words import ENGLISH, Message, Translator, msg

MANY_DECADES = 5
# Pixels between two labels, one under the other; and that a number of tokens takes.
LINE, LABEL = 16, 100

# Okabe & Ito's palette, told apart by the colour-blind too; attention's parts are lighter than their sum.
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


_NAMES = NAMES | {PROJECTIONS: msg("projections"), PAIRS: msg("scores and values")}
_PHASES = {
    "prefill": msg("Prefill of the whole context; forward FLOPs of matmuls, 2 a multiply-accumulate, exact"),
    "decode": msg("Decode, the context in the cache; forward FLOPs of matmuls, 2 a multiply-accumulate, exact"),
}


class Line(msgspec.Struct, frozen=True):
    """One line of the figure: FLOPs of a token by context length."""

    name: Message
    part: str
    is_causal: bool
    values: tuple[tuple[int, float], ...]

    @property
    def end(self) -> float:
        """Where it ends."""
        return self.values[-1][1]


def drawn(path: str, spec: Spec, found: Context, say: Translator = ENGLISH) -> bytes:
    """The figure of cost as the bytes of a file of this name; raises as `as_file` does."""
    return as_file(path, lambda: chart(spec, found), say)


def chart(spec: Spec, found: Context) -> dict[str, Any]:
    """The Vega-Lite chart: lines, their names at their ends, and where attention overtakes the FFN."""
    drawn_lines = lines(found)
    values = [value for line in drawn_lines for _, value in line.values]
    low, high = min(values) / 1.6, max(values) * 1.25
    return {
        **FRAME,
        "title": title(msg("{label}: what a token costs as the context grows", label=spec.label), _subtitle(found)),
        "encoding": {"x": _x(found), "y": _y(low, high)},
        "layer": [*_paths(drawn_lines), *_names(drawn_lines, found.up_to, low, high), *_crossings(found, low)],
    }


def lines(found: Context) -> list[Line]:
    """Attention and its parts, the others as they are; what attended pairs alone would cost, where that is less."""
    named = parts(found)
    own = [part for part in ATTENTION if part in named]
    sums = {"attention": own} if len(own) > 1 else {}
    sums |= {part: [part] for part in named}
    made = [_line(found, part, of, causal=False) for part, of in sums.items()]
    if found.is_causal:
        made += [_line(found, part, of, causal=True) for part, of in sums.items() if PAIRS in of]
    return [line for line in made if line.values]


def _line(found: Context, part: str, of: list[str], *, causal: bool) -> Line:
    name = _NAMES[part]
    name = msg("{part}, causal", part=name) if causal else name

    def each(point: Point) -> float:
        cost = point.causal if causal else point.forward
        return sum(cost.get(one, 0) for one in of) / point.new

    return Line(name, part, causal, tuple((p.tokens, each(p)) for p in found.points if each(p)))


def _subtitle(found: Context) -> list[str | Message]:
    return [*in_words(found), _PHASES[found.phase], *notes(found)]


def _x(found: Context) -> dict[str, Any]:
    lengths = [point.tokens for point in found.points]
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
    """Where a logarithmic axis is named: powers of ten; their doubles and halves too, where there is room."""
    decades = range(int(log10(low)), int(log10(high)) + 1)
    factors = (1, 2, 5) if len(decades) <= MANY_DECADES else (1,)
    return [factor * 10**power for power in decades for factor in factors if low <= factor * 10**power <= high]


def _paths(drawn_lines: list[Line]) -> list[dict[str, Any]]:
    """The bold lines last, above the others."""
    ordered = sorted(drawn_lines, key=lambda line: (line.part in _BOLD, not line.is_causal))
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


def _names(drawn_lines: list[Line], end: int, low: float, high: float) -> list[dict[str, Any]]:
    """Each line's name where it ends, moved apart where two end close to each other."""
    ordered = sorted(drawn_lines, key=lambda line: -line.end)
    wanted = [HEIGHT * log(high / line.end) / log(high / low) for line in ordered]
    return [
        text_at(
            {"tokens": end, "flops": high * exp(-log(high / low) * place / HEIGHT)},
            line.name,
            color=_color(line),
            fontWeight="bold" if line.part in _BOLD and not line.is_causal else "normal",
            dx=8,
        )
        for line, place in zip(ordered, apart(wanted), strict=True)
    ]


def apart(wanted: list[float]) -> list[float]:
    """Places as near to those that are wanted, in their order, as lines of text can be; none below the last one's."""
    placed: list[float] = []
    for place in wanted:
        placed.append(max(place, placed[-1] + LINE) if placed else place)
    room = float(HEIGHT)
    for i in reversed(range(len(placed))):
        placed[i] = min(placed[i], room)
        room = placed[i] - LINE
    return placed


def _crossings(found: Context, low: float) -> list[dict[str, Any]]:
    """A line down from each crossing to the axis, and its number of tokens there."""
    counted = [(found.crossing, False), (found.crossing_causal, True)] if found.is_causal else [(found.crossing, False)]
    marks = []
    for tokens, causal in counted:
        if found.has_ffn and tokens and tokens > LEAST[found.phase]:
            marks += _crossing(found, tokens, low, causal=causal)
    return marks


def _crossing(found: Context, tokens: int, low: float, *, causal: bool) -> list[dict[str, Any]]:
    """The words stand left of the line; those of the causal crossing, which comes later, right of it."""
    point = next(point for point in found.points if point.tokens == tokens)
    cost = point.causal if causal else point.forward
    at = {"tokens": tokens, "flops": sum(cost.get(part, 0) for part in ATTENTION) / point.new}
    label = f"{exact(tokens)} tokens" + (", causal" if causal else "")
    rule = {"type": "rule", "color": FAINT, "strokeDash": [2, 3]}
    dot = {"type": "point", "filled": True, "fill": "white", "stroke": INK, "strokeWidth": 2, "size": 80, "opacity": 1}
    first, last = found.points[0].tokens, found.points[-1].tokens
    has_room = WIDTH * log(tokens / first) / log(last / first) > LABEL
    side = {"align": "left", "dx": 7} if causal or not has_room else {"align": "right", "dx": -7}
    return [
        {"data": {"values": [at | {"low": low}]}, "mark": rule, "encoding": {"y2": {"field": "low"}}},
        {"data": {"values": [at]}, "mark": dot},
        text_at({"tokens": tokens, "flops": low}, label, color=INK, dy=-10 - LINE * causal, **side),
    ]


def _color(line: Line) -> str:
    return _COLORS.get(line.part, FAINT)
