"""The arguments and options that commands share."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast, get_args

import click
from click.shell_completion import CompletionItem

from archcalc import presets
from archcalc.cli.language import lang
from archcalc.errors import InputError
from archcalc.render.output import FORMATS, Format, by_suffix
from archcalc.sources import load
from archcalc.spec import Spec
from archcalc.spec.execution import Recompute
from archcalc.spec.set_options import changes
from archcalc.words import msg

F = TypeVar("F", bound=Callable[..., Any])


class Source(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """A source of an architecture; completes to presets and files."""

    name = "source"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the source unchanged. Raises InputError for a second '-', as standard input can be read only once."""
        if value == "-" and ctx is not None:
            if ctx.meta.get("archcalc.stdin"):
                raise InputError(msg("'-' stands twice"), allowed=msg("standard input once, and other sources by name"))
            ctx.meta["archcalc.stdin"] = True
        return value

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return files and matching presets; files come first, as the shell script for files drops earlier items."""
        matches = [name for name in (*presets.names(), *presets.ALIASES) if name.startswith(incomplete)]
        return [CompletionItem(incomplete, type="file"), *map(CompletionItem, matches)]


SOURCE = Source()
FILE = click.Path(dir_okay=False, allow_dash=True)


def source(*, many: bool = False, required: bool = True) -> Callable[[F], F]:
    """Return the decorator that adds the argument SOURCE, or SOURCE... with `many`."""
    if many:
        return click.argument("sources", metavar="SOURCE...", type=SOURCE, nargs=-1, required=required)
    return click.argument("source", metavar="SOURCE" if required else "[SOURCE]", type=SOURCE, required=required)


def settings(command: F) -> F:
    """Add the repeatable option `--set FIELD=VALUE`."""
    return click.option(
        "--set",
        "settings",
        metavar="FIELD=VALUE",
        multiple=True,
        help="Override a field by its name or the end of its path (n_layers=48, ffn.bias=true); repeatable.",
    )(command)


def output(command: F) -> F:
    """Add `--format`, `--output`, `--no-color`, `--lang`; without `--format`, the suffix of the file decides."""

    @wraps(command)
    def wrapper(*args: Any, form: Format | None, output: str | None, **others: Any) -> Any:
        return command(*args, form=form or by_suffix(output), output=output, **others)

    wrapped = cast(F, wrapper)
    for option in (
        click.option("--no-color", is_flag=True, help="No bold or dim text, even on a terminal."),
        click.option("-o", "--output", type=FILE, help="Write to this file instead of standard output."),
        click.option(
            "-f",
            "--format",
            "form",
            type=click.Choice(FORMATS),
            default=None,
            help="Output format (default: from the suffix of --output, else table).",
        ),
    ):
        wrapped = option(wrapped)
    return lang(wrapped)


def sizes(command: F) -> F:
    """Add `--batch`, `--seq`, `--past`, `--source-seq`: the workload."""
    for option in (
        click.option("--source-seq", type=int, help="Source tokens of an encoder-decoder (default: as --seq)."),
        click.option("--past", type=int, default=0, show_default=True, help="Tokens already in the KV cache."),
        click.option("--seq", type=int, help="New tokens per sequence (default: 2048, or n_ctx if smaller)."),
        click.option("--batch", type=int, default=1, show_default=True, help="Batch size."),
    ):
        command = option(command)
    return command


def recomputation(command: F) -> F:
    """Add `--recompute` and `--dropout/--no-dropout` of a training step."""
    for option in (
        click.option(
            "--dropout/--no-dropout", default=True, show_default=True, help="Use the dropout of the spec, or none."
        ),
        click.option(
            "--recompute",
            type=click.Choice(get_args(Recompute)),
            default="none",
            show_default=True,
            help="Activation checkpointing: recompute nothing, the attention core, or whole layers.",
        ),
    ):
        command = option(command)
    return command


def load_source(name: str, settings: tuple[str, ...] = ()) -> Spec:
    """Return the Spec of a source with its settings applied."""
    return load(name, changes(settings))
