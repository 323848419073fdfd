"""`archcalc verify`."""

from __future__ import annotations

import sys

import click

from archcalc import presets
from archcalc.cli.language import current, emit
from archcalc.cli.options import load_source, output, settings, source
from archcalc.errors import InputError
from archcalc.proof import Comparison, verify
from archcalc.render.output import Format
from archcalc.render.verify import data, page
from archcalc.words import msg


@click.command("verify")
@source(many=True, required=False)
@click.option("--all", "every", is_flag=True, help="Every preset.")
@click.option("--against", type=click.Choice(["transformers"]), help="A third reading beside ledger and module.")
@settings
@output
def command(
    sources: tuple[str, ...],
    every: bool,
    against: str | None,
    settings: tuple[str, ...],
    form: Format,
    output: str | None,
    no_color: bool,
) -> int:
    """Prove the numbers: the ledger against a PyTorch model of the same spec on the meta device.

    Every stored tensor is compared by name, shape and kind. Ends with 1 if any differs.
    """
    names = tuple(presets.names()) if every else sources
    if bool(sources) == every:
        raise InputError(
            msg("SOURCE and --all") if every else msg("nothing to verify"), allowed=msg("SOURCE..., or --all")
        )
    label, hidden = current()(msg("verifying")), not sys.stderr.isatty()
    with click.progressbar(names, label=label, file=sys.stderr, hidden=hidden) as bar:
        found = [(name, _verified(name, settings, against, skips=every)) for name in bar]
    emit(lambda: page(found, against), lambda: data(found), form, output=output, color=not no_color)
    return 0 if all(comparison.holds for _, comparisons in found for comparison in comparisons) else 1


def _verified(name: str, settings: tuple[str, ...], against: str | None, *, skips: bool) -> list[Comparison]:
    """The comparisons of one source; with `skips`, without those that its architecture has no other reading for."""
    spec = load_source(name, settings)
    try:
        return verify(spec, against=against)
    except InputError as error:
        if not skips:
            raise error.within(name) from None
    return verify(spec)
