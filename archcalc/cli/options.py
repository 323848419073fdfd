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
    """Whatever stands for an architecture; completes to presets and files."""

    name = "source"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The source as it is; standard input can be read only once."""
        if value == "-" and ctx is not None:
            if ctx.meta.get("archcalc.stdin"):
                raise InputError(msg("'-' stands twice"), allowed=msg("standard input once, and other sources by name"))
            ctx.meta["archcalc.stdin"] = True
        return value

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Presets that begin so, or else files: a shell's script for files drops what was found before."""
        named = [name for name in (*presets.names(), *presets.SHORT) if name.startswith(incomplete)]
        return [CompletionItem(incomplete, type="file"), *map(CompletionItem, named)]


SOURCE = Source()
FILE = click.Path(dir_okay=False, allow_dash=True)


def source(*, many: bool = False, required: bool = True) -> Callable[[F], F]:
    """The argument SOURCE, or SOURCES."""
    if many:
        return click.argument("sources", metavar="SOURCE...", type=SOURCE, nargs=-1, required=required)
    return click.argument("source", metavar="SOURCE" if required else "[SOURCE]", type=SOURCE, required=required)


def settings(command: F) -> F:
    """`--set FIELD=VALUE`, any number of times."""
    return click.option(
        "--set",
        "settings",
        metavar="FIELD=VALUE",
        multiple=True,
        help="Override a field of the spec, by its name or the tail of its path (n_layers=48, ffn.bias=true).",
    )(command)


def output(command: F) -> F:
    """`--format`, `--output`, `--no-color`, `--lang`; the command is told the format that the file's name asks for."""

    @wraps(command)
    def told(*args: Any, form: Format | None, output: str | None, **others: Any) -> Any:
        return command(*args, form=form or by_suffix(output), output=output, **others)

    wrapped = cast(F, told)
    for option in (
        click.option("--no-color", is_flag=True, help="No bold or dim, even on a terminal."),
        click.option("-o", "--output", type=FILE, help="Write to this file instead."),
        click.option(
            "-f",
            "--format",
            "form",
            type=click.Choice(FORMATS),
            default=None,
            help="How to print: as the output file's suffix says, unless told here; else a table.",
        ),
    ):
        wrapped = option(wrapped)
    return lang(wrapped)


def sizes(command: F) -> F:
    """`--batch`, `--seq`, `--past`, `--source-seq`: the workload."""
    for option in (
        click.option("--source-seq", type=int, help="Tokens of the source, of an encoder-decoder (default: as --seq)."),
        click.option("--past", type=int, default=0, show_default=True, help="Tokens cached before."),
        click.option("--seq", type=int, help="New tokens of each sequence (default: 2048, or n_ctx if that is less)."),
        click.option("--batch", type=int, default=1, show_default=True, help="Sequences."),
    ):
        command = option(command)
    return command


def recomputation(command: F) -> F:
    """`--recompute`, `--dropout/--no-dropout`: how a training step is carried out."""
    for option in (
        click.option("--dropout/--no-dropout", default=True, show_default=True, help="As the spec says, or none."),
        click.option(
            "--recompute",
            type=click.Choice(get_args(Recompute)),
            default="none",
            show_default=True,
            help="What a backward pass computes again: nothing, attention's core, whole layers.",
        ),
    ):
        command = option(command)
    return command


def load_source(name: str, settings: tuple[str, ...] = ()) -> Spec:
    """The Spec of a source, its settings applied."""
    return load(name, changes(settings))
