"""`archcalc app`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from archcalc.cli.language import current, lang
from archcalc.words import VARIABLE


@click.command("app")
@click.option("--port", type=click.IntRange(1, 65535), default=8501, show_default=True, help="Port to listen on.")
@click.option(
    "--host", default="localhost", show_default=True, help="Address to bind; 0.0.0.0 also accepts other machines."
)
@click.option(
    "--models",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with checkpoints that visitors may run.",
)
@lang
@click.option("--browser/--no-browser", default=None, help="Open a browser (default: if stdout is a terminal).")
def command(port: int, host: str, models: Path | None, browser: bool | None) -> None:
    """Start the dashboard, a web page with the same numbers. Ctrl-C stops it."""
    from archcalc.dashboard.server import is_interactive, serve

    os.environ[VARIABLE] = current().lang  # the default language of visitors
    serve(host, port, models, has_browser=is_interactive() if browser is None else browser)
