"""A trace as a page and as plain data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isinf
from typing import TYPE_CHECKING, Any

from archcalc.render.page import Block, Column, Page, Table, Text
from archcalc.render.trace_words import FUNCTIONS
from archcalc.words import ENGLISH, Translator, in_context, msg

if TYPE_CHECKING:
    from archcalc.interp.trace.run import Trace, TracedStep
    from archcalc.interp.trace.worked_example import StepCheck

SMALL, MOST, TOP = 20_000, 12, 5
Spelled = Callable[[int], str]


def is_small(trace: Trace) -> bool:
    """Whether every number of it can be shown."""
    return sum(one.value.numel() for one in trace.steps) <= SMALL


def page(
    label: str, trace: Trace, spelled: Spelled, *, full: bool, held: Sequence[StepCheck] = (), say: Translator = ENGLISH
) -> Page:
    """Every step with its formula and its numbers at the place that is looked at, part by part."""
    last = next(reversed(trace.ids.values()))
    blocks: list[Block] = [read_table(trace, spelled, say)]
    for title, own in parts_of(trace, say):
        columns = (
            Column(say(in_context("of a trace", "step"))),
            Column(say(msg("formula"))),
            Column(_value_head(trace, say)),
        )
        blocks.append(Table(title, columns, [_row(one, trace, full, say) for one in own]))
    if "choice" in {one.step.name for one in trace.steps}:
        blocks.append(next_table(trace, spelled, say))
    blocks += _printed(held, say)
    functions = [f"{called}: {say(explained.meaning)}" for called, explained in FUNCTIONS.items()]
    blocks.append(Text(say(msg("Functions")), functions))
    token = repr(spelled(last[trace.position]))
    subtitle = say(
        msg("values at place {position} ({token}), measured; formulas exact", position=trace.position, token=token)
    )
    return Page(say(msg("{model}: a forward pass step by step", model=label)), subtitle, blocks, say.lang)


def data(
    label: str, trace: Trace, spelled: Spelled, *, full: bool, held: Sequence[StepCheck] = (), lang: str = "en"
) -> dict[str, Any]:
    """The same as plain data, whatever the language: each step's whole value, or a summary of it where it is large."""
    return {
        "model": label,
        "ids": trace.ids,
        "tokens": {name: [spelled(token) for token in ids] for name, ids in trace.ids.items()},
        "position": trace.position,
        "functions": {called: str(explained.meaning) for called, explained in FUNCTIONS.items()},
        "steps": [_plain(one, trace, full) for one in trace.steps],
        "published": [
            {
                "step": one.reference.step,
                "published": one.reference.published,
                "found": one.computed,
                "is_so": one.is_equal,
            }
            | ({"why": getattr(one.reference, lang)} if one.reference.en else {})
            for one in held
        ],
        "kinds": {"value": "measured", "formula": "exact"},
    }


def _plain(one: TracedStep, trace: Trace, full: bool) -> dict[str, Any]:
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


def read_table(trace: Trace, spelled: Spelled, say: Translator = ENGLISH) -> Table:
    """Every token that is read, and its place."""
    columns = (Column(say(msg("place")), "words"), Column(say(msg("id")), "words"), Column(say(msg("token"))))
    rows = [(place, token, repr(spelled(token))) for ids in trace.ids.values() for place, token in enumerate(ids)]
    return Table(say(msg("What is read")), columns, rows)


def parts_of(trace: Trace, say: Translator = ENGLISH) -> list[tuple[str, list[TracedStep]]]:
    """The steps before the layers, of each layer, and after them; those of each stack apart."""
    parts: list[tuple[str, list[TracedStep]]] = []
    seen_layer = False
    for one in trace.steps:
        if one.step.kind == "ids":
            seen_layer = False
            continue
        seen_layer = seen_layer or bool(one.step.layer)
        title = one.step.layer or say(msg("After the layers") if seen_layer else msg("Before the layers"))
        if not parts or parts[-1][0] != title:
            parts.append((title, []))
        parts[-1][1].append(one)
    return parts


def _value_head(trace: Trace, say: Translator) -> str:
    return say(msg("value at place {position}", position=trace.position))


def _row(one: TracedStep, trace: Trace, full: bool, say: Translator) -> tuple[str, str, str]:
    own = f"{one.step.layer}." if one.step.layer else ""
    formula = one.step.formula.text(within=own) if one.step.formula else ""
    return one.step.name.removeprefix(own), formula, _numbers(one, trace.position, full, say)


def _numbers(one: TracedStep, position: int, full: bool, say: Translator) -> str:
    here = one.at(position)
    if full and here.numel() <= MOST:
        return _vector(here.tolist())
    norm, largest = _summary(one, position)
    return say(
        msg(
            "‖x‖ = {norm}; largest: {largest}",
            norm=f"{norm:.3f}",
            largest=", ".join(f"[{i}] {x:.3f}" for i, x in largest),
        )
    )


def _summary(one: TracedStep, position: int) -> tuple[float, list[tuple[int, float]]]:
    """The norm at a place, and the numbers furthest from zero with where they stand."""
    flat = one.at(position).flatten().float().nan_to_num(neginf=0.0)
    largest = flat.abs().topk(min(TOP, flat.numel())).indices.tolist()
    return float(flat.norm()), [(i, float(flat[i])) for i in largest]


def _vector(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_vector(one) for one in value) + "]"
    return str(value) if isinstance(value, int) else ("−∞" if isinf(value) else f"{round(value, 3) + 0.0:.3f}")


def next_table(trace: Trace, spelled: Spelled, say: Translator = ENGLISH) -> Table:
    """The likeliest tokens after the place that is looked at."""
    probabilities = trace["probabilities"][trace.position]
    best = probabilities.topk(min(TOP, probabilities.numel()))
    columns = (
        Column(say(msg("token"))),
        Column(say(msg("id")), "words"),
        Column(say(msg("probability")), "decimal"),
        Column("", "bar"),
    )
    pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return Table(say(msg("What comes next")), columns, [(repr(spelled(token)), token, p, p) for token, p in pairs])


def _printed(held: Sequence[StepCheck], say: Translator) -> list[Block]:
    if not held:
        return []
    columns = tuple(
        Column(say(name))
        for name in (in_context("of a trace", "step"), msg("printed"), msg("computed"), msg("verdict"))
    )
    rows = [
        (
            one.reference.step,
            "[" + ", ".join(f"{x:g}" for x in one.reference.published) + "]",
            _vector(one.computed),
            say(msg("as printed") if one.is_equal else msg("not so")),
        )
        for one in held
    ]
    why = [f"{one.reference.step}: {getattr(one.reference, say.lang)}" for one in held if one.reference.en]
    return [Table(say(msg("As texts print it")), columns, rows), Text(say(msg("Where it cannot be so")), why)]
