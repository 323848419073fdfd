"""`archcalc trace`."""

from __future__ import annotations

from typing import Any

import click

from archcalc.cli.options import SOURCE, lang, output
from archcalc.cli.running import Holding, holding
from archcalc.render.output import Format, emit, emit_text
from archcalc.run.decoding.prompts import prompt_ids
from archcalc.words import translator


@click.command("trace")
@click.argument("source", type=SOURCE)
@click.option("-p", "--prompt", "prompt", metavar="TEXT", help="What is read (an encoder-decoder: its source).")
@click.option("--ids", metavar="1,2,3", help="The same as token ids.")
@click.option("--position", type=click.IntRange(0), help="The place to look at (default: the last).")
@click.option("--full/--summary", default=None, help="All numbers, or norms and the largest (default: by the size).")
@holding
@lang
@output
def command(
    source: str,
    prompt: str | None,
    ids: str | None,
    position: int | None,
    full: bool | None,
    holding: Holding,
    seed: int,
    lang: str,
    form: Format,
    output: str | None,
    no_color: bool,
) -> None:
    """Watch a forward pass: every step from tokens to the choice, its formula, and its numbers.

    SOURCE is what `archcalc generate` goes on with. The numbers are those of the model's own forward pass. As HTML it
    is one page to step through.

    \b
    Examples:
      archcalc trace happy
      archcalc trace happy --output happy.html
      archcalc trace tiny --prompt "In the beginning" --position 1
      archcalc trace ./SmolLM2-135M --prompt "The capital of France is" --format json
    """
    found, example = holding.opened(source), None

    from archcalc.interp.trace import published

    if prompt is None and ids is None and not holding.random_weights:
        example = published.example_of(source)
        prompt = example.prompt if example else None
    (read,) = prompt_ids(found, [prompt] if prompt is not None else [], [ids] if ids is not None else [])

    from archcalc.interp.trace.asked import asked
    from archcalc.interp.trace.run import trace
    from archcalc.render import trace as pages
    from archcalc.render.trace_page import as_html

    told = asked(found, read)
    model = holding.ready(found, told.work, packed=False).model
    made = trace(model, told.ids, told.target, position=position)
    is_full, say = pages.is_small(made) if full is None else full, translator(lang)
    held = published.held(example, made) if example else []

    def data() -> dict[str, Any]:
        return pages.data(found.label, made, found.piece, full=is_full, held=held, lang=lang)

    if form == "html":
        emit_text(as_html(data(), say), output)
        return
    emit(
        lambda: pages.page(found.label, made, found.piece, full=is_full, held=held, say=say),
        data,
        form,
        output=output,
        color=not no_color,
    )
