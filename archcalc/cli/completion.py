"""`archcalc completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from archcalc.cli.language import lang


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@lang
def command(shell: str) -> None:
    """A script that completes commands, options and presets: `eval "$(archcalc completion bash)"`."""
    from archcalc.cli.main import cli

    kind = get_completion_class(shell)
    assert kind is not None, "the choices are the shells that click knows"
    click.echo(kind(cli, {}, "archcalc", "_ARCHCALC_COMPLETE").source())
