"""`archcalc patch`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from archcalc.cli.language import current, emit_result
from archcalc.cli.model_options import ModelOptions, model_options, target_option
from archcalc.cli.options import FILE, SOURCE, output
from archcalc.cli.progress import progress_bar
from archcalc.errors import InputError, shown
from archcalc.interp.patch.targets import COMPONENTS
from archcalc.render.output import Format, emit_text, write
from archcalc.run.decoding.prompts import DecoderText, check_given, decoder_ids, one_prompt
from archcalc.words import msg

if TYPE_CHECKING:
    from archcalc.interp.patch.corruption import Noise
    from archcalc.run.loading.source import ModelSource

METHODS = ("both", "exact", "attribution")


@click.command("patch")
@click.argument("source", type=SOURCE)
@click.option("-p", "--prompt", metavar="TEXT", help="Clean prompt (of an encoder-decoder, the source).")
@click.option("--ids", metavar="1,2,3", help="Clean prompt as token ids, instead of --prompt.")
@click.option("--corrupted", metavar="TEXT", help="Corrupted prompt with as many tokens.")
@click.option("--corrupted-ids", metavar="1,2,3", help="Corrupted prompt as token ids.")
@click.option("--noise", metavar="WORDS", help="Corrupt these words of the prompt by noise (with --ids: positions).")
@click.option("--noise-scale", type=float, default=3.0, show_default=True, help="Noise in standard deviations.")
@click.option("--noise-samples", type=int, default=10, show_default=True, help="Samples of noise to average over.")
@target_option
@click.option("--answer", metavar="TOKEN", help="Answer (default: likeliest after clean).")
@click.option("--answer-id", type=click.IntRange(0), help="Answer as a token id.")
@click.option("--wrong", metavar="TOKEN", help="Wrong token: measure the difference of the two logits.")
@click.option("--wrong-id", type=click.IntRange(0), help="Wrong token as a token id.")
@click.option(
    "--position", type=click.IntRange(0), help="Position whose prediction is measured (default: the mask, or the last)."
)
@click.option(
    "--component",
    "components",
    type=click.Choice(COMPONENTS),
    multiple=True,
    default=COMPONENTS[:3],
    show_default=True,
    help="What to restore; repeatable.",
)
@click.option("--neuron", "neurons", metavar="LAYER:INDEX", multiple=True, help="Hidden unit to restore; repeatable.")
@click.option(
    "--window",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Layers of attention or FFN outputs to restore together.",
)
@click.option(
    "--method",
    type=click.Choice(METHODS),
    default="both",
    show_default=True,
    help="Exact effects, the gradient's estimates (attribution), or both with the error of the estimates.",
)
@click.option("--top", type=click.IntRange(1), default=10, show_default=True, help="Number of largest effects to list.")
@click.option("--plot", type=FILE, help="Heat maps of the effects (.html, .png or .svg).")
@model_options
@output
def command(
    source: str,
    prompt: str | None,
    ids: str | None,
    corrupted: str | None,
    corrupted_ids: str | None,
    noise: str | None,
    noise_scale: float,
    noise_samples: int,
    target: DecoderText | None,
    answer: str | None,
    answer_id: int | None,
    wrong: str | None,
    wrong_id: int | None,
    position: int | None,
    components: tuple[str, ...],
    neurons: tuple[str, ...],
    window: int,
    method: str,
    top: int,
    plot: str | None,
    model_options: ModelOptions,
    seed: int,
    form: Format,
    output: str | None,
    no_color: bool,
) -> None:
    """Show where a model's answer comes from, by activation patching (causal tracing).

    A clean and a corrupted prompt are run. Then a value of the clean pass is restored in the corrupted one: the
    residual stream, an output of attention or of a feed-forward, a head, or a neuron, at one layer and position. The
    effect is how much of the answer comes back: 0 is the corrupted pass, 1 the clean one. Attribution patching
    estimates all effects from one backward pass; its error is shown. The HTML output has interactive heat maps.

    \b
    Examples:
      archcalc patch tiny --prompt "And the king" --corrupted "And the LORD"
      archcalc patch tiny --prompt "And the king" --noise king --component residual -o patch.html
      archcalc patch tiny --random-weights --ids 1,2,3 --corrupted-ids 1,5,3 --component head --neuron 0:7
      archcalc patch model.gguf --prompt "Paris is in" --corrupted "Rome is in" --answer France --wrong Italy
    """
    check_given(prompt, ids)
    _check_corruption(corrupted, corrupted_ids, noise)
    opened = model_options.open(source)

    from archcalc.interp.named_tokens import token_or_id
    from archcalc.interp.patch.result import activation_patching
    from archcalc.interp.patch.run import check_texts, n_cells, patch
    from archcalc.render.charts.grid import chart
    from archcalc.render.grid_page import as_html
    from archcalc.render.patch import PatchOptions, grids, subtitle, title, view
    from archcalc.spec.workload import Workload

    clean = one_prompt(opened, prompt, ids)
    corruption = _corruption(opened, clean, prompt, (corrupted, corrupted_ids), noise, noise_scale, noise_samples, seed)
    if target is not None and opened.spec.family != "encoder-decoder":
        raise InputError(msg("found for a model with one stack"), where="target", allowed=msg("no value"))
    target_ids = decoder_ids(opened, target)
    texts, _ = check_texts(opened.spec, clean, corruption, target_ids)
    answers = token_or_id(opened, answer, answer_id, "answer"), token_or_id(opened, wrong, wrong_id, "wrong")
    position = _mask_position(opened, clean) if position is None else position
    units = [_neuron(text) for text in neurons]
    is_exact, n_samples = method != "attribution", getattr(corruption, "n_samples", 1)
    n = n_samples * n_cells(opened.spec, [len(text) for text in texts], components, units) if is_exact else 0
    pair = {"source_seq": len(clean)} if target_ids is not None else {}
    model = model_options.load(opened, Workload(batch=1, seq=len(texts[-1]), **pair), packed=False).model
    say = current()
    with progress_bar(n, msg("patching")) as bar:
        patching = patch(
            model,
            clean,
            corruption,
            target=target_ids,
            answer=answers[0],
            wrong=answers[1],
            position=position,
            components=components,
            neurons=units,
            window=window,
            method=method,  # type: ignore[arg-type]
            progress=bar.update,
        )
    result = activation_patching(opened, patching, window=window)
    if plot:
        from archcalc.render.charts.file import as_file

        maps, figure = say.within(grids(result)), "effect" if is_exact else "estimate"
        drawn = [grid for grid in maps if figure in grid.values]
        write(plot, as_file(plot, lambda: chart(title(result), [subtitle(result)], drawn, figure), say))
    if form == "html":
        emit_text(as_html(view(result, PatchOptions(top=top, has_maps=False)), grids(result), say), output)
    else:
        emit_result(lambda: result, view, PatchOptions(top=top), form, output=output, color=not no_color)


def _check_corruption(*options: str | None) -> None:
    """Raise InputError unless one of the options is given."""
    n_given = sum(value is not None for value in options)
    if n_given != 1:
        raise InputError(
            msg("{n} are given", n=n_given), where="corrupted, corrupted_ids, noise", allowed=msg("one of them")
        )


def _corruption(
    opened: ModelSource,
    clean: list[int],
    prompt: str | None,
    corrupted: tuple[str | None, str | None],
    noise: str | None,
    scale: float,
    n_samples: int,
    seed: int,
) -> list[int] | Noise:
    """Return the ids of the corrupted prompt, or the noise."""
    from archcalc.interp.patch.corruption import Noise
    from archcalc.text.spans import positions_of

    if noise is None:
        return one_prompt(opened, *corrupted)
    if prompt is None:
        positions = one_prompt(opened, None, noise)
    else:
        assert opened.tokenizer is not None, "a prompt has been read"
        positions = positions_of(opened.tokenizer, prompt, noise, "noise")
    found = Noise(tuple(positions), scale, n_samples, seed)
    found.check(len(clean))
    return found


def _mask_position(opened: ModelSource, ids: list[int]) -> int | None:
    """Return the position of an encoder's first masked token, None if there is none."""
    mask = opened.tokenizer.mask_id if opened.tokenizer and opened.spec.family == "encoder" else None
    return ids.index(mask) if mask in ids else None


def _neuron(text: str) -> tuple[int, int]:
    layer, _, index = text.partition(":")
    if not (layer.isdecimal() and index.isdecimal()):
        raise InputError(
            msg("found {found}", found=shown(text)), where="neurons", allowed=msg("a layer and an index, such as 3:17")
        )
    return int(layer), int(index)
