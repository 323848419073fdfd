"""`archcalc app`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from archcalc.cli.language import current, lang
from archcalc.words import VARIABLE


@click.command("app")
@click.option("--port", type=click.IntRange(1, 65535), default=8501, show_default=True, help="Where it listens.")
@click.option("--host", default="localhost", show_default=True, help="The address; 0.0.0.0 for other machines too.")
@click.option(
    "--models",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder with checkpoints, which every visitor may run.",
)
@lang
@click.option("--browser/--no-browser", default=None, help="Open it in a browser (default: on a terminal).")
def command(port: int, host: str, models: Path | None, browser: bool | None) -> None:
    """The dashboard: the same numbers for people who would rather look than type. Ctrl-C ends it."""
    from archcalc.dashboard.serve import opens_here, serve

    os.environ[VARIABLE] = current().lang  # what a visitor reads who has not chosen
    serve(host, port, models, opens=opens_here() if browser is None else browser)
