"""Write a page in a format, to standard output or a file."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from io import UnsupportedOperation
from typing import Any, Literal, TypeVar

import click
from msgspec import structs

from archcalc.errors import InputError, shown
from archcalc.render.page import Page
from archcalc.results import plain
from archcalc.words import ENGLISH, Translator, msg

Options = TypeVar("Options")
Format = Literal["table", "json", "csv", "md", "html"]
FORMATS: tuple[Format, ...] = ("table", "json", "csv", "md", "html")

SUFFIXES: dict[str, Format] = {".json": "json", ".csv": "csv", ".md": "md", ".html": "html", ".htm": "html"}


def by_suffix(output: str | None) -> Format:
    """Return the format of a file by its name; a table for an unknown suffix."""
    return SUFFIXES.get(os.path.splitext(output)[1].lower(), "table") if output else "table"


def as_json(data: Any) -> str:
    """Return data as the text of a JSON file."""
    import json

    return json.dumps(data, ensure_ascii=False, indent=2) + "\n"


def _csv(page: Page) -> str:
    from archcalc.render.text import as_csv

    return as_csv(page)


def _markdown(page: Page) -> str:
    from archcalc.render.text import as_markdown

    return as_markdown(page)


def _html(page: Page) -> str:
    from archcalc.render.html import as_html

    return as_html(page)


def _plain(page: Page) -> str:
    from archcalc.render.terminal import as_text

    return click.unstyle(as_text(page))


_TEXTS: dict[Format, Callable[[Page], str]] = {"table": _plain, "csv": _csv, "md": _markdown, "html": _html}


def emit(
    page: Callable[[], Page],
    data: Callable[[], Any],
    form: Format,
    *,
    output: str | None = None,
    color: bool = True,
    say: Translator = ENGLISH,
) -> None:
    """Print or write a page in a format; `data` is its JSON. The file '-' is standard output.

    Tables, Markdown and HTML are translated; JSON and CSV are for programs. Only what the format needs is computed.
    Raises InputError if it cannot be written; a file is written whole or not at all.
    """
    if form == "json":
        emit_text(as_json(data()), output)
        return
    translated = page() if form == "csv" or say == ENGLISH else say.within(structs.replace(page(), lang=say.lang))
    if form == "table" and output in (None, "-"):
        from archcalc.render.terminal import as_text, is_plain, width

        _print(as_text(translated, width()), plain=is_plain(color))
        return
    emit_text(_TEXTS[form](translated), output)


def emit_result(
    result: Callable[[], Any],
    view: Callable[[Any, Options], Page],
    options: Options,
    form: Format,
    *,
    output: str | None = None,
    color: bool = True,
    say: Translator = ENGLISH,
) -> None:
    """Print or write a result in a format, its page as `view` makes it; see `emit`."""
    emit(lambda: view(result(), options), lambda: plain(result()), form, output=output, color=color, say=say)


def emit_text(text: str, output: str | None) -> None:
    """Print a text, or write it to a file; raises as `emit` does."""
    if output in (None, "-"):
        _print(text, plain=True)
    else:
        write(str(output), text)


def _print(text: str, *, plain: bool) -> None:
    """Print to standard output, bold and dim only on a terminal."""
    if sys.stdout is None:
        raise InputError(msg("standard output is closed"), allowed=msg("an open one, or `output` FILE"))
    try:
        click.echo(text, nl=False, color=False if plain else None)
    except BrokenPipeError:
        discard_output()  # the reader (head, less) has enough
    except OSError as error:
        discard_output()
        raise InputError(msg("standard output cannot be written ({strerror})", strerror=error.strerror)) from None


def discard_output() -> None:
    """Discard what standard output has buffered, so that closing it cannot fail."""
    if sys.stdout is not None:
        with suppress(UnsupportedOperation):  # a stream in memory has no file to fail
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def write(path: str, content: str | bytes, *, replace: bool = True) -> None:
    """Write a file whole or not at all. With `replace=False` an existing file is an InputError."""
    data = content.encode() if isinstance(content, str) else content
    if os.path.isdir(path) or not path:
        raise InputError(
            msg("found {found}", found=shown(path)) if not path else msg("is a folder"),
            file=path,
            allowed=msg("the name of a file"),
        )
    if not replace and os.path.exists(path):
        raise InputError(msg("is there already"), file=path, allowed=msg("the name of a new file"))
    try:
        if os.path.exists(path):
            with open(path, "ab") as file:
                # Into a pipe or a device, which must stay one; a file that may not be written fails here.
                if not os.path.isfile(path):
                    file.write(data)
                    return
        _write_whole(os.path.realpath(path), data)
    except OSError as error:
        raise InputError(msg("cannot be written ({strerror})", strerror=error.strerror), file=path) from None


def _write_whole(path: str, content: bytes) -> None:
    """Write a temporary file beside it, then rename that, with the mode of the old file."""
    import tempfile

    with tempfile.TemporaryDirectory(dir=os.path.dirname(path)) as folder:
        temporary = os.path.join(folder, "temporary")
        with open(temporary, "wb") as file:
            file.write(content)
        if os.path.exists(path):
            os.chmod(temporary, os.stat(path).st_mode & 0o777)
        os.replace(temporary, path)
