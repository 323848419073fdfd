"""`archcalc structures`."""

from __future__ import annotations

import click

from archcalc.analysis.token_path import token_paths
from archcalc.cli.language import current, emit_result
from archcalc.cli.options import load_source, output, settings, source
from archcalc.render.output import Format, emit_text

# A decoder, an encoder, and an encoder-decoder.
DEFAULTS = ("gpt2", "bert-base", "t5-small")


@click.command("structures")
@source(many=True, required=False)
@click.option("--seq", type=click.IntRange(1, 64), help="Tokens of each text (default: 6).")
@click.option("--position", type=click.IntRange(0), help="Token to follow (default: the third last).")
@settings
@output
def command(
    sources: tuple[str, ...],
    seq: int | None,
    position: int | None,
    settings: tuple[str, ...],
    form: Format,
    output: str | None,
    no_color: bool,
) -> None:
    """Show decoder, encoder and encoder-decoder side by side, with the path of one token through each.

    Every step has its shape, and the tokens that it reads: those before it, all of them, or the source. The HTML output
    has a diagram of each model, drawn from its spec, to step through. The default sources are gpt2, bert-base and
    t5-small. --set applies to all sources.

    \b
    Examples:
      archcalc structures -o structures.html
      archcalc structures tiny tiny-encoder tiny-seq2seq --seq 4 --position 1
      archcalc structures llama-3-8b deepseek-v3 --format csv
    """
    specs = [load_source(name, settings) for name in sources or DEFAULTS]
    if form == "html":
        from archcalc.render.structures_page import as_html

        emit_text(as_html(specs, seq, position, current()), output)
    else:
        from archcalc.render.structures import view

        emit_result(lambda: token_paths(specs, seq, position), view, None, form, output=output, color=not no_color)
