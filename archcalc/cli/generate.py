"""`archcalc generate`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from archcalc.cli.language import current, lang
from archcalc.cli.options import FILE, SOURCE
from archcalc.cli.parallel import parallel
from archcalc.cli.running import Holding, harmless, holding, sampling, speed
from archcalc.render.output import write
from archcalc.run.decoding.prompts import prompt_ids
from archcalc.words import msg

if TYPE_CHECKING:
    from archcalc.run.decoding.generation import Generation
    from archcalc.run.decoding.sampling import Sampling
    from archcalc.run.devices import Ranks


@click.command("generate")
@click.argument("source", type=SOURCE)
@click.option("-p", "--prompt", "prompts", multiple=True, metavar="TEXT", help="To go on from; several are a batch.")
@click.option("--ids", "id_lists", multiple=True, metavar="1,2,3", help="The same as token ids; ids come out.")
@click.option("-n", "--max-tokens", type=click.IntRange(1), default=128, show_default=True, help="At most, of each.")
@click.option("--stop", "stops", multiple=True, metavar="TEXT", help="End before this text; any number of them.")
@click.option("--ignore-eos", is_flag=True, help="Go on after an end-of-text token.")
@click.option("--beams", type=click.IntRange(1), help="Search with so many for the likeliest text.")
@parallel
@sampling
@holding
@click.option("-q", "--quiet", is_flag=True, help="Nothing about speed on standard error.")
@click.option("-f", "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("-o", "--output", type=FILE, help="Write to this file instead, once all is there.")
@lang
def command(
    source: str,
    prompts: tuple[str, ...],
    id_lists: tuple[str, ...],
    max_tokens: int,
    stops: tuple[str, ...],
    ignore_eos: bool,
    beams: int | None,
    sampling: Sampling,
    holding: Holding,
    seed: int,
    quiet: bool,
    form: str,
    output: str | None,
    ranks: Ranks | None,
) -> None:
    """Go on from a prompt with a model's real weights; the text is printed as it comes.

    SOURCE is a folder in Hugging Face layout (config.json, safetensors, tokenizer.json), a .gguf file, or a repo id.
    With --random-weights it is any architecture, and a prompt's bytes are its tokens.

    \b
    Examples:
      archcalc generate ./SmolLM2-135M --prompt "The capital of France is"
      archcalc generate model.gguf --prompt "Once upon a time" --temperature 0.8 --top-p 0.9 --seed 1
      archcalc generate model.gguf --prompt "2, 3, 5," --prompt "a, b, c," --quantize int8
      archcalc generate tiny --random-weights --ids 1,2,3 --max-tokens 8
      torchrun --nproc-per-node 2 -m archcalc generate ./Llama --prompt "Once" --tp 2
    """
    from archcalc.run.decoding.generation import Generation, generation_workload

    found = holding.opened(source)
    ids = prompt_ids(found, prompts, id_lists)
    ready = holding.ready(found, generation_workload(found.spec, ids, max_tokens, beams or 1), ranks)
    made = Generation(
        ready,
        ids,
        max_tokens=max_tokens,
        sampling=sampling,
        seed=seed,
        stops=stops,
        ignore_eos=ignore_eos,
        as_ids=bool(id_lists),
        beams=beams,
    )
    heads = list(prompts) or [" ".join(map(str, row)) + " " for row in ids]
    _FORMS[form](made, heads, output)
    if not quiet:
        click.echo(current()(speed(made.timing, ready)), err=True)


def _as_text(made: Generation, heads: list[str], output: str | None) -> None:
    """One text as it comes; several, or into a file, when all are there, each after its prompt."""
    if len(heads) == 1 and output in (None, "-"):
        click.echo(heads[0], nl=False)
        for _, piece in made:
            click.echo(harmless(piece), nl=False)
            sys.stdout.flush()
        click.echo()
        return
    completed(made)
    texts = (head + harmless(each.text) for head, each in zip(heads, made.completions, strict=True))
    _put("\n\n".join(texts) + "\n", output)


def _as_json(made: Generation, heads: list[str], output: str | None) -> None:
    """Everything, when all is there."""
    import msgspec

    completed(made)
    prompts = made.loaded_model.source.tokenizer and heads
    completions = [msgspec.to_builtins(each) for each in made.completions]
    for each, head in zip(completions, prompts or (), strict=False):
        each["prompt"] = head
    data = {
        "model": made.loaded_model.source.label,
        "completions": completions,
        "timing": msgspec.to_builtins(made.timing),
    }
    _put(json.dumps(data, ensure_ascii=False, indent=2) + "\n", output)


def completed(made: Generation) -> None:
    """Let it run to its end, with a bar on a terminal."""
    label, hidden = current()(msg("generating")), not sys.stderr.isatty()
    with click.progressbar(length=made.max_tokens, label=label, file=sys.stderr, hidden=hidden) as bar:
        for _ in made:
            bar.update(made.timing.n_steps - bar.pos)
        bar.update(made.max_tokens - bar.pos)


def _put(text: str, output: str | None) -> None:
    if output in (None, "-"):
        click.echo(text, nl=False)
    else:
        write(output, text)


_FORMS: dict[str, Callable[[Generation, list[str], str | None], None]] = {"text": _as_text, "json": _as_json}
