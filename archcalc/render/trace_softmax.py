"""The softmax of one query as a table: a row for each stage, a column for each key."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isinf
from typing import TYPE_CHECKING, Any

from archcalc.interp.trace.glossary import SOFTMAX_STAGES
from archcalc.render.page import Column, Records, Table
from archcalc.words import ENGLISH, Translator, in_context, msg

if TYPE_CHECKING:
    from archcalc.interp.trace.softmax import SoftmaxRow, SoftmaxStage


def table(softmax: SoftmaxRow, keys: Sequence[str], say: Translator = ENGLISH) -> Table:
    """Return the table of every stage; `keys` are the names of the keys. A masked score is −∞ and labeled so."""
    has_sink = any(stage.sink is not None for stage in softmax.stages)
    sinks = [say(msg("sink"))] if has_sink else []
    columns = [Column(say(in_context("of a trace", "step"))), Column(say(msg("expression")))]
    columns += [Column(name, "decimal") for name in (*keys, *sinks)]
    rows = [_row(stage, softmax.hidden, has_sink, say) for stage in softmax.stages]
    title = say(
        msg(
            "Softmax step by step: {part}, head {head}, query {query}",
            part=softmax.part,
            head=softmax.head,
            query=softmax.query,
        )
    )
    return Table(title, tuple(columns), rows, records=_records(softmax, keys))


def _records(softmax: SoftmaxRow, keys: Sequence[str]) -> Records:
    """Return a row for each number of each stage. A masked score has no value, a sum over the keys no key."""
    names = ("stage", "expression", "key", "value")
    cells = [
        dict(zip(names, (stage.name, stage.expression, key, value), strict=True))
        for stage in softmax.stages
        for key, value in _numbers(stage, keys)
    ]
    return Records(names, cells)


def _numbers(stage: SoftmaxStage, keys: Sequence[str]) -> Iterator[tuple[str | None, float | None]]:
    names = keys if len(stage.values) == len(keys) else [None] * len(stage.values)
    for name, value in zip(names, stage.values, strict=True):
        yield name, None if isinf(value) else value
    if stage.sink is not None:
        yield "sink", stage.sink


def _row(stage: SoftmaxStage, hidden: Sequence[bool], has_sink: bool, say: Translator) -> tuple[Any, ...]:
    values: list[Any] = [
        f"−∞ ({say(in_context('cell', 'masked'))})" if isinf(x) and is_hidden else x
        for x, is_hidden in zip(stage.values, hidden, strict=False)
    ]
    values += [None] * (len(hidden) - len(values))  # the sum is one number
    return say(SOFTMAX_STAGES[stage.name]), stage.expression, *values, *([stage.sink] if has_sink else [])
