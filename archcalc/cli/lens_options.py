"""Options of `archcalc lens`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from archcalc.cli.options import FILE, F
from archcalc.render.output import Format

if TYPE_CHECKING:
    from archcalc.interp.lens.maps import LensKind, LensSites


@dataclass(frozen=True)
class LensOptions:
    """What is read, and through which lens."""

    kind: LensKind | None
    file: str | None
    sites: LensSites | None
    positions: str | None
    top: int | None
    tokens: tuple[str, ...]
    token_ids: tuple[int, ...]

    @property
    def sites_or_default(self) -> LensSites:
        """Return the sites that are asked for, or those of every branch."""
        return self.sites or "branches"


@dataclass(frozen=True)
class TrainingOptions:
    """How a lens is made of a text."""

    text: str | None
    steps: int
    seq: int
    learning_rate: float


def reading_options(command: F) -> F:
    """Add the options of what is read."""
    for option in (
        click.option("--plot", type=FILE, help="Line chart of the ranks by site (.html, .png or .svg)."),
        click.option("--token-id", "token_ids", type=int, multiple=True, help="As --token, by id; repeatable."),
        click.option(
            "--token", "tokens", metavar="TEXT", multiple=True, help="Follow the rank of this token; repeatable."
        ),
        click.option("--top", type=click.IntRange(1), help="Likeliest tokens to keep (default: 5; in HTML 10)."),
        click.option(
            "--positions",
            metavar="last|all|0,3-5",
            help="Token positions to read (default: the last; in HTML as many as double the time of a plain pass).",
        ),
        click.option(
            "--sites",
            type=click.Choice(["branches", "layers"]),
            help="Read before and after attention and feed-forward (default), or at the ends of layers (in HTML, the "
            "default for texts that are too long for all branches).",
        ),
    ):
        command = option(command)
    return command


def lens_options(command: F) -> F:
    """Add the options of the lens and its training."""
    for option in (
        click.option(
            "--lr", "learning_rate", type=float, default=1e-3, show_default=True, help="Learning rate of --train."
        ),
        click.option("--seq", type=click.IntRange(2), default=64, show_default=True, help="Tokens per row of --train."),
        click.option("--steps", type=click.IntRange(1), default=250, show_default=True, help="Steps of --train."),
        click.option(
            "--train",
            "text",
            type=FILE,
            help="Make a lens of this text (tuned, or --kind jacobian) and save it; of an encoder-decoder, of lines "
            "with a source, a tab and a target.",
        ),
        click.option("--lens", "file", type=FILE, help="File of the lens (default: beside the model)."),
        click.option(
            "--kind", type=click.Choice(["logit", "tuned", "jacobian"]), help="Kind of lens (default: logit)."
        ),
    ):
        command = option(command)
    return command


@dataclass(frozen=True)
class OutputOptions:
    """Where the result goes."""

    plot: str | None
    form: Format
    output: str | None
    no_color: bool
