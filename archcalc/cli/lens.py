"""`archcalc lens`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click
from msgspec import structs

from archcalc.cli.language import current, emit_result
from archcalc.cli.model_options import ModelOptions, model_options
from archcalc.cli.options import FILE, SOURCE, F, output
from archcalc.errors import InputError, shown
from archcalc.render.output import Format, emit_text, write
from archcalc.run.decoding.prompts import prompt_ids
from archcalc.words import Message, msg

if TYPE_CHECKING:
    from archcalc.interp.lens.maps import Lens, LensKind, LensSites
    from archcalc.run.loading.source import ModelSource
    from archcalc.spec.workload import Workload

_POSITION = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?")
# The first positions, whose states are unusual, are left out of the average Jacobian of a text.
SKIP = 16
# On the interactive page, the tokens of a cell, and the likeliest tokens of the output whose ranks are exact.
PAGE_TOP, PAGE_OUTPUT = 10, 5


@dataclass(frozen=True)
class LensOptions:
    """What is read, and through which lens."""

    kind: LensKind | None
    file: str | None
    sites: LensSites
    positions: str | None
    top: int | None
    tokens: tuple[str, ...]
    token_ids: tuple[int, ...]


@dataclass(frozen=True)
class TrainingOptions:
    """How a lens is made of a text."""

    text: str | None
    steps: int
    seq: int
    learning_rate: float


def reading_options(command: F) -> F:
    """Add the options of what is read."""
    for option in (
        click.option("--plot", type=FILE, help="Line chart of the ranks by site (.html, .png or .svg)."),
        click.option("--token-id", "token_ids", type=int, multiple=True, help="As --token, by id; repeatable."),
        click.option(
            "--token", "tokens", metavar="TEXT", multiple=True, help="Follow the rank of this token; repeatable."
        ),
        click.option("--top", type=click.IntRange(1), help="Likeliest tokens to keep (default: 5; in HTML 10)."),
        click.option(
            "--positions",
            metavar="last|all|0,3-5",
            help="Token positions to read (default: the last; in HTML all of them).",
        ),
        click.option(
            "--sites",
            type=click.Choice(["branches", "layers"]),
            default="branches",
            show_default=True,
            help="Read before and after attention and feed-forward, or at the ends of layers.",
        ),
    ):
        command = option(command)
    return command


def lens_options(command: F) -> F:
    """Add the options of the lens and its training."""
    for option in (
        click.option(
            "--lr", "learning_rate", type=float, default=1e-3, show_default=True, help="Learning rate of --train."
        ),
        click.option("--seq", type=click.IntRange(2), default=64, show_default=True, help="Tokens per row of --train."),
        click.option("--steps", type=click.IntRange(1), default=250, show_default=True, help="Steps of --train."),
        click.option(
            "--train", "text", type=FILE, help="Make a lens of this text (tuned, or --kind jacobian) and save it."
        ),
        click.option("--lens", "file", type=FILE, help="File of the lens (default: beside the model)."),
        click.option(
            "--kind", type=click.Choice(["logit", "tuned", "jacobian"]), help="Kind of lens (default: logit)."
        ),
    ):
        command = option(command)
    return command


@click.command("lens")
@click.argument("source", type=SOURCE)
@click.option("-p", "--prompt", metavar="TEXT", help="Input text (of an encoder-decoder, the source).")
@click.option("--ids", metavar="1,2,3", help="Input as token ids, instead of --prompt.")
@click.option("--target", metavar="TEXT", help="Of an encoder-decoder: the decoder's text so far.")
@lens_options
@reading_options
@model_options
@output
def command(
    source: str,
    prompt: str | None,
    ids: str | None,
    target: str | None,
    model_options: ModelOptions,
    seed: int,
    plot: str | None,
    form: Format,
    output: str | None,
    no_color: bool,
    **options: Any,
) -> None:
    """Show what the model would say next at each layer: logit lens, tuned lens, Jacobian lens.

    The residual stream before and after each attention and feed-forward passes through the final norm and the head:
    the likeliest tokens, their entropy, and the KL divergence of the output from them. --token follows the rank of a
    token from layer to layer. The HTML output is an interactive map of all positions. SOURCE is as for `archcalc
    trace`.

    --train makes a tuned lens (an affine map for each site, trained by KL to the output) or, with --kind jacobian, the
    average Jacobian from each site to the last layer, and saves it. Without a file, --kind jacobian averages over the
    prompt itself.

    \b
    Examples:
      archcalc lens ./SmolLM2-135M --prompt "The capital of France is" --token Paris
      archcalc lens tiny --prompt "In the beginning God created the" --output lens.html
      archcalc lens tiny --prompt "In the beginning" --positions all --sites layers --format csv
      archcalc lens tiny --train book.txt --lens tiny-lens.safetensors --steps 20
      archcalc lens tiny --prompt "In the beginning" --lens tiny-lens.safetensors
      archcalc lens tiny --prompt "In the beginning" --kind jacobian
    """
    names = LensOptions.__dataclass_fields__
    reading = LensOptions(**{name: options.pop(name) for name in names})
    training, opened = TrainingOptions(**options), model_options.open(source)
    show = _Output(plot, form, output, no_color)
    if training.text is not None:
        if prompt is not None or ids is not None:
            raise InputError(msg("found with `train`"), where="prompt, ids", allowed=msg("left out"))
        _train(source, opened, model_options, reading, training, show)
        return
    (row,) = prompt_ids(opened, [prompt] if prompt is not None else [], [ids] if ids is not None else [])
    _read(source, opened, model_options, reading, row, _target(opened, target), show)


@dataclass(frozen=True)
class _Output:
    plot: str | None
    form: Format
    output: str | None
    no_color: bool


def _target(opened: ModelSource, text: str | None) -> list[int] | None:
    """Return the decoder's ids so far: its start token and the target."""
    if opened.spec.family != "encoder-decoder":
        if text is not None:
            raise InputError(
                msg("found for a model of the family {family}", family=opened.spec.family),
                where="target",
                allowed=msg("left out"),
            )
        return None
    if opened.start_id is None:
        raise InputError(
            msg("not known"), where="decoder_start_token_id", allowed=msg("a token id that the decoder begins with")
        )
    if text is None:
        return [opened.start_id]
    if opened.tokenizer is None:
        raise InputError(msg("there is no tokenizer"), where="target", allowed=msg("left out"))
    return [opened.start_id, *opened.tokenizer.encode(text, special=False)]


def _read(
    source: str,
    opened: ModelSource,
    model_options: ModelOptions,
    options: LensOptions,
    ids: list[int],
    target: list[int] | None,
    show: _Output,
) -> None:
    from archcalc.interp.lens.maps import lens_sites
    from archcalc.interp.lens.named_tokens import named_tokens
    from archcalc.interp.lens.reading import lens
    from archcalc.interp.lens.result import lens_predictions
    from archcalc.interp.readout import read_stack
    from archcalc.interp.trace.trace_input import trace_input
    from archcalc.render import lens as pages

    read_stack(opened.spec)
    work = trace_input(opened, ids).work
    if target is not None:
        work = structs.replace(work, seq=len(target))
    is_page = show.form == "html"
    positions, top = _positions(options.positions or ("all" if is_page else "last")), options.top
    tokens = named_tokens(opened, options.tokens, options.token_ids)
    lens_file = _lens_file(source, options)
    model = model_options.load(opened, work, packed=False).model
    using = _lens(lens_file, options, model, ids, target)
    text = ids if target is None else target
    n_read = len(text) if positions == "all" else 1 if positions is None else len(positions)
    with _progress(n_read * (len(lens_sites(opened.spec, options.sites)) - 1), msg("reading")) as update:
        reading = lens(
            model,
            ids,
            target,
            using=using,
            sites=options.sites,
            positions=positions,
            top=top or (PAGE_TOP if is_page else 5),
            tokens=tokens,
            n_output=PAGE_OUTPUT if is_page else 1,
            progress=update,
        )
    result = lens_predictions(opened, reading, len(tokens))
    if show.plot:
        from archcalc.render.charts.file import as_file
        from archcalc.render.charts.lens import rank_chart

        write(show.plot, as_file(show.plot, lambda: rank_chart(result), current()))
    if is_page:
        from archcalc.render.lens_page import as_html

        emit_text(as_html(result, current()), show.output)
    else:
        emit_result(lambda: result, pages.view, None, show.form, output=show.output, color=not show.no_color)


def _positions(text: str) -> list[int] | str | None:
    """Return positions as `lens` reads them. Raises InputError for anything but numbers, ranges, 'last' and 'all'."""
    if text in ("last", "all"):
        return None if text == "last" else text
    positions: list[int] = []
    for part in text.split(","):
        match = _POSITION.fullmatch(part.strip())
        if match is None:
            raise InputError(
                msg("found {found}", found=shown(text)), where="positions", allowed=msg("last, all, or such as 0,3-5")
            )
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first or last - first > 100_000:
            raise InputError(
                msg("found {found}", found=shown(part)), where="positions", allowed=msg("a range that ascends")
            )
        positions += range(first, last + 1)
    return positions


def _lens_file(source: str, options: LensOptions) -> str | None:
    """Return the file of the lens, None for one without a file. Raises InputError for a tuned lens without one."""
    from archcalc.interp.lens.lens_file import lens_path

    if options.kind == "logit":
        if options.file is not None:
            raise InputError(msg("found with `kind` logit"), where="lens", allowed=msg("left out"))
        return None
    if options.file is not None or options.kind is None:
        return options.file
    path = lens_path(source, options.kind)
    if path is not None and path.is_file():
        return str(path)
    if options.kind == "tuned":
        allowed = msg("`lens`, or a lens made with `train`") if path is None else msg("one made with `train`")
        raise InputError(msg("there is no tuned lens"), file="" if path is None else str(path), allowed=allowed)
    return None


def _lens(file: str | None, options: LensOptions, model: Any, ids: list[int], target: list[int] | None) -> Lens | None:
    from archcalc.interp.lens.jacobian import jacobian_lens
    from archcalc.interp.lens.lens_file import load_lens

    if file is not None:
        lens = load_lens(file)
        if options.kind not in (None, lens.kind):
            raise InputError(
                msg("found a lens of the kind {kind}", kind=lens.kind), file=file, allowed=str(options.kind)
            )
        return lens
    if options.kind != "jacobian":
        return None
    with _progress(model.spec.d_model, msg("averaging")) as update:
        return jacobian_lens(model, [ids], None if target is None else [target], sites=options.sites, progress=update)


def _train(
    source: str,
    opened: ModelSource,
    model_options: ModelOptions,
    options: LensOptions,
    training: TrainingOptions,
    show: _Output,
) -> None:
    from archcalc.interp.lens.divergence import divergences, split_texts
    from archcalc.interp.lens.lens_file import lens_bytes
    from archcalc.interp.lens.maps import lens_sites
    from archcalc.interp.lens.result import trained_lens
    from archcalc.interp.lens.texts import text_origin, text_rows
    from archcalc.interp.readout import read_stack
    from archcalc.render import lens as pages

    kind: LensKind = options.kind or "tuned"
    text = str(training.text)
    read_stack(opened.spec)
    _check_training(opened, kind, training)
    file = _new_file(source, options, kind)
    rows = text_rows(opened, text, training.seq, model_options.seed)
    model = model_options.load(opened, _workload(training.seq), packed=False).model
    texts, held_out = split_texts(rows)
    lens = _made(model, texts, kind, options, training, model_options.seed)
    lens = type(lens)(lens.kind, lens.maps, {**lens.origin, "model": opened.label, **text_origin(text)})
    write(file, lens_bytes(lens))
    names = [site.name for site in lens_sites(opened.spec, options.sites)]
    before, after = (divergences(model, held_out, names, one).tolist() for one in (None, lens))
    result = trained_lens(opened, lens, file, names, (before, after))
    emit_result(lambda: result, pages.training_view, None, show.form, output=show.output, color=not show.no_color)


def _check_training(opened: ModelSource, kind: LensKind, training: TrainingOptions) -> None:
    if kind == "logit":
        raise InputError(msg("found logit, which is not trained"), where="kind", allowed="tuned, jacobian")
    if opened.spec.family == "encoder-decoder":
        raise InputError(
            msg("found a model of the family {family}", family=opened.spec.family),
            where="train",
            allowed=msg("a decoder or an encoder"),
        )
    if training.seq > opened.spec.n_ctx:
        raise InputError(
            msg("found {found}", found=training.seq), where="seq", allowed=msg("2 to {n:,}", n=opened.spec.n_ctx)
        )


def _workload(seq: int) -> Workload:
    from archcalc.spec.workload import Workload

    return Workload(batch=1, seq=seq)


def _new_file(source: str, options: LensOptions, kind: LensKind) -> str:
    """Return the file to write. Raises InputError for a source that nothing is written beside."""
    from archcalc.interp.lens.lens_file import lens_path

    if options.file is not None:
        return options.file
    path = None if source == "-" else lens_path(source, kind)
    if path is None or not path.parent.is_dir():
        raise InputError(
            msg("left out, and nothing is written beside {source}", source=source),
            where="lens",
            allowed=msg("the name of a file"),
        )
    return str(path)


def _made(
    model: Any,
    texts: list[list[int]],
    kind: LensKind,
    options: LensOptions,
    training: TrainingOptions,
    seed: int,
) -> Lens:
    from archcalc.interp.lens.jacobian import jacobian_lens
    from archcalc.interp.lens.training import train_lens

    if kind == "tuned":
        with _progress(training.steps, msg("training")) as update:
            return train_lens(
                model,
                texts,
                sites=options.sites,
                steps=training.steps,
                learning_rate=training.learning_rate,
                seed=seed,
                progress=update,
            )
    with _progress(len(texts) * model.spec.d_model, msg("averaging")) as update:
        skip = min(SKIP, training.seq // 4)
        return jacobian_lens(model, texts, sites=options.sites, skip=skip, progress=update)


@contextmanager
def _progress(length: int, label: Message) -> Iterator[Any]:
    """Yield what moves a progress bar, which only a terminal shows."""
    hidden = not sys.stderr.isatty()
    with click.progressbar(length=length, label=current()(label), file=sys.stderr, hidden=hidden) as bar:
        yield bar.update
