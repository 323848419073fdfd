"""`--lang` and `--bytes`: how the reader wants the output."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import click
from click.core import ParameterSource

from archcalc.units import BYTE_UNITS
from archcalc.words import (
    BYTES_VARIABLE,
    LANGS,
    VARIABLE,
    Message,
    Translator,
    msg,
    preferred_byte_units,
    preferred_lang,
    translator,
)

F = TypeVar("F", bound=Callable[..., Any])
_KEY: Final = "archcalc.lang"
_BYTES_KEY: Final = "archcalc.bytes"


def _store(key: str) -> Callable[[click.Context, click.Parameter, str], None]:
    def store(ctx: click.Context, param: click.Parameter, value: str) -> None:
        # A default must not replace what was stated before the command: `archcalc --lang zh report`.
        if ctx.get_parameter_source(str(param.name)) is not ParameterSource.DEFAULT:
            ctx.find_root().meta[key] = value

    return store


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
        callback=_store(_KEY),
        help="Language of the output; $ARCHCALC_LANG sets the default.",
    )(command)


def byte_units(command: F) -> F:
    """Add the option `--bytes`, which `current` reads."""
    return click.option(
        "--bytes",
        type=click.Choice(BYTE_UNITS),
        default="both",
        envvar=BYTES_VARIABLE,
        show_default=True,
        expose_value=False,
        callback=_store(_BYTES_KEY),
        help="Units of rounded bytes; $ARCHCALC_BYTES sets the default.",
    )(command)


def current() -> Translator:
    """Return the translator of the running command, or of the environment outside a command."""
    context = click.get_current_context(silent=True)
    root = context.find_root() if context else None
    stated = root.meta if root else {}
    language = stated.get(_KEY) or (root and root.obj) or preferred_lang()
    return translator(language, stated.get(_BYTES_KEY) or preferred_byte_units())


def emit(*args: Any, **options: Any) -> None:
    """Print a page in the language of the command; see `archcalc.render.output.emit`."""
    from archcalc.render import output

    output.emit(*args, **options, say=current())


def emit_result(*args: Any, **options: Any) -> None:
    """Print a result in the language of the command; see `archcalc.render.output.emit_result`."""
    from archcalc.render import output

    output.emit_result(*args, **options, say=current())


def warn(message: Message) -> None:
    """Print a warning on standard error, in the language of the command."""
    note(msg("warning: {message}", message=message))


def note(message: Message) -> None:
    """Print a message on standard error, in the language of the command."""
    click.echo(f"archcalc: {current()(message)}", err=True)
