"""`--lang`: the language that a command speaks."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from archcalc.render import output
from archcalc.words import ENGLISH, LANGS, VARIABLE, Message, Translator, translator

F = TypeVar("F", bound=Callable[..., Any])
_KEY: Final = "archcalc.lang"


def _keep(ctx: click.Context, param: click.Parameter, value: str) -> None:
    ctx.find_root().meta[_KEY] = value


def lang(command: F) -> F:
    """`--lang`; `current` reads what it says."""
    return click.option(
        "--lang",
        type=click.Choice(LANGS),
        default="en",
        envvar=VARIABLE,
        show_default=True,
        is_eager=True,
        expose_value=False,
        callback=_keep,
        help="English or 中文; else as $ARCHCALC_LANG says.",
    )(command)


def current() -> Translator:
    """Return the translator of the command that runs, or of the environment where none does."""
    context = click.get_current_context(silent=True)
    stated = context.find_root().meta.get(_KEY) if context else None
    found = stated or os.environ.get(VARIABLE, "en")
    return translator(found) if found in LANGS else ENGLISH


def emit(*page: Any, **how: Any) -> None:
    """Print a page in the language of the command; see `archcalc.render.output.emit`."""
    output.emit(*page, **how, say=current())


def note(said: Message) -> None:
    """Print a message on standard error, in the language of the command."""
    click.echo(f"archcalc: {current()(said)}", err=True)
