"""One query's softmax as a table: a row a stage, a column a key."""

from __future__ import annotations

from collections.abc import Sequence
from math import isinf
from typing import TYPE_CHECKING, Any

from archcalc.render.page import Column, Table
from archcalc.render.trace_words import SOFTMAX_STAGES
from archcalc.words import ENGLISH, Translator, in_context, msg

if TYPE_CHECKING:
    from archcalc.interp.trace.softmax import SoftmaxRow, SoftmaxStage


def table(found: SoftmaxRow, keys: Sequence[str], say: Translator = ENGLISH) -> Table:
    """Every stage; `keys` are the keys' names. A key that the mask hides is named so, wherever its score is −∞."""
    has_sink = any(stage.sink is not None for stage in found.stages)
    more = [say(msg("sink"))] if has_sink else []
    columns = [Column(say(in_context("of a trace", "step"))), Column(say(msg("formula")))]
    columns += [Column(name, "decimal") for name in (*keys, *more)]
    rows = [_row(stage, found.hidden, has_sink, say) for stage in found.stages]
    title = say(
        msg(
            "Softmax step by step: {part}, head {head}, query {query}",
            part=found.part,
            head=found.head,
            query=found.query,
        )
    )
    return Table(title, tuple(columns), rows)


def _row(stage: SoftmaxStage, hidden: Sequence[bool], has_sink: bool, say: Translator) -> tuple[Any, ...]:
    values: list[Any] = [
        f"−∞ ({say(in_context('cell', 'masked'))})" if isinf(x) and is_hidden else x
        for x, is_hidden in zip(stage.values, hidden, strict=False)
    ]
    values += [None] * (len(hidden) - len(values))  # a sum stands once
    return say(SOFTMAX_STAGES[stage.name]), stage.formula, *values, *([stage.sink] if has_sink else [])
