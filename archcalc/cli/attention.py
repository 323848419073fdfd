"""`archcalc attention`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from archcalc.cli.language import current, emit_result
from archcalc.cli.model_options import ModelOptions, model_options, target_option, text_options
from archcalc.cli.options import FILE, SOURCE, output
from archcalc.cli.progress import progress_bar
from archcalc.errors import InputError, shown
from archcalc.render.output import Format, emit_text, write
from archcalc.run.decoding.prompts import DecoderText, check_given, one_prompt
from archcalc.words import msg

if TYPE_CHECKING:
    from archcalc.run.loading.source import ModelSource
    from archcalc.spec import Spec

_HEAD = re.compile(r"(?:(\d{1,5})|([a-z0-9_.]+))\.(\d{1,5})")
_PAIR = re.compile(r"(\d{1,7}),(\d{1,7})")


@click.command("attention")
@click.argument("source", type=SOURCE)
@text_options
@target_option
@click.option("--head", metavar="LAYER.HEAD", help="Show this head in full, such as 3.0 or layers.3.attn.0.")
@click.option("--pair", metavar="QUERY,KEY", help="With --head: the score of two positions by dimension.")
@click.option("--plot", type=FILE, help="Chart of all heads, or with --head of one (.html, .png or .svg).")
@click.option("--kinds/--no-kinds", default=True, show_default=True, help="Measure kinds on repeated random tokens.")
@model_options
@output
def command(
    source: str,
    prompt: str | None,
    ids: str | None,
    target: DecoderText | None,
    head: str | None,
    pair: str | None,
    kinds: bool,
    plot: str | None,
    model_options: ModelOptions,
    seed: int,
    form: Format,
    output: str | None,
    no_color: bool,
) -> None:
    """Show all attention heads: patterns, entropy, distance, and kinds such as induction.

    The HTML output shows every head of every layer as a small heat map; click one to enlarge it. Masked cells are
    gray, and heads that share a key-value head have one color. Kinds are measured on random tokens that are repeated
    once: the mean weight on the previous token, the first token, the earlier copy (duplicate token) and the token
    after it (induction). SOURCE is as for `archcalc trace`.

    \b
    Examples:
      archcalc attention tiny --prompt "In the beginning God created"
      archcalc attention tiny --prompt "In the beginning God created" --output heads.html
      archcalc attention tiny --prompt "In the beginning" --head 3.5 --pair 2,1 --plot head.svg
      archcalc attention bert-base --random-weights --set n_layers=2 --ids 5,6,7 --no-kinds
      archcalc attention tiny-seq2seq --random-weights --ids 1,2,3 --format csv
    """
    check_given(prompt, ids)
    opened = model_options.open(source)
    row = one_prompt(opened, prompt, ids)

    from archcalc.interp.heads.attention_result import attentions
    from archcalc.interp.heads.patterns import attention
    from archcalc.interp.text_input import text_input
    from archcalc.render.attention import view

    chosen, positions = _head(opened, head), _pair(head, pair)
    inputs = text_input(opened, row, target)
    model = model_options.load(opened, inputs.work, packed=False).model
    with progress_bar(2, msg("reading")) as bar:
        reading = attention(model, row, inputs.target, with_kinds=kinds, seed=seed, progress=bar.update)
    try:
        result = attentions(opened, reading, inputs.texts, chosen, positions)
    except InputError as error:
        raise (error.at("pair") if error.where in ("query", "key") else error) from None
    if plot:
        from archcalc.render.charts.attention import chart
        from archcalc.render.charts.file import as_file

        write(plot, as_file(plot, lambda: chart(result, current()), current()))
    if form == "html":
        from archcalc.render.attention_page import as_html

        emit_text(as_html(result, reading, current()), output)
    else:
        emit_result(lambda: result, view, None, form, output=output, color=not no_color)


def _head(opened: ModelSource, text: str | None) -> tuple[str, int] | None:
    """Return the path of an attention and a head of it. Raises InputError for anything else."""
    if text is None:
        return None
    match = _HEAD.fullmatch(text)
    if match is None:
        raise InputError(
            msg("found {found}", found=shown(text)), where="head", allowed=msg("such as 3.0 or layers.3.attn.0")
        )
    layer, path, head = match.groups()
    return path or _self_attention(opened.spec, int(layer)), int(head)


def _self_attention(spec: Spec, layer: int) -> str:
    """Return the path of the first attention of a layer of the last stack to its own text."""
    from archcalc.interp.heads.arms import attention_arms

    prefix = f"{spec.stacks[-1].prefix}layers.{layer}."
    paths = (arm.path for arm in attention_arms(spec) if arm.path.startswith(prefix) and not arm.is_cross)
    return next(paths, f"{prefix}attn")


def _pair(head: str | None, text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    if head is None:
        raise InputError(msg("found without `head`"), where="pair", allowed=msg("a head, then two of its positions"))
    match = _PAIR.fullmatch(text.replace(" ", ""))
    if match is None:
        raise InputError(
            msg("found {found}", found=shown(text)), where="pair", allowed=msg("two positions, such as 4,2")
        )
    return int(match[1]), int(match[2])
