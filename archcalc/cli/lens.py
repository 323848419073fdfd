"""`archcalc lens`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from archcalc.cli.language import current, emit_result
from archcalc.cli.lens_options import LensOptions, OutputOptions, TrainingOptions, lens_options, reading_options
from archcalc.cli.lens_training import train
from archcalc.cli.model_options import ModelOptions, model_options, target_option, text_options
from archcalc.cli.options import SOURCE, output
from archcalc.cli.progress import progress_bar
from archcalc.cli.ranges import number_ranges
from archcalc.errors import InputError
from archcalc.render.output import Format, emit_text, write
from archcalc.run.decoding.prompts import DecoderText, check_given, one_prompt
from archcalc.words import msg

if TYPE_CHECKING:
    from archcalc.interp.lens.extent import LensExtent
    from archcalc.interp.lens.maps import Lens, LensSites
    from archcalc.interp.text_input import TextInput
    from archcalc.run.loading.source import ModelSource

# On the interactive page, the tokens of a cell, and the likeliest tokens of the output whose ranks are exact.
PAGE_TOP, PAGE_OUTPUT = 10, 5


@click.command("lens")
@click.argument("source", type=SOURCE)
@text_options
@target_option
@lens_options
@reading_options
@model_options
@output
def command(
    source: str,
    prompt: str | None,
    ids: str | None,
    target: DecoderText | None,
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
    token from layer to layer. The HTML output is an interactive map. SOURCE is as for `archcalc trace`.

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
    training = TrainingOptions(**options)
    if training.text is None:
        check_given(prompt, ids)
    elif prompt is not None or ids is not None:
        raise InputError(msg("found with `train`"), where="prompt, ids", allowed=msg("no value"))
    opened = model_options.open(source)
    show = OutputOptions(plot, form, output, no_color)
    if training.text is not None:
        train(source, opened, model_options, reading, training, show)
        return
    _read(source, opened, model_options, reading, one_prompt(opened, prompt, ids), target, show)


def _read(
    source: str,
    opened: ModelSource,
    model_options: ModelOptions,
    options: LensOptions,
    ids: list[int],
    target: DecoderText | None,
    show: OutputOptions,
) -> None:
    from archcalc.interp.lens.maps import lens_sites
    from archcalc.interp.lens.reading import lens
    from archcalc.interp.lens.result import lens_predictions
    from archcalc.interp.named_tokens import named_tokens
    from archcalc.interp.readout import read_stack
    from archcalc.interp.text_input import text_input
    from archcalc.render import lens as pages

    read_stack(opened.spec)
    inputs = text_input(opened, ids, target)
    is_page = show.form == "html"
    extent = _extent(opened, options, len(inputs.texts[-1]), is_page=is_page)
    tokens = named_tokens(opened, options.tokens, options.token_ids)
    lens_file = _lens_file(source, options)
    model = model_options.load(opened, inputs.work, packed=False).model
    using = _lens(lens_file, options, extent.sites, model, inputs)
    n_rows = len(extent.positions) * (len(lens_sites(opened.spec, extent.sites)) - 1)
    with progress_bar(n_rows, msg("reading")) as bar:
        reading = lens(
            model,
            ids,
            inputs.target,
            using=using,
            sites=extent.sites,
            positions=extent.positions,
            top=options.top or (PAGE_TOP if is_page else 5),
            tokens=tokens,
            n_output=PAGE_OUTPUT if is_page else 1,
            progress=bar.update,
        )
    result = lens_predictions(opened, reading, len(tokens))
    if show.plot:
        from archcalc.render.charts.file import as_file
        from archcalc.render.charts.lens import rank_chart

        write(show.plot, as_file(show.plot, lambda: rank_chart(result), current()))
    if is_page:
        from archcalc.render.lens_page import as_html

        emit_text(as_html(result, current(), is_cut=extent.is_cut), show.output)
    else:
        emit_result(lambda: result, pages.view, None, show.form, output=show.output, color=not show.no_color)


def _extent(opened: ModelSource, options: LensOptions, n_tokens: int, *, is_page: bool) -> LensExtent:
    """Return what is read: by default the last position, or on a page as much as a plain pass costs."""
    from archcalc.interp.lens.extent import LensExtent, affordable_extent

    if is_page and options.positions is None:
        return affordable_extent(opened.spec, n_tokens, options.sites)
    return LensExtent(options.sites_or_default, _positions(options.positions or "last", n_tokens))


def _positions(text: str, n_tokens: int) -> list[int]:
    """Return positions from 0. Raises InputError for anything but 'last', 'all', and numbers and ranges of the text."""
    from archcalc.interp.lens.positions import read_positions

    named: dict[str, str | None] = {"last": None, "all": "all"}
    wanted = named[text] if text in named else number_ranges(text, "positions", msg("last, all, or such as 0,3-5"))
    return list(read_positions(wanted, n_tokens))


def _lens_file(source: str, options: LensOptions) -> str | None:
    """Return the file of the lens, None for one without a file. Raises InputError for a tuned lens without one."""
    from archcalc.interp.lens.lens_file import lens_beside

    if options.kind == "logit" and options.file is not None:
        raise InputError(msg("found with `kind` logit"), where="lens", allowed=msg("no value"))
    if options.file is not None or options.kind is None:
        return options.file
    return lens_beside(source, options.kind)


def _lens(file: str | None, options: LensOptions, sites: LensSites, model: Any, inputs: TextInput) -> Lens | None:
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
    targets = None if inputs.target is None else [inputs.target]
    with progress_bar(model.spec.d_model, msg("averaging")) as bar:
        return jacobian_lens(model, [inputs.ids], targets, sites=sites, progress=bar.update)
