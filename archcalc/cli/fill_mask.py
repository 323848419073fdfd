"""`archcalc fill-mask`."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import click

from archcalc.cli.language import current, lang
from archcalc.cli.model_options import ModelOptions, escape_controls, model_options
from archcalc.cli.options import FILE, SOURCE
from archcalc.errors import InputError
from archcalc.render.output import as_json, emit_text
from archcalc.results import plain
from archcalc.run.decoding.prompts import check_given, one_prompt
from archcalc.words import msg

if TYPE_CHECKING:
    from archcalc.run.decoding.mask_prediction import MaskPredictions
    from archcalc.run.loading.source import ModelSource


@click.command("fill-mask")
@click.argument("source", type=SOURCE)
@click.option("-p", "--prompt", metavar="TEXT", help="Text with the mask token of the tokenizer, such as [MASK].")
@click.option("--ids", metavar="1,2,3", help="Input as token ids, instead of --prompt.")
@click.option("--mask-id", type=click.IntRange(0), help="Id of the mask token (default: the tokenizer's).")
@click.option("--top", type=click.IntRange(1), default=5, show_default=True, help="Tokens to list for each mask.")
@model_options
@click.option("-f", "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("-o", "--output", type=FILE, help="Write to this file instead of standard output.")
@lang
def command(
    source: str,
    prompt: str | None,
    ids: str | None,
    mask_id: int | None,
    top: int,
    model_options: ModelOptions,
    seed: int,
    form: str,
    output: str | None,
) -> None:
    """Predict the likeliest tokens for each mask, with the weights of an encoder.

    SOURCE is a folder in Hugging Face layout (config.json, safetensors, tokenizer.json) or a repo id. With
    --random-weights it is any encoder architecture.

    \b
    Examples:
      archcalc fill-mask ./bert-base-uncased --prompt "The capital of France is [MASK]."
      archcalc fill-mask bert-base-uncased --random-weights --ids 101,103,102 --mask-id 103 --top 3
    """
    check_given(prompt, ids)
    model_source = model_options.open(source)
    row = one_prompt(model_source, prompt, ids)
    mask = _mask_id(model_source, mask_id)

    from archcalc.run.decoding.fill_mask import check, mask_predictions
    from archcalc.spec.workload import Workload

    check(model_source.spec, row, mask, top)
    model = model_options.load(model_source, Workload(batch=1, seq=len(row))).model
    emit_text(_FORMS[form](mask_predictions(model_source, model, row, mask, top)), output)


def _mask_id(model_source: ModelSource, mask_id: int | None) -> int:
    """Return the given id of the mask token, or the tokenizer's. Raises InputError without either."""
    mask = model_source.tokenizer.mask_id if model_source.tokenizer and mask_id is None else mask_id
    if mask is None:
        raise InputError(msg("no tokenizer says which token is the mask"), where="mask_id", allowed=msg("a token id"))
    return mask


def _as_text(result: MaskPredictions) -> str:
    """Return a block for each mask with a line for each token: its probability, id and text."""
    blocks = []
    for position, rows in groupby(result.predictions, key=lambda row: row.position):
        lines = [f"  {row.probability:.4f}  {row.id:>8}  {escape_controls(row.text or '')}".rstrip() for row in rows]
        blocks.append("\n".join([current()(msg("mask at token {place}", place=position)), *lines]))
    return "\n\n".join(blocks) + "\n"


def _as_json(result: MaskPredictions) -> str:
    return as_json(plain(result))


_FORMS = {"text": _as_text, "json": _as_json}
