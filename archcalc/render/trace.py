"""A trace as a page and as plain data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isinf
from typing import TYPE_CHECKING, Any

from archcalc.interp.trace.functions import FUNCTIONS
from archcalc.render.lang import ENGLISH, Words
from archcalc.render.page import Block, Column, Page, Table, Text

if TYPE_CHECKING:
    from archcalc.interp.trace.published import Held
    from archcalc.interp.trace.run import Trace, Traced

SMALL, MOST, TOP = 20_000, 12, 5
Spelled = Callable[[int], str]


def is_small(trace: Trace) -> bool:
    """Whether every number of it can be shown."""
    return sum(one.value.numel() for one in trace.steps) <= SMALL


def page(
    label: str, trace: Trace, spelled: Spelled, *, full: bool, held: Sequence[Held] = (), say: Words = ENGLISH
) -> Page:
    """Every step with its formula and its numbers at the place that is looked at, part by part."""
    last = next(reversed(trace.ids.values()))
    blocks: list[Block] = [read_table(trace, spelled, say)]
    for title, own in parts_of(trace, say):
        columns = (Column(say("trace.step")), Column(say("trace.formula")), Column(_value_head(trace, say)))
        blocks.append(Table(title, columns, [_row(one, trace, full, say) for one in own]))
    if "choice" in {one.step.name for one in trace.steps}:
        blocks.append(next_table(trace, spelled, say))
    blocks += _printed(held, say)
    blocks.append(Text(say("trace.functions"), [f"{called}: {meaning(called, say)}" for called in FUNCTIONS]))
    token = repr(spelled(last[trace.position]))
    subtitle = say("trace.subtitle", position=trace.position, token=token)
    return Page(say("trace.title", model=label), subtitle, blocks, say.lang)


def data(
    label: str, trace: Trace, spelled: Spelled, *, full: bool, held: Sequence[Held] = (), lang: str = "en"
) -> dict[str, Any]:
    """The same as plain data, whatever the language: each step's whole value, or a summary of it where it is large."""
    return {
        "model": label,
        "ids": trace.ids,
        "tokens": {name: [spelled(token) for token in ids] for name, ids in trace.ids.items()},
        "position": trace.position,
        "functions": {called: meaning(called) for called in FUNCTIONS},
        "steps": [_plain(one, trace, full) for one in trace.steps],
        "published": [
            {"step": one.printed.step, "published": one.printed.published, "found": one.found, "is_so": one.is_so}
            | ({"why": getattr(one.printed, lang)} if one.printed.en else {})
            for one in held
        ],
        "kinds": {"value": "measured", "formula": "exact"},
    }


def meaning(called: str, say: Words = ENGLISH) -> str:
    """Return what a function that formulas are written in computes."""
    return say(f"trace.function.{called}")


def _plain(one: Traced, trace: Trace, full: bool) -> dict[str, Any]:
    step = one.step
    formula = str(step.formula or "")
    made: dict[str, Any] = {"name": step.name, "kind": step.kind, "formula": formula, "axes": one.axes}
    made["shape"] = list(one.value.shape)
    if full:
        return made | {"value": _finite(one.value.tolist())}
    norm, largest = _summary(one, trace.position)
    return made | {"norm": norm, "largest": [{"index": i, "value": x} for i, x in largest]}


def _finite(value: Any) -> Any:
    """−∞, which JSON does not know, as null."""
    if isinstance(value, list):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and isinf(value) else value


def read_table(trace: Trace, spelled: Spelled, say: Words = ENGLISH) -> Table:
    """Every token that is read, and its place."""
    columns = (Column(say("trace.place"), "words"), Column(say("common.id"), "words"), Column(say("common.token")))
    rows = [(place, token, repr(spelled(token))) for ids in trace.ids.values() for place, token in enumerate(ids)]
    return Table(say("trace.tokens_read"), columns, rows)


def parts_of(trace: Trace, say: Words = ENGLISH) -> list[tuple[str, list[Traced]]]:
    """The steps before the layers, of each layer, and after them; those of each stack apart."""
    parts: list[tuple[str, list[Traced]]] = []
    seen_layer = False
    for one in trace.steps:
        if one.step.kind == "ids":
            seen_layer = False
            continue
        seen_layer = seen_layer or bool(one.step.layer)
        title = one.step.layer or say("trace.after" if seen_layer else "trace.before")
        if not parts or parts[-1][0] != title:
            parts.append((title, []))
        parts[-1][1].append(one)
    return parts


def _value_head(trace: Trace, say: Words) -> str:
    return say("trace.value", position=trace.position)


def _row(one: Traced, trace: Trace, full: bool, say: Words) -> tuple[str, str, str]:
    own = f"{one.step.layer}." if one.step.layer else ""
    formula = one.step.formula.text(within=own) if one.step.formula else ""
    return one.step.name.removeprefix(own), formula, _numbers(one, trace.position, full, say)


def _numbers(one: Traced, position: int, full: bool, say: Words) -> str:
    here = one.at(position)
    if full and here.numel() <= MOST:
        return _vector(here.tolist())
    norm, largest = _summary(one, position)
    return say("trace.norm_of", norm=f"{norm:.3f}", largest=", ".join(f"[{i}] {x:.3f}" for i, x in largest))


def _summary(one: Traced, position: int) -> tuple[float, list[tuple[int, float]]]:
    """The norm at a place, and the numbers furthest from zero with where they stand."""
    flat = one.at(position).flatten().float().nan_to_num(neginf=0.0)
    largest = flat.abs().topk(min(TOP, flat.numel())).indices.tolist()
    return float(flat.norm()), [(i, float(flat[i])) for i in largest]


def _vector(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_vector(one) for one in value) + "]"
    return str(value) if isinstance(value, int) else ("−∞" if isinf(value) else f"{round(value, 3) + 0.0:.3f}")


def next_table(trace: Trace, spelled: Spelled, say: Words = ENGLISH) -> Table:
    """The likeliest tokens after the place that is looked at."""
    probabilities = trace["probabilities"][trace.position]
    best = probabilities.topk(min(TOP, probabilities.numel()))
    columns = (
        Column(say("common.token")),
        Column(say("common.id"), "words"),
        Column(say("common.probability"), "decimal"),
        Column("", "bar"),
    )
    pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return Table(say("trace.next"), columns, [(repr(spelled(token)), token, p, p) for token, p in pairs])


def _printed(held: Sequence[Held], say: Words) -> list[Block]:
    if not held:
        return []
    columns = tuple(Column(say(f"trace.{name}")) for name in ("step", "published", "found", "verdict"))
    rows = [
        (
            one.printed.step,
            "[" + ", ".join(f"{x:g}" for x in one.printed.published) + "]",
            _vector(one.found),
            say("trace.so" if one.is_so else "trace.not_so"),
        )
        for one in held
    ]
    why = [f"{one.printed.step}: {getattr(one.printed, say.lang)}" for one in held if one.printed.en]
    return [Table(say("trace.printed"), columns, rows), Text(say("trace.why"), why)]
