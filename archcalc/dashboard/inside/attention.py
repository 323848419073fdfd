"""The view Attention: every head of every layer, one head large, and one pair of its positions."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec
import streamlit as st

from archcalc.dashboard import blocks
from archcalc.dashboard.inside import cell_map
from archcalc.dashboard.inside.view import Output, Subject, View
from archcalc.dashboard.job import Progress
from archcalc.dashboard.session import IN_URL, say
from archcalc.interp.heads.result import KIND_NAMES, Attentions, HeadPattern
from archcalc.render import attention as pages
from archcalc.render.grid import Grid
from archcalc.render.page import Page, Table, Text
from archcalc.render.text import visible
from archcalc.words import in_context, msg

if TYPE_CHECKING:
    from archcalc.interp.heads.patterns import AttentionReading

_FIGURES: Final = {
    "entropy_nats": msg("entropy, nats"),
    "distance": msg("distance, tokens"),
    "previous_token": KIND_NAMES["previous_token"],
    "first_token": KIND_NAMES["first_token"],
    "induction": KIND_NAMES["induction"],
    "duplicate_token": KIND_NAMES["duplicate_token"],
}


class AttentionOptions(msgspec.Struct, frozen=True):
    """Whether the kinds of heads are measured on repeated random tokens."""

    has_kinds: bool


def _options(subject: Subject) -> AttentionOptions:
    label, explanation = msg("Measure kinds of heads"), msg("On random tokens that are repeated once.")
    return AttentionOptions(st.toggle(say()(label), True, key="attention_kinds", help=say()(explanation), **IN_URL))


def _compute(subject: Subject, options: AttentionOptions, progress: Progress) -> AttentionReading:
    from archcalc.interp.heads.patterns import attention

    inputs = subject.inputs
    return attention(subject.model(), inputs.ids, inputs.target, with_kinds=options.has_kinds, seed=subject.choice.seed)


def _show(subject: Subject, options: AttentionOptions, reading: AttentionReading) -> Output:
    from archcalc.interp.heads.attention_result import attentions
    from archcalc.render.attention_page import as_html

    paths = list(reading.arms)
    heads = attentions(subject.source, reading, subject.inputs.texts)
    st.caption(say()(msg("All heads: click one to see its pattern.")))
    layer, head = cell_map.choose(_overview(heads, paths), "attention", (0, 0))
    path = paths[layer]
    head = min(head, reading.arms[path].n_heads - 1)
    grid = _pattern(heads, reading, path, head)
    st.caption(say()(msg("Rows are queries, columns are keys. The weights of a row sum to 1.")))
    query, key = cell_map.choose(grid, "pattern", (len(grid.rows) - 1, len(grid.columns) - 1))
    result = attentions(subject.source, reading, subject.inputs.texts, (path, head), (query, key))
    assert result.selected is not None, "a head was selected"
    _show_head(result.selected)
    return Output(
        result,
        partial(pages.view, result),
        subject.command(
            "attention", f"--head {path}.{head} --pair {query},{key}", "" if options.has_kinds else "--no-kinds"
        ),
        _python(subject, options, path, head, (query, key)),
        partial(as_html, result, reading),
    )


def _overview(result: Attentions, paths: list[str]) -> Grid:
    """Return the grid of all heads: a row for each attention."""
    by_path: dict[str, list[Any]] = {path: [] for path in paths}
    for row in result.heads:
        by_path[row.path].append(row)
    figures = {
        name: cell_map.columns_of([[getattr(head, name) for head in heads] for heads in by_path.values()])
        for name in _FIGURES
    }
    return Grid(
        title=pages.title(result),
        row_title=msg("layer"),
        rows=tuple(paths),
        column_title=in_context("of attention", "head"),
        columns=tuple(map(str, range(max(map(len, by_path.values()))))),
        values={name: rows for name, rows in figures.items() if any(x is not None for row in rows for x in row)},
        names=_FIGURES,
    )


def _pattern(result: Attentions, reading: AttentionReading, path: str, head: int) -> Grid:
    """Return the weights of one head; masked cells have none."""
    from archcalc.interp.heads.pattern_bytes import is_masked

    arm = reading.arms[path]
    queries = arm.query_names(result.texts[arm.text])
    keys = arm.key_names(result.texts[arm.key_text], reading.patterns[path].shape[-1])
    weights, hidden = reading.shares(path)[head].tolist(), is_masked(reading.scores[path][head]).tolist()
    return Grid(
        title=msg("{path}, head {head}", path=path, head=head),
        row_title=msg("query"),
        rows=tuple(f"{i} {visible(token)}" for i, token in enumerate(queries)),
        column_title=msg("key"),
        columns=tuple(f"{i} {visible(token)}" for i, token in enumerate(keys)),
        values={
            "weight": tuple(
                tuple(None if is_hidden else weight for weight, is_hidden in zip(row, row_hidden, strict=True))
                for row, row_hidden in zip(weights, hidden, strict=True)
            )
        },
    )


def _show_head(head: HeadPattern) -> None:
    """Draw the keys of the chosen query, and its score with the chosen key by dimension."""
    shown = [block for block in pages.selected(head) if isinstance(block, Table | Text)]
    left, right = st.columns(2)
    with left:
        blocks.show(Page("", "", shown[:1]), name="attention.keys")
    with right:
        blocks.show(Page("", "", shown[1:]), name="attention.pair")


def _python(subject: Subject, options: AttentionOptions, path: str, head: int, pair: tuple[int, int]) -> str:
    texts = ", ".join(map(repr, subject.inputs.texts))
    more = "" if options.has_kinds else ", with_kinds=False"
    more += f", seed={subject.choice.seed}" if subject.choice.seed else ""
    return subject.python(
        f"reading = archcalc.inside.attention(model, {texts}{more})",
        f"reading.patterns[{path!r}][{head}], reading.products({path!r}, {head}, {pair[0]}, {pair[1]}).products",
    )


VIEW: Final = View(
    msg("Attention"),
    msg("What each head of each layer attends to, what kind of head it is, and the score of any two positions."),
    _options,
    _compute,
    _show,
)
