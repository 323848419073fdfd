"""`archcalc next`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from archcalc.cli.language import current, emit
from archcalc.cli.options import FILE, SOURCE, output
from archcalc.cli.running import Holding, drawing, holding
from archcalc.errors import InputError
from archcalc.render.output import Format, write
from archcalc.run.decoding.prompts import prompt_ids
from archcalc.words import msg

if TYPE_CHECKING:
    from archcalc.run.decoding.sampling import Sampling


@click.command("next")
@click.argument("source", type=SOURCE)
@click.option("-p", "--prompt", "prompts", multiple=True, metavar="TEXT", help="A context; two stand side by side.")
@click.option("--ids", "id_lists", multiple=True, metavar="1,2,3", help="The same as token ids.")
@click.option("--top", type=click.IntRange(1), default=10, show_default=True, help="How many tokens of each context.")
@click.option("--plot", type=FILE, help="The probabilities as bars, as .html, .png or .svg.")
@drawing
@holding
@output
def command(
    source: str,
    prompts: tuple[str, ...],
    id_lists: tuple[str, ...],
    top: int,
    plot: str | None,
    sampling: Sampling,
    holding: Holding,
    seed: int,
    form: Format,
    output: str | None,
    no_color: bool,
) -> None:
    """Which token comes next, and how likely each is: after one context, or after two side by side.

    SOURCE is what `archcalc generate` goes on with. --temperature and the cuts show what would be drawn by, and what
    they keep. Entropies are in nats and bits; two contexts are compared by total variation and by KL divergence.

    \b
    Examples:
      archcalc next ./SmolLM2-135M --prompt "The capital of France is"
      archcalc next model.gguf --prompt "a river bank" --prompt "an investment bank" --top 5
      archcalc next model.gguf --prompt "Once upon a" --temperature 0.7 --top-p 0.9
      archcalc next tiny --random-weights --ids 1,2,3
    """
    found = holding.opened(source)
    contexts = prompt_ids(found, prompts, id_lists)

    from archcalc.interp.next_token import MOST, next_tokens
    from archcalc.render import next_token as pages
    from archcalc.run.decoding.generation import generation_workload

    if len(contexts) > MOST:
        where = "prompt" if prompts else "ids"
        raise InputError(
            msg("found {n_contexts}", n_contexts=len(contexts)),
            where=where,
            allowed=msg("1 or {MOST}, to be set side by side", MOST=MOST),
        )
    ready = holding.ready(found, generation_workload(found.spec, contexts, 1))
    made = next_tokens(ready.model, contexts, top=top, sampling=sampling, start_id=found.start_id)
    asked, say = list(prompts or id_lists), current()
    if plot:
        from archcalc.render.charts.file import as_file
        from archcalc.render.charts.next_token import chart

        write(plot, as_file(plot, lambda: chart(found.label, made, asked, found.piece, say)))
    emit(
        lambda: pages.page(found.label, made, asked, found.piece, say),
        lambda: pages.data(found.label, made, asked, found.piece),
        form,
        output=output,
        color=not no_color,
    )
