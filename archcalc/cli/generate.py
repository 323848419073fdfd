"""`archcalc generate`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from archcalc.cli.language import current, lang
from archcalc.cli.model_options import ModelOptions, escape_controls, model_options, sampling, speed_message
from archcalc.cli.options import FILE, SOURCE
from archcalc.cli.parallel import parallel
from archcalc.cli.progress import progress_bar
from archcalc.render.output import as_json, emit_text
from archcalc.results import plain
from archcalc.run.decoding.prompts import check_given, prompt_ids
from archcalc.words import msg

if TYPE_CHECKING:
    from archcalc.run.decoding.generation import Generation
    from archcalc.run.decoding.sampling_options import Sampling
    from archcalc.run.devices import Ranks


@click.command("generate")
@click.argument("source", type=SOURCE)
@click.option("-p", "--prompt", "prompts", multiple=True, metavar="TEXT", help="Prompt; repeat for a batch.")
@click.option("--ids", "id_lists", multiple=True, metavar="1,2,3", help="Prompt as token ids; the output is ids too.")
@click.option(
    "-n", "--max-tokens", type=click.IntRange(1), default=128, show_default=True, help="Maximum new tokens per prompt."
)
@click.option("--stop", "stops", multiple=True, metavar="TEXT", help="Stop before this text; repeatable.")
@click.option("--ignore-eos", is_flag=True, help="Continue after an end-of-text token.")
@click.option("--beams", type=click.IntRange(1), help="Beam search with this many beams.")
@parallel
@sampling
@model_options
@click.option("-q", "--quiet", is_flag=True, help="Do not print speed on standard error.")
@click.option("-f", "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("-o", "--output", type=FILE, help="Write to this file when generation is complete.")
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
    model_options: ModelOptions,
    seed: int,
    quiet: bool,
    form: str,
    output: str | None,
    ranks: Ranks | None,
) -> None:
    """Generate text from a prompt; it is printed as it is generated.

    SOURCE is a folder in Hugging Face layout (config.json, safetensors, tokenizer.json), a .gguf file, a repo id, or a
    preset with weights. With --random-weights it is any architecture, and the bytes of the prompt are its tokens.

    \b
    Examples:
      archcalc generate ./SmolLM2-135M --prompt "The capital of France is"
      archcalc generate model.gguf --prompt "Once upon a time" --temperature 0.8 --top-p 0.9 --seed 1
      archcalc generate model.gguf --prompt "2, 3, 5," --prompt "a, b, c," --quantize int8
      archcalc generate tiny --random-weights --ids 1,2,3 --max-tokens 8
      torchrun --nproc-per-node 2 -m archcalc generate ./Llama --prompt "Once" --tp 2
    """
    check_given(prompts, id_lists)
    model_source = model_options.open(source)
    from archcalc.run.decoding.generation import Generation, generation_workload

    ids = prompt_ids(model_source, prompts, id_lists)
    ready = model_options.load(model_source, generation_workload(model_source.spec, ids, max_tokens, beams or 1), ranks)
    generation = Generation(
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
    _FORMS[form](generation, heads, output)
    if not quiet:
        click.echo(current()(speed_message(generation.timing, ready)), err=True)


def _as_text(generation: Generation, heads: list[str], output: str | None) -> None:
    """Stream one text; print several, or write a file, when all are complete, each after its prompt."""
    if len(heads) == 1 and output in (None, "-"):
        click.echo(heads[0], nl=False)
        for _, piece in generation:
            click.echo(escape_controls(piece), nl=False)
            sys.stdout.flush()
        click.echo()
        return
    _run_to_end(generation)
    texts = (head + escape_controls(each.text) for head, each in zip(heads, generation.completions, strict=True))
    emit_text("\n\n".join(texts) + "\n", output)


def _as_json(generation: Generation, heads: list[str], output: str | None) -> None:
    """Print or write all completions and timings as JSON."""
    _run_to_end(generation)
    prompts = heads if generation.loaded_model.source.tokenizer else []
    emit_text(as_json(plain(generation.result(prompts))), output)


def _run_to_end(generation: Generation) -> None:
    """Run the generation to its end, with a progress bar on a terminal."""
    with progress_bar(generation.max_tokens, msg("generating")) as bar:
        for _ in generation:
            bar.update(generation.timing.n_steps - bar.pos)
        bar.update(generation.max_tokens - bar.pos)


_FORMS: dict[str, Callable[[Generation, list[str], str | None], None]] = {"text": _as_text, "json": _as_json}
