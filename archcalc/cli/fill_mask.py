"""`archcalc fill-mask`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from archcalc.cli.language import current, lang
from archcalc.cli.options import FILE, SOURCE
from archcalc.cli.running import Holding, harmless, holding
from archcalc.errors import InputError
from archcalc.render.output import write
from archcalc.run.decoding.prompts import prompt_ids
from archcalc.words import msg

if TYPE_CHECKING:
    from archcalc.run.decoding.fill_mask import MaskPrediction
    from archcalc.run.loading.source import ModelSource


@click.command("fill-mask")
@click.argument("source", type=SOURCE)
@click.option("-p", "--prompt", metavar="TEXT", help="A text with the tokenizer's mask in it, such as [MASK].")
@click.option("--ids", metavar="1,2,3", help="The same as token ids.")
@click.option("--mask-id", type=click.IntRange(0), help="The token that stands for a mask (default: the tokenizer's).")
@click.option("--top", type=click.IntRange(1), default=5, show_default=True, help="How many tokens for each mask.")
@holding
@click.option("-f", "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("-o", "--output", type=FILE, help="Write to this file instead.")
@lang
def command(
    source: str,
    prompt: str | None,
    ids: str | None,
    mask_id: int | None,
    top: int,
    holding: Holding,
    seed: int,
    form: str,
    output: str | None,
) -> None:
    """The likeliest tokens in the place of each mask, by an encoder's real weights.

    SOURCE is a folder in Hugging Face layout (config.json, safetensors, tokenizer.json) or a repo id. With
    --random-weights it is any encoder's architecture.

    \b
    Examples:
      archcalc fill-mask ./bert-base-uncased --prompt "The capital of France is [MASK]."
      archcalc fill-mask bert-base-uncased --random-weights --ids 101,103,102 --mask-id 103 --top 3
    """
    found = holding.opened(source)
    (row,) = prompt_ids(found, [] if prompt is None else [prompt], [] if ids is None else [ids])
    mask = _mask(found, mask_id)

    from archcalc.run.decoding.fill_mask import check, fill_mask
    from archcalc.spec.workload import Workload

    check(found.spec, row, mask, top)
    model = holding.ready(found, Workload(batch=1, seq=len(row))).model
    filled = fill_mask(model, row, mask, top)
    places = [place for place, token in enumerate(row) if token == mask]
    text = _FORMS[form](found, places, filled)
    if output in (None, "-"):
        click.echo(text)
    else:
        write(output, text + "\n")


def _mask(found: ModelSource, mask_id: int | None) -> int:
    """The mask's id, as asked for or as the tokenizer knows it."""
    known = found.tokenizer.mask_id if found.tokenizer and mask_id is None else mask_id
    if known is None:
        raise InputError(msg("no tokenizer says which token is the mask"), where="mask_id", allowed=msg("a token id"))
    return known


def _shown(found: ModelSource, token: int) -> str:
    return found.tokenizer.decode([token], special=True) if found.tokenizer else ""


def _as_text(found: ModelSource, places: list[int], filled: list[list[MaskPrediction]]) -> str:
    """A block for each mask, a line for each token: its probability, its id, its text."""
    blocks = []
    for place, best in zip(places, filled, strict=True):
        lines = [f"  {p:.4f}  {token:>8}  {harmless(_shown(found, token))}".rstrip() for token, p in best]
        blocks.append("\n".join([current()(msg("mask at token {place}", place=place)), *lines]))
    return "\n\n".join(blocks)


def _as_json(found: ModelSource, places: list[int], filled: list[list[MaskPrediction]]) -> str:
    masks = [
        {"place": place, "best": [{"id": token, "text": _shown(found, token), "probability": p} for token, p in best]}
        for place, best in zip(places, filled, strict=True)
    ]
    return json.dumps({"model": found.label, "masks": masks}, ensure_ascii=False, indent=2)


_FORMS = {"text": _as_text, "json": _as_json}
