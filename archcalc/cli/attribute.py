"""`archcalc attribute`."""

from __future__ import annotations

import click

from archcalc.cli.language import current, emit_result
from archcalc.cli.model_options import ModelOptions, model_options, target_option, text_options
from archcalc.cli.options import FILE, SOURCE, output
from archcalc.cli.pictures import with_picture
from archcalc.cli.progress import progress_bar
from archcalc.render.output import Format, write
from archcalc.run.decoding.prompts import DecoderText, check_given, one_prompt
from archcalc.words import msg


@click.command("attribute")
@click.argument("source", type=SOURCE)
@text_options
@target_option
@click.option("--position", type=int, help="Token position whose logit is read (default: the last).")
@click.option("--token", metavar="TEXT", help="Token whose logit is attributed (default: the likeliest).")
@click.option("--token-id", type=int, help="The same as a token id.")
@click.option("--against", metavar="TEXT", help="Token whose logit is subtracted.")
@click.option("--against-id", type=int, help="The same as a token id.")
@click.option("--heads", "n_heads", type=click.IntRange(0), default=5, show_default=True, help="Heads in the graph.")
@click.option("--edges", "n_edges", type=click.IntRange(1), default=3, show_default=True, help="Edges of each head.")
@click.option("--plot", type=FILE, help="Chart of the contributions by layer (.html, .png or .svg).")
@model_options
@output
def command(
    source: str,
    prompt: str | None,
    ids: str | None,
    target: DecoderText | None,
    position: int | None,
    token: str | None,
    token_id: int | None,
    against: str | None,
    against_id: int | None,
    n_heads: int,
    n_edges: int,
    plot: str | None,
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
      archcalc attribute tiny --prompt "And God said unto" --token Moses --against him --plot layers.svg
      archcalc attribute tiny --ids 1,2,3 --token-id 5 --against-id 6 --format csv
    """
    check_given(prompt, ids)
    opened = model_options.open(source)
    row = one_prompt(opened, prompt, ids)

    from archcalc.interp.heads.attribution import attribute
    from archcalc.interp.heads.attribution_rows import logit_attribution
    from archcalc.interp.named_tokens import token_or_id
    from archcalc.interp.text_input import text_input
    from archcalc.render.attribute import view
    from archcalc.render.charts.attribute import chart

    inputs = text_input(opened, row, target)
    named, subtracted = (
        token_or_id(opened, token, token_id, "token"),
        token_or_id(opened, against, against_id, "against"),
    )
    model = model_options.load(opened, inputs.work, packed=False).model
    with progress_bar(opened.spec.stacks[-1].stack.n_layers or 0, msg("attributing")) as bar:
        found = attribute(
            model, row, inputs.target, position=position, token=named, against=subtracted, progress=bar.update
        )
    result = logit_attribution(opened, found, inputs.texts, n_heads, n_edges)
    if plot:
        from archcalc.render.charts.file import as_file

        write(plot, as_file(plot, lambda: chart(result), current()))
    shown = with_picture(view, lambda: chart(result)) if form == "html" else view
    emit_result(lambda: result, shown, None, form, output=output, color=not no_color)
