"""`--lang`: the language of the output."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from archcalc.render import output
from archcalc.words import LANGS, VARIABLE, Message, Translator, preferred_lang, translator

F = TypeVar("F", bound=Callable[..., Any])
_KEY: Final = "archcalc.lang"


def _store(ctx: click.Context, param: click.Parameter, value: str) -> None:
    ctx.find_root().meta[_KEY] = value


def lang(command: F) -> F:
    """Add the option `--lang`, which `current` reads."""
    return click.option(
        "--lang",
        type=click.Choice(LANGS),
        default="en",
        envvar=VARIABLE,
        show_default=True,
        is_eager=True,
        expose_value=False,
        callback=_store,
        help="Language of the output; $ARCHCALC_LANG sets the default.",
    )(command)


def current() -> Translator:
    """Return the translator for the language of the running command, or of the environment outside a command."""
    context = click.get_current_context(silent=True)
    root = context.find_root() if context else None
    return translator((root and (root.meta.get(_KEY) or root.obj)) or preferred_lang())


def emit(*args: Any, **options: Any) -> None:
    """Print a page in the language of the command; see `archcalc.render.output.emit`."""
    output.emit(*args, **options, say=current())


def emit_result(*args: Any, **options: Any) -> None:
    """Print a result in the language of the command; see `archcalc.render.output.emit_result`."""
    output.emit_result(*args, **options, say=current())


def note(message: Message) -> None:
    """Print a message on standard error, in the language of the command."""
    click.echo(f"archcalc: {current()(message)}", err=True)
