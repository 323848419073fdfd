"""`archcalc chat`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from archcalc.cli.language import current, lang, note
from archcalc.cli.options import SOURCE
from archcalc.cli.running import Holding, harmless, holding, sampling, speed
from archcalc.errors import InputError
from archcalc.words import msg

if TYPE_CHECKING:
    from archcalc.run.decoding.chat import Chat
    from archcalc.run.decoding.sampling import Sampling

_CONTEXT = 4096


@click.command("chat")
@click.argument("source", type=SOURCE)
@click.option("-p", "--prompt", "prompts", multiple=True, metavar="TEXT", help="Say this and end; several are turns.")
@click.option("--system", metavar="TEXT", help="What the model is told before all else.")
@click.option("-n", "--max-tokens", type=click.IntRange(1), default=512, show_default=True, help="Of an answer.")
@click.option("--context", type=click.IntRange(2), help=f"Tokens of a conversation (default: {_CONTEXT}, or n_ctx).")
@sampling
@holding
@click.option("-q", "--quiet", is_flag=True, help="Nothing about speed on standard error.")
@lang
def command(
    source: str,
    prompts: tuple[str, ...],
    system: str | None,
    max_tokens: int,
    context: int | None,
    sampling: Sampling,
    holding: Holding,
    seed: int,
    quiet: bool,
) -> None:
    """Talk with a model that was made for it, through its tokenizer's own chat template.

    A line is a turn. Ctrl-C cuts an answer short, Ctrl-D ends; /reset forgets what was said.
    """
    from archcalc.run.decoding.chat import Chat
    from archcalc.spec.workload import workload

    found = holding.opened(source)
    n_ctx = min(context or _CONTEXT, found.spec.n_ctx)
    ready = holding.ready(found, workload(found.spec, seq=n_ctx))
    chat = Chat(ready, n_ctx=n_ctx, system=system)

    def answer(text: str) -> None:
        for piece in chat.say(text, max_tokens=max_tokens, sampling=sampling, seed=seed):
            click.echo(harmless(piece), nl=False)
            sys.stdout.flush()
        click.echo()
        if not quiet:
            click.echo(current()(speed(chat.timing, ready)), err=True)

    if prompts:
        for text in prompts:
            answer(text)
    else:
        _converse(chat, answer)


def _converse(chat: Chat, answer: Callable[[str], None]) -> None:
    """Lines of standard input, until it ends."""
    while (text := _line()) is not None:
        if text == "/reset":
            chat.reset()
        elif text:
            try:
                answer(text)
            except KeyboardInterrupt:
                click.echo()
            except InputError as error:
                note(msg("{error} (/reset begins anew)", error=error))


def _line() -> str | None:
    """The next line without its end, asked for on a terminal; None at the end."""
    try:
        if sys.stdin.isatty():
            return input("> ").strip()
        return next(sys.stdin).strip()
    except (EOFError, StopIteration):
        return None
