"""`archcalc attribute`."""

from __future__ import annotations

import click

from archcalc.cli.language import emit_result
from archcalc.cli.model_options import ModelOptions, model_options, target_option, text_options
from archcalc.cli.options import SOURCE, output
from archcalc.render.output import Format
from archcalc.run.decoding.prompts import DecoderText, one_prompt


@click.command("attribute")
@click.argument("source", type=SOURCE)
@text_options
@target_option
@click.option("--position", type=int, help="Token position whose logit is read (default: the last).")
@click.option("--token-id", type=int, help="Token whose logit is attributed (default: the likeliest).")
@click.option("--against-id", type=int, help="Token whose logit is subtracted.")
@click.option("--heads", "n_heads", type=click.IntRange(0), default=5, show_default=True, help="Heads in the graph.")
@click.option("--edges", "n_edges", type=click.IntRange(1), default=3, show_default=True, help="Edges of each head.")
@model_options
@output
def command(
    source: str,
    prompt: str | None,
    ids: str | None,
    target: DecoderText | None,
    position: int | None,
    token_id: int | None,
    against_id: int | None,
    n_heads: int,
    n_edges: int,
    model_options: ModelOptions,
    seed: int,
    form: Format,
    output: str | None,
    no_color: bool,
) -> None:
    """Show what the embedding, each head and each feed-forward add to a logit (direct logit attribution).

    The scales of all norms are frozen at their values, so the contributions sum to the logit; the last row is rounding.
    The graph lists the tokens that the strongest heads read, and the tokens that their outputs promote. SOURCE is as
    for `archcalc trace`.

    \b
    Examples:
      archcalc attribute tiny --prompt "In the beginning God created"
      archcalc attribute tiny --ids 1,2,3 --token-id 5 --against-id 6 --format csv
    """
    opened = model_options.open(source)
    row = one_prompt(opened, prompt, ids)

    from archcalc.interp.heads.attribution import attribute
    from archcalc.interp.heads.attribution_rows import logit_attribution
    from archcalc.interp.text_input import text_input
    from archcalc.render.attribute import view

    inputs = text_input(opened, row, target)
    model = model_options.load(opened, inputs.work, packed=False).model
    found = attribute(model, row, inputs.target, position=position, token=token_id, against=against_id)
    result = logit_attribution(opened, found, inputs.texts, n_heads, n_edges)
    emit_result(lambda: result, view, None, form, output=output, color=not no_color)
