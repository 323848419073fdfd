"""The view Patchscope: what a hidden vector means, in the model's own words."""

from __future__ import annotations

import shlex
from functools import partial
from typing import Any, Final

import msgspec
import streamlit as st

from archcalc.dashboard import blocks
from archcalc.dashboard.inside import cell_map
from archcalc.dashboard.inside.view import Output, Subject, View
from archcalc.dashboard.job import Progress
from archcalc.dashboard.session import IN_URL, choice, say
from archcalc.errors import InputError
from archcalc.interp.patchscope.result import PatchedToken, PatchscopeResult
from archcalc.render import grid_page
from archcalc.render import patchscope as pages
from archcalc.render.page import Page, Text
from archcalc.render.tables import table
from archcalc.render.text import visible
from archcalc.words import msg

_SCOPES: Final = {
    "identity": msg("Repeat the token"),
    "description": msg("Describe it"),
    "few-shot": msg("Describe it after examples"),
    "own": msg("Own prompt"),
}
_LAYERS: Final = {
    "same": msg("Same layer"),
    "grid": msg("All pairs"),
}
# Of the continuation, so many characters are in a cell.
_LABEL: Final = 12
MAX_TOKENS: Final = 32


class PatchscopePageOptions(msgspec.Struct, frozen=True):
    """The words that are read (empty: the last token), the target prompt, the pairs of layers, and the text's length.

    `into` is an own target prompt, whose last x is the placeholder; without a tokenizer, ids whose last one is it.
    """

    words: str
    scope: str
    into: str
    is_grid: bool
    max_tokens: int


def _options(subject: Subject) -> PatchscopePageOptions:
    say_ = say()
    left, right = st.columns([2, 3])
    words = left.text_input(
        say_(msg("Words to read")),
        key="scope_words",
        help=say_(msg("Words of the prompt. Left empty: its last token.")),
        **IN_URL,
    )
    with right:
        label = say_(msg("Target prompt"))
        scope = choice(st.segmented_control, label, _SCOPES, key="scope_prompt") if subject.has_tokenizer else "own"
    into = ""
    if scope == "own":
        into = st.text_input(
            say_(msg("Own target prompt; its last x is the placeholder"))
            if subject.has_tokenizer
            else say_(msg("Target prompt as ids; the last one is the placeholder")),
            key="scope_into",
            placeholder=_placeholder(subject),
            **IN_URL,
        )
    left, right = st.columns([2, 3])
    with left:
        layers = choice(st.segmented_control, say_(msg("Layers")), _LAYERS, key="scope_layers")
    n = right.slider(say_(msg("Maximum tokens")), 1, MAX_TOKENS, 8, key="scope_tokens", **IN_URL)
    return PatchscopePageOptions(words.strip(), scope, into or _placeholder(subject), layers == "grid", int(n))


def _placeholder(subject: Subject) -> str:
    return "x" if subject.has_tokenizer else subject.example.prompt


def _compute(subject: Subject, options: PatchscopePageOptions, progress: Progress) -> PatchscopeResult:
    from archcalc.interp.patchscope.result import patchscope_result
    from archcalc.interp.patchscope.run import check, patchscope
    from archcalc.run.decoding.generation import generation_workload

    source, inputs, pairs = subject.source, subject.inputs, _pairs(subject, options)
    read = _source_positions(subject, options)
    into, written = _target(subject, options, len(read))
    check(source.spec, inputs.ids, read, into, written, pairs, None)
    model = subject.model(generation_workload(source.spec, [into], options.max_tokens))
    progress.start(len(pairs))
    found = patchscope(
        model,
        inputs.ids,
        read,
        into,
        written,
        pairs,
        max_tokens=options.max_tokens,
        start_id=source.start_id,
        eos_ids=source.eos_ids,
        progress=progress,
    )
    return patchscope_result(source, found)


def _pairs(subject: Subject, options: PatchscopePageOptions) -> list[tuple[int, int]]:
    from archcalc.interp.patchscope.run import all_pairs

    pairs = all_pairs(subject.source.spec)
    return pairs if options.is_grid else [(layer, target) for layer, target in pairs if layer == target]


def _source_positions(subject: Subject, options: PatchscopePageOptions) -> list[int]:
    from archcalc.text.spans import positions_of

    if not options.words:
        return [len(subject.inputs.ids) - 1]
    tokenizer, prompt = subject.source.tokenizer, subject.text[0]
    if tokenizer is None or prompt is None:
        raise InputError(msg("found with positions or ids"), where="words", allowed=msg("with `prompt` alone"))
    return positions_of(tokenizer, prompt, options.words, "words")


def _target(subject: Subject, options: PatchscopePageOptions, n_vectors: int) -> tuple[list[int], list[int]]:
    """Return the ids of the target prompt and the positions of its placeholders."""
    from archcalc.interp.patchscope.prompts import PLACEHOLDER, PROMPTS, target_prompt

    tokenizer = subject.source.tokenizer
    if tokenizer is None:
        ids = subject.ids_of(options.into)
        return ids, [len(ids) - 1]
    text = options.into if options.scope == "own" else PROMPTS[options.scope]["en"]  # type: ignore[index]
    return target_prompt(tokenizer, text, n_vectors, PLACEHOLDER)


def _show(subject: Subject, options: PatchscopePageOptions, result: PatchscopeResult) -> Output:
    grid = pages.grid(result)
    labels = [[visible(text.lstrip())[:_LABEL] for text in row] for row in grid.texts]
    row, column = cell_map.choose(grid, "scope", (len(grid.rows) // 2, len(grid.rows) // 2), labels)
    text = grid.texts[row][column] if grid.values["probability"][row][column] is not None else None
    title = msg("Source layer {layer}, target layer {target}", layer=grid.rows[row], target=grid.columns[column])
    missing: Any = msg("Not computed: choose all pairs of layers.")
    chosen = Text(title, [missing if text is None else text])
    tokens = table(msg("Source tokens"), result.tokens, PatchedToken)
    page = pages.view(result, pages.PatchscopeOptions())
    blocks.show(Page("", "", [chosen, page.blocks[-1], tokens]), name="patchscope")
    return Output(
        result,
        lambda: page,
        _command(subject, options),
        _python(subject, options),
        partial(grid_page.as_html, page, [grid]),
    )


def _command(subject: Subject, options: PatchscopePageOptions) -> str:
    if not subject.has_tokenizer:
        ids, (position,) = _target(subject, options, 1)
        target = f"--into-ids {','.join(map(str, ids))} --into-position {position}"
    else:
        own = options.scope == "own"
        target = f"--into {shlex.quote(options.into)}" if own else f"--scope {options.scope}"
    return subject.command(
        "patchscope",
        f"--words {shlex.quote(options.words)}" if options.words else "",
        target,
        "--grid" if options.is_grid else "",
        f"--max-tokens {options.max_tokens}",
    )


def _python(subject: Subject, options: PatchscopePageOptions) -> str:
    source, read = subject.source, _source_positions(subject, options)
    into, written = _target(subject, options, len(read))
    pairs = "None" if options.is_grid else f"[(layer, layer) for layer in range({len(_pairs(subject, options))})]"
    more = f", start_id={source.start_id}" if source.start_id is not None else ""
    more += f", eos_ids={tuple(source.eos_ids)!r}" if source.eos_ids else ""
    return subject.python(
        f"found = archcalc.inside.patchscope(model, {subject.inputs.ids!r}, {read!r}, {into!r}, {written!r}, "
        f"{pairs}, max_tokens={options.max_tokens}{more})",
        "[(text.layer, text.target_layer, text.ids) for text in found.texts]",
    )


VIEW: Final = View(
    msg("Patchscope"),
    msg(
        "What a hidden vector means: it replaces a placeholder of another prompt, and the model continues that prompt. "
        "Each cell has the text that follows."
    ),
    _options,
    _compute,
    _show,
)
