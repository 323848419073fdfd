"""A trace as a page."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from msgspec import structs

from archcalc.interp.trace.result import (
    ExpressionFunction,
    ForwardTrace,
    InputToken,
    PredictedToken,
    PublishedValue,
    StepSummary,
)
from archcalc.render.page import Block, Page, Table, Text
from archcalc.render.tables import table
from archcalc.words import Message, msg


def view(result: ForwardTrace, options: None = None) -> Page:
    """Return the page of every step with its expression and its value at the position, part by part."""
    blocks: list[Block] = [*_step_tables(result), table(msg("Input"), result.tokens, InputToken)]
    if result.next_tokens:
        blocks.append(next_tokens(result.next_tokens))
    if result.published:
        reasons = [f"{row.path}: {row.reason}" for row in result.published if row.reason]
        blocks.append(table(msg("Published values"), result.published, PublishedValue))
        blocks.append(Text(msg("Why a published value differs"), reasons))
    blocks.append(table(msg("Functions"), result.functions, ExpressionFunction))
    return Page(title(result), subtitle(result), blocks)


def title(result: ForwardTrace) -> Message:
    """Return the title of the page."""
    return msg("{model}: a forward pass step by step", model=result.label)


def subtitle(result: ForwardTrace) -> Message:
    """Return the position that the values are of."""
    last = [row for row in result.tokens if row.path == result.tokens[-1].path]
    token = repr(last[result.position].token)
    return msg(
        "values at position {position} ({token}), measured; expressions exact", position=result.position, token=token
    )


def next_tokens(rows: Sequence[PredictedToken]) -> Table:
    """Return the table of the likeliest tokens after the position."""
    return table(msg("Next token"), rows, PredictedToken)


def _step_tables(result: ForwardTrace) -> Iterator[Table]:
    """Yield a table for each part, names without the prefix of the layer; CSV has every step."""
    titles = part_titles((row.step_kind, row.layer_path) for row in result.steps)
    for name, pairs in groupby(zip(titles, result.steps, strict=True), lambda pair: pair[0]):
        if name:
            yield table(name, [_in_layer(row) for _, row in pairs], StepSummary, recorded=result.steps)


def part_titles(steps: Iterable[tuple[str, str]]) -> Iterator[str | Message]:
    """Yield the title of each step's part: before the layers, a layer, after the layers; '' for ids.

    `steps` are pairs of a step's kind and the path of its layer.
    """
    is_after = False
    for kind, layer in steps:
        is_after = kind != "ids" and (is_after or bool(layer))
        yield "" if kind == "ids" else layer or (msg("After the layers") if is_after else msg("Before the layers"))


def _in_layer(row: StepSummary) -> StepSummary:
    """Return a row whose names leave out the prefix of its layer."""
    if not row.layer_path:
        return row
    prefix = re.compile(rf"(?<![\w.]){re.escape(row.layer_path)}\.")
    return structs.replace(row, path=prefix.sub("", row.path), expression=prefix.sub("", row.expression))
