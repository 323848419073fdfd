"""`archcalc trace`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from archcalc import presets
from archcalc.cli.options import SOURCE, lang, output
from archcalc.cli.running import Holding, holding, prompt_ids
from archcalc.errors import InputError
from archcalc.render.lang import words
from archcalc.render.output import Format, emit, emit_text

if TYPE_CHECKING:
    from archcalc.interp.trace.published import Example
    from archcalc.interp.trace.run import Trace
    from archcalc.run.opened import Opened


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
    if prompt is None and ids is None and not holding.random_weights:
        example = _example(source)
        prompt = example.prompt if example else None
    (read,) = prompt_ids(found, [prompt] if prompt is not None else [], [ids] if ids is not None else [])

    from archcalc.interp.trace import published
    from archcalc.render import trace as pages
    from archcalc.render.trace_page import as_html

    made = _traced(found, read, position, holding)
    is_full, say = pages.is_small(made) if full is None else full, words(lang)
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


def _traced(found: Opened, read: list[int], position: int | None, holding: Holding) -> Trace:
    """The trace; an encoder-decoder has read its source, and begun its target."""
    from archcalc.interp.trace.run import trace
    from archcalc.spec.workload import Workload

    crosses = found.spec.family == "encoder-decoder"
    if crosses and found.start_id is None:
        raise InputError("not known", where="decoder_start_token_id", allowed="a token id that the decoder begins with")
    wrong = [token for token in read if not 0 <= token < found.spec.vocab_size]
    if wrong or not 0 < len(read) <= found.spec.n_ctx:
        problem = f"found id {wrong[0]}" if wrong else f"has {len(read):,} tokens"
        allowed = f"ids from 0 to {found.spec.vocab_size - 1:,}, 1 to {found.spec.n_ctx:,} of them"
        raise InputError(problem, where="prompt", allowed=allowed)
    work = Workload(batch=1, seq=1, source_seq=len(read)) if crosses else Workload(batch=1, seq=len(read))
    ready = holding.ready(found, work, packed=False)
    target = [found.start_id] if crosses and found.start_id is not None else None
    return trace(ready.model, read, target, position=position)


def _example(source: str) -> Example | None:
    """The worked example that comes with a preset's weights, if one does."""
    from archcalc.interp.trace.published import example_in

    folder = presets.weights_path(source)
    return example_in(folder) if folder else None
