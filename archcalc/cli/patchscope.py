"""`archcalc patchscope`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from archcalc.cli.language import current, emit_result
from archcalc.cli.model_options import ModelOptions, model_options
from archcalc.cli.options import FILE, SOURCE, output
from archcalc.cli.progress import progress_bar
from archcalc.errors import InputError
from archcalc.render.output import Format, emit_text, write
from archcalc.run.decoding.prompts import check_given, one_prompt
from archcalc.words import LANGS, msg

if TYPE_CHECKING:
    from archcalc.interp.patchscope.run import LayerPair
    from archcalc.run.loading.source import ModelSource
    from archcalc.spec import Spec

SCOPES = ("identity", "description", "few-shot")


@click.command("patchscope")
@click.argument("source", type=SOURCE)
@click.option("-p", "--prompt", metavar="TEXT", help="Source prompt, whose vectors are read.")
@click.option("--ids", metavar="1,2,3", help="Source prompt as token ids, instead of --prompt.")
@click.option("--words", metavar="WORDS", help="Words of the source prompt to read (default: its last token).")
@click.option(
    "--position", "source_positions", type=click.IntRange(0), multiple=True, help="Position to read; repeatable."
)
@click.option(
    "--scope", type=click.Choice(SCOPES), default="identity", show_default=True, help="Built-in target prompt."
)
@click.option(
    "--scope-lang", type=click.Choice(LANGS), default="en", show_default=True, help="Language of the target prompt."
)
@click.option("--into", metavar="TEXT", help="Target prompt of your own; its last x is the placeholder.")
@click.option("--placeholder", default="x", show_default=True, help="Placeholder in --into.")
@click.option("--into-ids", metavar="1,2,3", help="Target prompt as token ids, with --into-position.")
@click.option("--into-position", "positions", type=click.IntRange(0), multiple=True, help="Placeholder in --into-ids.")
@click.option(
    "--layer", "layers", type=click.IntRange(0), multiple=True, help="Source layer (default: all); repeatable."
)
@click.option(
    "--target-layer", "target_layers", type=click.IntRange(0), multiple=True, help="Target layer (default: as source)."
)
@click.option("--grid", is_flag=True, help="Every source layer with every target layer.")
@click.option("-n", "--max-tokens", type=click.IntRange(1), default=8, show_default=True, help="Tokens to generate.")
@click.option("--answer", metavar="TOKEN", help="Token whose probability as the first one is shown.")
@click.option("--answer-id", type=click.IntRange(0), help="The same as a token id.")
@click.option("--cache/--no-cache", default=True, help="Use a KV cache; the text is the same without.")
@click.option("--top", type=click.IntRange(1), help="Show this many texts, the likeliest first (default: all).")
@click.option("--plot", type=FILE, help="Heat map of the layers (.html, .png or .svg).")
@model_options
@output
def command(
    source: str,
    prompt: str | None,
    ids: str | None,
    words: str | None,
    source_positions: tuple[int, ...],
    scope: str,
    scope_lang: str,
    into: str | None,
    placeholder: str,
    into_ids: str | None,
    positions: tuple[int, ...],
    layers: tuple[int, ...],
    target_layers: tuple[int, ...],
    grid: bool,
    max_tokens: int,
    answer: str | None,
    answer_id: int | None,
    cache: bool,
    top: int | None,
    plot: str | None,
    model_options: ModelOptions,
    seed: int,
    form: Format,
    output: str | None,
    no_color: bool,
) -> None:
    """Show what a hidden vector means by letting the model put it into words (patchscope).

    The vector of a token at one layer of the source prompt replaces the vector of a placeholder at a layer of a target
    prompt; then the model continues that prompt. Target prompts ask to repeat the token (identity), to describe it
    (description), or to describe it after examples (few-shot). Several tokens fill several placeholders. The HTML
    output has the grid of source and target layers.

    \b
    Examples:
      archcalc patchscope tiny --prompt "And the king" --scope identity --layer 0 --layer 2
      archcalc patchscope tiny --prompt "And the king of Israel" --words "Israel" --into "the x of" --grid --top 5 -n 3
      archcalc patchscope tiny --random-weights --ids 1,2,3 --into-ids 4,5,6 --into-position 1 --layer 1
      archcalc patchscope model.gguf --prompt "Diana, Princess of Wales" --scope few-shot --layer 6 --target-layer 3
    """
    check_given(prompt, ids)
    opened = model_options.open(source)

    from archcalc.interp.named_tokens import token_or_id
    from archcalc.interp.patchscope.result import patchscope_result
    from archcalc.interp.patchscope.run import check, patchscope
    from archcalc.render.charts.grid import chart
    from archcalc.render.grid_page import as_html
    from archcalc.render.patchscope import PatchscopeOptions, subtitle, title, view
    from archcalc.render.patchscope import grid as layer_grid
    from archcalc.run.decoding.generation import generation_workload

    source_ids = one_prompt(opened, prompt, ids)
    read = _source_positions(opened, prompt, source_ids, words, source_positions)
    if into_ids is not None:
        into_row, written = one_prompt(opened, None, into_ids), list(positions)
    else:
        into_row, written = _target(opened, len(read), scope, scope_lang, into, placeholder)
    token, pairs = (
        token_or_id(opened, answer, answer_id, "answer"),
        _pairs(opened.spec, layers, target_layers, is_grid=grid),
    )
    check(opened.spec, source_ids, read, into_row, written, pairs, token)
    model = model_options.load(opened, generation_workload(opened.spec, [into_row], max_tokens), packed=False).model
    say = current()
    with progress_bar(len(pairs), msg("generating")) as bar:
        found = patchscope(
            model,
            source_ids,
            read,
            into_row,
            written,
            pairs,
            max_tokens=max_tokens,
            answer=token,
            start_id=opened.start_id,
            eos_ids=opened.eos_ids,
            use_cache=cache,
            progress=bar.update,
        )
    result, options = patchscope_result(opened, found), PatchscopeOptions(top=top)
    if plot:
        from archcalc.render.charts.file import as_file

        map_ = say.within(layer_grid(result))
        figure = next(iter(map_.values))
        write(plot, as_file(plot, lambda: chart(title(result), [subtitle(result)], [map_], figure), say))
    if form == "html":
        emit_text(as_html(view(result, options), [layer_grid(result)], say), output)
    else:
        emit_result(lambda: result, view, options, form, output=output, color=not no_color)


def _source_positions(
    opened: ModelSource, prompt: str | None, ids: list[int], words: str | None, positions: tuple[int, ...]
) -> list[int]:
    """Return the positions to read: of some words, as given, or the last."""
    from archcalc.text.spans import positions_of

    if words is None:
        return list(positions) or [len(ids) - 1]
    if positions or prompt is None or opened.tokenizer is None:
        raise InputError(msg("found with positions or ids"), where="words", allowed=msg("with `prompt` alone"))
    return positions_of(opened.tokenizer, prompt, words, "words")


def _target(
    opened: ModelSource, n_vectors: int, scope: str, lang: str, into: str | None, placeholder: str
) -> tuple[list[int], list[int]]:
    """Return the ids of the target prompt and the positions of its placeholders."""
    from archcalc.interp.patchscope.prompts import PLACEHOLDER, PROMPTS, target_prompt

    if opened.tokenizer is None:
        raise InputError(msg("there is no tokenizer"), where="into", allowed=msg("`into_ids`"))
    if into is not None:
        return target_prompt(opened.tokenizer, into, n_vectors, placeholder)
    try:
        return target_prompt(opened.tokenizer, PROMPTS[scope][lang], n_vectors, PLACEHOLDER)  # type: ignore[index]
    except InputError as error:
        # A small vocabulary may lack the words of a prompt that comes with archcalc.
        raise error.at("scope").with_advice(msg("State another prompt by `into` or `into_ids`")) from None


def _pairs(spec: Spec, layers: tuple[int, ...], targets: tuple[int, ...], *, is_grid: bool) -> list[LayerPair]:
    """Return the pairs of layers: each source layer with the same target layer, the given ones, or with all."""
    every = range((spec.stacks[0].stack.n_layers or 0) + 1)
    sources = layers or tuple(every)
    if is_grid or targets:
        return [(layer, target) for layer in sources for target in (targets or every)]
    return [(layer, layer) for layer in sources]
