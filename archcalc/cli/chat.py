"""`archcalc chat`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from archcalc.cli.language import current, lang, note
from archcalc.cli.model_options import ModelOptions, escape_controls, model_options, sampling, speed_message
from archcalc.cli.options import SOURCE
from archcalc.errors import InputError
from archcalc.words import msg

if TYPE_CHECKING:
    from archcalc.run.decoding.chat import Chat
    from archcalc.run.decoding.sampling_options import Sampling

_CONTEXT = 4096


@click.command("chat")
@click.argument("source", type=SOURCE)
@click.option(
    "-p",
    "--prompt",
    "prompts",
    multiple=True,
    metavar="TEXT",
    help="Send this message and exit; repeat for several turns.",
)
@click.option("--system", metavar="TEXT", help="System prompt.")
@click.option(
    "-n", "--max-tokens", type=click.IntRange(1), default=512, show_default=True, help="Maximum tokens per reply."
)
@click.option("--context", type=click.IntRange(2), help=f"Context length (default: {_CONTEXT}, or n_ctx if smaller).")
@sampling
@model_options
@click.option("-q", "--quiet", is_flag=True, help="Do not print speed on standard error.")
@lang
def command(
    source: str,
    prompts: tuple[str, ...],
    system: str | None,
    max_tokens: int,
    context: int | None,
    sampling: Sampling,
    model_options: ModelOptions,
    seed: int,
    quiet: bool,
) -> None:
    """Chat with an instruction-tuned model, using the chat template of its tokenizer.

    SOURCE is a folder in Hugging Face layout, a .gguf file or a repo id. Each input line is a turn. Ctrl-C interrupts
    the reply, Ctrl-D exits, /reset clears the conversation.
    """
    model_source = model_options.open(source)
    from archcalc.run.decoding.chat import Chat
    from archcalc.spec.workload import workload

    n_ctx = min(context or _CONTEXT, model_source.spec.n_ctx)
    ready = model_options.load(model_source, workload(model_source.spec, seq=n_ctx))
    chat = Chat(ready, n_ctx=n_ctx, system=system)

    def answer(text: str) -> None:
        for piece in chat.say(text, max_tokens=max_tokens, sampling=sampling, seed=seed):
            click.echo(escape_controls(piece), nl=False)
            sys.stdout.flush()
        click.echo()
        if not quiet:
            click.echo(current()(speed_message(chat.timing, ready)), err=True)

    if prompts:
        for text in prompts:
            answer(text)
    else:
        _read_turns(chat, answer)


def _read_turns(chat: Chat, answer: Callable[[str], None]) -> None:
    """Answer the lines of standard input until it ends."""
    while (text := _next_line()) is not None:
        if text == "/reset":
            chat.reset()
        elif text:
            try:
                answer(text)
            except KeyboardInterrupt:
                click.echo()
            except InputError as error:
                note(msg("{error} (/reset begins anew)", error=error))


def _next_line() -> str | None:
    """Return the next line without its end, with a prompt on a terminal; None at the end of input."""
    try:
        if sys.stdin.isatty():
            return input("> ").strip()
        return next(sys.stdin).strip()
    except (EOFError, StopIteration):
        return None
