"""`archcalc completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from archcalc.cli.language import lang


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@lang
def command(shell: str) -> None:
    """Print a script that completes commands, options and presets: eval "$(archcalc completion bash)"."""
    from archcalc.cli.main import cli

    completion = get_completion_class(shell)
    assert completion is not None, "the choices are the shells that click knows"
    click.echo(completion(cli, {}, "archcalc", "_ARCHCALC_COMPLETE").source())
