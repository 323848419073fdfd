"""The view Patching: which site, layer and position the answer comes from."""

from __future__ import annotations

import shlex
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec
import streamlit as st

from archcalc.dashboard import blocks
from archcalc.dashboard.inside import cell_map
from archcalc.dashboard.inside.view import Output, Subject, View
from archcalc.dashboard.job import Progress
from archcalc.dashboard.session import IN_URL, choice, say
from archcalc.errors import InputError
from archcalc.interp.patch.result import COMPONENT_NAMES, ActivationPatching
from archcalc.render import grid_page
from archcalc.render import patch as pages
from archcalc.render.page import Column, Page, Records, Table
from archcalc.words import joined, msg

if TYPE_CHECKING:
    from archcalc.interp.patch.corruption import Noise

_COMPONENTS: Final = {name: COMPONENT_NAMES[name] for name in ("residual", "attention", "ffn", "head")}
_METHODS: Final = {
    "both": msg("Both"),
    "exact": msg("Exact"),
    "attribution": msg("Gradient's estimate"),
}


class PatchPageOptions(msgspec.Struct, frozen=True):
    """The corrupted prompt, empty for noise on the whole prompt; the answers; what is restored, and how."""

    corrupted: str
    answer: str
    wrong: str
    component: str
    method: Any


def _options(subject: Subject) -> PatchPageOptions:
    say_ = say()
    left, middle, right = st.columns([3, 2, 2])
    example = subject.example.corrupted if subject.is_example else ""
    corrupted = left.text_input(
        say_(msg("Corrupted prompt")),
        key="patch_corrupted",
        placeholder=example,
        help=say_(msg("As many tokens as the prompt. Left empty: noise on every token of the prompt.")),
        **IN_URL,
    )
    answer = middle.text_input(
        say_(msg("Answer")), key="patch_answer", help=say_(msg("One token. Left empty: the likeliest.")), **IN_URL
    )
    wrong = right.text_input(
        say_(msg("Wrong token")),
        key="patch_wrong",
        help=say_(msg("Measures the difference of the two logits.")),
        **IN_URL,
    )
    left, right = st.columns([3, 2])
    with left:
        component = choice(st.segmented_control, say_(msg("Restore")), _COMPONENTS, key="patch_component")
    with right:
        method = choice(st.segmented_control, say_(msg("Effects")), _METHODS, key="patch_method")
    return PatchPageOptions(corrupted or example, answer, wrong, component, method)


def _compute(subject: Subject, options: PatchPageOptions, progress: Progress) -> ActivationPatching:
    from archcalc.interp.patch.result import activation_patching
    from archcalc.interp.patch.run import check_texts, n_cells, patch

    spec, inputs, corrupted = subject.source.spec, subject.inputs, _corrupted(subject, options)
    texts, _ = check_texts(spec, inputs.ids, corrupted, inputs.target)
    answers = [token_of(subject, text, where) for text, where in ((options.answer, "answer"), (options.wrong, "wrong"))]
    if options.method != "attribution":
        n_samples = getattr(corrupted, "n_samples", 1)
        progress.start(n_samples * n_cells(spec, [len(text) for text in texts], [options.component], []))
    found = patch(
        subject.model(),
        inputs.ids,
        corrupted,
        target=inputs.target,
        answer=answers[0],
        wrong=answers[1],
        position=_mask_position(subject),
        components=[options.component],
        method=options.method,
        progress=progress,
    )
    return activation_patching(subject.source, found)


def _corrupted(subject: Subject, options: PatchPageOptions) -> list[int] | Noise:
    """Return the ids of the corrupted prompt, or noise on every token of the prompt."""
    from archcalc.interp.patch.corruption import Noise
    from archcalc.text.spans import positions_of

    if options.corrupted:
        return subject.ids_of(options.corrupted)
    ids, prompt, tokenizer = subject.inputs.ids, subject.text[0], subject.source.tokenizer
    if prompt is None or tokenizer is None:
        return Noise(tuple(range(len(ids))), seed=subject.choice.seed)
    return Noise(tuple(positions_of(tokenizer, prompt, prompt, "noise")), seed=subject.choice.seed)


def _mask_position(subject: Subject) -> int | None:
    """Return the position of an encoder's first masked token, None if there is none."""
    source, ids = subject.source, subject.inputs.ids
    mask = source.tokenizer.mask_id if source.tokenizer and source.spec.family == "encoder" else None
    return ids.index(mask) if mask in ids else None


def token_of(subject: Subject, text: str, where: str) -> int | None:
    """Return the id of a token given as a text, or as an id without a tokenizer; None for an empty text."""
    from archcalc.interp.named_tokens import named_token

    if not text:
        return None
    if subject.source.tokenizer is not None:
        return named_token(subject.source, text, where, f"{where}_id")
    ids = subject.ids_of(text)
    if len(ids) != 1:
        raise InputError(msg("found {found}", found=text), where=where, allowed=msg("a token id"))
    return ids[0]


def _show(subject: Subject, options: PatchPageOptions, result: ActivationPatching) -> Output:
    grids = pages.grids(result)
    grid = grids[0]
    if len(grids) > 1:
        names = {str(i): joined("", [each.title]) for i, each in enumerate(grids)}
        grid = grids[int(choice(st.segmented_control, say()(msg("Map")), names, key="patch_grid"))]
    largest = max(range(len(grid.rows)), key=lambda i: _strength(grid, i))
    row, column = cell_map.choose(grid, "patch", (largest, len(grid.columns) - 1))
    page = pages.view(result, pages.PatchOptions())
    left, right = st.columns(2)
    with left:
        blocks.table(_cell(say().within(grid), row, column), "patch.cell")
    tables = [block for block in page.blocks if isinstance(block, Table)]
    with right:
        blocks.table(tables[1], "patch.passes")
    blocks.show(Page("", "", [tables[0], page.blocks[-1]]), name="patch")
    maps_apart = pages.view(result, pages.PatchOptions(has_maps=False))
    return Output(
        result,
        lambda: page,
        _command(subject, options),
        _python(subject, options, result),
        partial(grid_page.as_html, maps_apart, grids),
    )


def _strength(grid: Any, row: int) -> float:
    figure = next(iter(grid.values))
    return max((abs(x) for x in grid.values[figure][row][:-1] if x is not None), default=0.0)


def _cell(grid: Any, row: int, column: int) -> Table:
    """Return the figures of a cell."""
    title = f"{grid.row_title} {grid.rows[row]} · {grid.column_title} {grid.columns[column]}"
    figures = {name: values[row][column] for name, values in grid.values.items()}
    records = Records(("figure", "value"), [{"figure": name, "value": value} for name, value in figures.items()])
    rows = [(grid.names.get(name, name), value) for name, value in figures.items()]
    return Table(title, (Column(msg("figure")), Column(msg("value"), "decimal")), rows, records=records)


def _command(subject: Subject, options: PatchPageOptions) -> str:
    prompt = subject.text[0]
    if options.corrupted:
        corruption = subject.option("corrupted", options.corrupted)
    else:
        positions = ",".join(map(str, range(len(subject.inputs.ids))))
        corruption = f"--noise {shlex.quote(positions if prompt is None else prompt)}"
    answers = []
    for name, text in (("answer", options.answer), ("wrong", options.wrong)):
        answers += [f"--{name}{'' if subject.has_tokenizer else '-id'} {shlex.quote(text)}"] if text else []
    method = "" if options.method == "both" else f"--method {options.method}"
    return subject.command("patch", corruption, *answers, f"--component {options.component}", method)


def _python(subject: Subject, options: PatchPageOptions, result: ActivationPatching) -> str:
    inputs, corrupted = subject.inputs, _corrupted(subject, options)
    more = f", answer={result.answer_id}"
    more += f", wrong={result.wrong_id}" if result.wrong_id is not None else ""
    more += f", target={inputs.target!r}" if inputs.target is not None else ""
    other = repr(corrupted)
    if not isinstance(corrupted, list):
        other = f"archcalc.inside.Noise({corrupted.positions!r}, seed={corrupted.seed})"
    call = f"archcalc.inside.patch(model, {inputs.ids!r}, {other}{more}, position={result.position}"
    figure = "estimates_RP" if options.method == "attribution" else "effects_RP"
    return subject.python(
        f"found = {call}, components={[options.component]!r}, method={options.method!r})",
        f"found.map({options.component!r}).{figure}",
    )


VIEW: Final = View(
    msg("Patching"),
    msg(
        "Where an answer comes from: a value of the clean pass is restored in the corrupted one. Effect 0 is the "
        "corrupted pass, 1 the clean one."
    ),
    _options,
    _compute,
    _show,
)
