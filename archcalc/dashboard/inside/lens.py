"""The view Lens: what each layer would say next."""

from __future__ import annotations

import shlex
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
import streamlit as st

from archcalc.dashboard import blocks, charts
from archcalc.dashboard.inside import cell_map, lens_training
from archcalc.dashboard.inside.view import Output, Subject, View
from archcalc.dashboard.job import Progress
from archcalc.dashboard.session import IN_URL, choice, say
from archcalc.errors import InputError
from archcalc.interp.lens.result import LENS_NAMES, LensName, LensPredictions, SiteReading, TokenTrajectory
from archcalc.render import lens as pages
from archcalc.render import lens_page
from archcalc.render.charts.lens import rank_chart, short_name
from archcalc.render.grid import Grid
from archcalc.render.page import Column, Records, Table
from archcalc.render.text import visible
from archcalc.words import in_context, msg

if TYPE_CHECKING:
    from archcalc.interp.lens.maps import Lens

_SITES: Final = {
    "branches": msg("Before and after each branch"),
    "layers": msg("Ends of layers"),
}
_FIGURES: Final = {
    "probability": msg("probability"),
    "entropy_nats": msg("entropy, nats"),
    "kl_nats": msg("KL to the output, nats"),
}
# As on the page that the command line writes: tokens of a cell, and tokens of the output with exact ranks.
_TOP, _N_OUTPUT = 10, 5


class LensPageOptions(msgspec.Struct, frozen=True):
    """The kind of lens, the sites that it reads, and a token whose rank is followed.

    `trained` is the digest of a tuned lens that was trained on the page; empty: that of the file beside the model.
    """

    kind: LensName
    sites: Literal["branches", "layers"]
    token: str
    trained: str = ""


DEFAULT: Final = LensPageOptions("logit", "branches", "")


def _options(subject: Subject) -> LensPageOptions:
    say_ = say()
    left, middle, right = st.columns([2, 3, 2])
    with left:
        kind: Any = choice(st.segmented_control, say_(msg("Lens")), LENS_NAMES, key="lens_kind")
    with middle:
        sites: Any = choice(st.segmented_control, say_(msg("Sites")), _SITES, key="lens_sites")
    token = right.text_input(say_(msg("Follow a token")), key="lens_token", placeholder="God", **IN_URL)
    trained = lens_training.panel(subject, sites) if kind == "tuned" else None
    digest = trained.digest if trained else ""
    return LensPageOptions(kind, sites, token.strip() if subject.has_tokenizer else "", digest)


def _compute(subject: Subject, options: LensPageOptions, progress: Progress) -> LensPredictions:
    from archcalc.interp.lens.maps import lens_sites
    from archcalc.interp.lens.reading import lens
    from archcalc.interp.lens.result import lens_predictions
    from archcalc.interp.readout import read_stack

    read_stack(subject.source.spec)
    inputs, tokens = subject.inputs, _tokens(subject, options)
    model = subject.model()
    using = _lens(model, subject, options, progress)
    n_sites = len(lens_sites(subject.source.spec, options.sites))
    progress.start(len(inputs.texts[-1]) * (n_sites - 1))
    reading = lens(
        model,
        inputs.ids,
        inputs.target,
        using=using,
        sites=options.sites,
        positions="all",
        top=_TOP,
        tokens=tokens,
        n_output=_N_OUTPUT,
        progress=progress,
    )
    return lens_predictions(subject.source, reading, len(tokens))


def _lens(model: Any, subject: Subject, options: LensPageOptions, progress: Progress) -> Lens | None:
    """Return the trained lens, that of the file beside the model or the Jacobian one of the prompt; None: logit."""
    from archcalc.interp.lens.jacobian import jacobian_lens
    from archcalc.interp.lens.lens_file import load_lens

    if options.kind == "logit":
        return None
    if options.trained:
        return lens_training.lens_of(options.trained)
    if (file := _file(subject, options)) is not None:
        return load_lens(file)
    inputs = subject.inputs
    progress.start(model.spec.d_model)
    targets = None if inputs.target is None else [inputs.target]
    return jacobian_lens(model, [inputs.ids], targets, sites=options.sites, progress=progress)


def _file(subject: Subject, options: LensPageOptions) -> str | None:
    """Return the file of a trained lens, or the one that `archcalc lens --train` wrote beside the model, if any."""
    from archcalc.interp.lens.lens_file import lens_beside

    if options.trained:
        return lens_training.file_name(subject)
    try:
        return lens_beside(subject.choice.name, options.kind)
    except InputError:
        problem = msg("there is no tuned lens of this model")
        raise InputError(problem, allowed=msg("one trained above, or a file beside the model")) from None


def _tokens(subject: Subject, options: LensPageOptions) -> list[int]:
    from archcalc.interp.named_tokens import named_tokens

    return named_tokens(subject.source, [options.token] if options.token else [])


def _show(subject: Subject, options: LensPageOptions, result: LensPredictions) -> Output:
    readings = [row for row in result.readings if row.path == result.sites[0]]
    n_positions = len(readings)
    labels = [visible(row.token) for row in result.readings]
    rows = [labels[i : i + n_positions] for i in range(0, len(labels), n_positions)]
    start = (len(result.sites) - 1, n_positions - 1)
    site, position = cell_map.choose(_grid(result, n_positions), "lens", start, rows)
    left, right = st.columns([2, 3])
    with left:
        blocks.table(_candidates(result, result.readings[site * n_positions + position]), "lens.cell")
    with right:
        charts.show(rank_chart(_at(result, position)), name="lens.ranks")
    return Output(
        result,
        partial(pages.view, result),
        _command(subject, options),
        _python(subject, options, site, position),
        partial(lens_page.as_html, result),
    )


def _grid(result: LensPredictions, n_positions: int) -> Grid:
    rows = range(0, len(result.readings), n_positions)
    figures = {
        name: tuple(tuple(getattr(row, name) for row in result.readings[i : i + n_positions]) for i in rows)
        for name in ("probability", "entropy_nats", "kl_nats")
    }
    return Grid(
        title=pages.title(result),
        row_title=in_context("of a model", "site"),
        rows=tuple(map(short_name, result.sites)),
        column_title=in_context("of a trace", "position"),
        columns=tuple(f"{token.position} {visible(token.token)}" for token in result.tokens),
        values=figures,
        names=_FIGURES,
    )


def _candidates(result: LensPredictions, row: SiteReading) -> Table:
    """Return the likeliest tokens of a cell."""
    columns = (Column(msg("token"), "quoted"), Column(msg("id"), "words"), Column(msg("probability"), "decimal"))
    token = result.tokens[row.position]
    title = msg(
        "{site} at position {position} ({token})", site=row.path, position=row.position, token=repr(token.token)
    )
    rows, names = list(zip(row.tokens, row.ids, row.probabilities, strict=True)), ("token", "id", "probability")
    return Table(title, columns, rows, records=Records(names, [dict(zip(names, cells, strict=True)) for cells in rows]))


def _at(result: LensPredictions, position: int) -> LensPredictions:
    """Return the result with the trajectories of one position, which the chart shows."""
    rows: list[TokenTrajectory] = [row for row in result.trajectories if row.position == position]
    return msgspec.structs.replace(result, trajectories=tuple(rows))


def _command(subject: Subject, options: LensPageOptions) -> str:
    return subject.command(
        "lens",
        f"--positions all --top {_TOP}",
        "--sites layers" if options.sites == "layers" else "",
        f"--kind {options.kind}" if options.kind != "logit" and not options.trained else "",
        f"--lens {shlex.quote(lens_training.file_name(subject))}" if options.trained else "",
        f"--token {shlex.quote(options.token)}" if options.token else "",
    )


def _python(subject: Subject, options: LensPageOptions, site: int, position: int) -> str:
    texts = ", ".join(map(repr, subject.inputs.texts))
    more = f", sites={options.sites!r}"
    lines = []
    if (file := _file(subject, options)) is not None:
        lines.append(f"lens = archcalc.inside.load_lens({file!r})")
    elif options.kind == "jacobian":
        lists = ", ".join(repr([text]) for text in subject.inputs.texts)
        lines.append(f"lens = archcalc.inside.jacobian_lens(model, {lists}{more})")
    if lines:
        more += ", using=lens"
    if tokens := _tokens(subject, options):
        more += f", tokens={tokens!r}"
    lines.append(f"reading = archcalc.inside.lens(model, {texts}{more}, positions='all', top={_TOP})")
    lines.append(f"reading.top_ids[{site}, {position}], reading.top_probabilities[{site}, {position}]")
    return subject.python(*lines)


VIEW: Final = View(
    msg("Lens"),
    msg(
        "What the model would say next at each layer: the residual stream passes through the final norm and the head. "
        "Each cell shows the likeliest token."
    ),
    _options,
    _compute,
    _show,
)
