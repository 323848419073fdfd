"""`archcalc next`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from archcalc.cli.language import current, emit_result
from archcalc.cli.model_options import ModelOptions, distribution_options, model_options
from archcalc.cli.options import FILE, SOURCE, output
from archcalc.errors import InputError
from archcalc.render.output import Format, write
from archcalc.run.decoding.prompts import check_given, prompt_ids
from archcalc.words import msg

if TYPE_CHECKING:
    from archcalc.run.decoding.sampling_options import Sampling


@click.command("next")
@click.argument("source", type=SOURCE)
@click.option("-p", "--prompt", "prompts", multiple=True, metavar="TEXT", help="Context; give two to compare them.")
@click.option("--ids", "id_lists", multiple=True, metavar="1,2,3", help="Context as token ids.")
@click.option("--top", type=click.IntRange(1), default=10, show_default=True, help="Tokens to list per context.")
@click.option("--plot", type=FILE, help="Bar chart of the probabilities (.html, .png or .svg).")
@distribution_options
@model_options
@output
def command(
    source: str,
    prompts: tuple[str, ...],
    id_lists: tuple[str, ...],
    top: int,
    plot: str | None,
    sampling: Sampling,
    model_options: ModelOptions,
    seed: int,
    form: Format,
    output: str | None,
    no_color: bool,
) -> None:
    """Show the probabilities of the next token, after one context or two.

    SOURCE is as for `archcalc generate`. --temperature, --top-k, --top-p and --min-p show the sampling distribution and
    how much probability it keeps. Entropies are in nats and bits. Two contexts are compared by total variation and KL
    divergence.

    \b
    Examples:
      archcalc next ./SmolLM2-135M --prompt "The capital of France is"
      archcalc next model.gguf --prompt "a river bank" --prompt "an investment bank" --top 5
      archcalc next model.gguf --prompt "Once upon a" --temperature 0.7 --top-p 0.9
      archcalc next tiny --random-weights --ids 1,2,3
    """
    check_given(prompts, id_lists)
    model_source = model_options.open(source)
    contexts = prompt_ids(model_source, prompts, id_lists)

    from archcalc.interp.next_token import MAX_CONTEXTS, DisplayNames, next_tokens
    from archcalc.render.next_token import view
    from archcalc.run.decoding.generation import generation_workload

    if len(contexts) > MAX_CONTEXTS:
        where = "prompt" if prompts else "ids"
        raise InputError(
            msg("found {found}", found=len(contexts)),
            where=where,
            allowed=msg("1 or {n}", n=MAX_CONTEXTS),
        )
    ready = model_options.load(model_source, generation_workload(model_source.spec, contexts, 1))
    labels = DisplayNames(model_source.spec.name, model_source.label, prompts or id_lists, model_source.piece)
    result = next_tokens(
        ready.model, contexts, top=top, sampling=sampling, start_id=model_source.start_id, labels=labels
    )
    if plot:
        from archcalc.render.charts.file import as_file
        from archcalc.render.charts.next_token import chart

        write(plot, as_file(plot, lambda: chart(result), current()))
    emit_result(lambda: result, view, None, form, output=output, color=not no_color)
