"""Progress bars of the command line."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from typing import Any

import click

from archcalc.cli.language import current
from archcalc.words import Message


def progress_bar(length: int, label: Message) -> AbstractContextManager[Any]:
    """Return click's progress bar on standard error; only a terminal shows it, and none of length 0."""
    hidden = not length or not sys.stderr.isatty()
    return click.progressbar(length=length, label=current()(label), file=sys.stderr, hidden=hidden)
