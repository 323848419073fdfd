"""`archcalc trace`."""

from __future__ import annotations

import click

from archcalc.cli.language import current, emit_result
from archcalc.cli.model_options import ModelOptions, model_options, target_option, text_options
from archcalc.cli.options import SOURCE, output
from archcalc.render.output import Format, emit_text
from archcalc.run.decoding.prompts import DecoderText, one_prompt


@click.command("trace")
@click.argument("source", type=SOURCE)
@text_options
@target_option
@click.option("--position", type=click.IntRange(0), help="Token position to show (default: the last).")
@click.option(
    "--full/--summary", default=None, help="Print all values, or norms and largest values (default: by model size)."
)
@model_options
@output
def command(
    source: str,
    prompt: str | None,
    ids: str | None,
    target: DecoderText | None,
    position: int | None,
    full: bool | None,
    model_options: ModelOptions,
    seed: int,
    form: Format,
    output: str | None,
    no_color: bool,
) -> None:
    """Trace a forward pass: every step from tokens to the next token, with its formula and values.

    SOURCE is a folder in Hugging Face layout, a .gguf file, a repo id, or a preset with weights. With --random-weights
    it is any architecture. The values come from the model's own forward pass. The HTML output is one interactive page.

    \b
    Examples:
      archcalc trace happy
      archcalc trace happy --output happy.html
      archcalc trace tiny --prompt "In the beginning" --position 1
      archcalc trace tiny-seq2seq --random-weights --ids 5,6,7 --target-ids 1,8
      archcalc trace ./SmolLM2-135M --prompt "The capital of France is" --format json
    """
    model_source, example = model_options.open(source), None

    from archcalc.interp.trace import worked_example

    if prompt is None and ids is None and not model_options.random_weights:
        example = worked_example.example_of(source)
        prompt = example.prompt if example else None
    input_ids = one_prompt(model_source, prompt, ids)

    from archcalc.interp.text_input import text_input
    from archcalc.interp.trace.result import forward_trace
    from archcalc.interp.trace.run import trace
    from archcalc.render.trace import view
    from archcalc.render.trace_page import as_html

    inputs, say = text_input(model_source, input_ids, target), current()
    model = model_options.load(model_source, inputs.work, packed=False).model
    steps = trace(model, inputs.ids, inputs.target, position=position)
    checks = worked_example.step_checks(example, steps) if example else []
    result = forward_trace(model_source, steps, checks, is_full=full, lang=say.lang)
    if form == "html":
        emit_text(as_html(result, say), output)
    else:
        emit_result(lambda: result, view, None, form, output=output, color=not no_color)
