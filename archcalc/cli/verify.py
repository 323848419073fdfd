"""`archcalc verify`."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click
from msgspec import structs

from archcalc import presets
from archcalc.cli.language import current, emit_result
from archcalc.cli.options import load_source, output, settings, source
from archcalc.errors import InputError
from archcalc.headers import weight_headers
from archcalc.locations import locate
from archcalc.proof import Comparison, Reading, verify
from archcalc.render.output import Format
from archcalc.render.verify import VerifyOptions, view
from archcalc.words import msg


@click.command("verify")
@source(many=True, required=False)
@click.option("--all", "every", is_flag=True, help="Verify every preset.")
@click.option("--against", type=click.Choice(["transformers"]), help="Also compare with the model of transformers.")
@settings
@output
def command(
    sources: tuple[str, ...],
    every: bool,
    against: Reading | None,
    settings: tuple[str, ...],
    form: Format,
    output: str | None,
    no_color: bool,
) -> int:
    """Check the numbers against a PyTorch model of the same spec, built on the meta device.

    Every stored tensor is compared by name, shape and kind. Of a folder or a GGUF file, the tensors in the files are
    compared too, from their headers: by name, shape and storage format. The exit code is 1 if any differs.
    """
    names = tuple(presets.names()) if every else sources
    if bool(sources) == every:
        raise InputError(
            msg("SOURCE and --all") if every else msg("nothing to verify"), allowed=msg("SOURCE..., or --all")
        )
    label, hidden = current()(msg("verifying")), not sys.stderr.isatty()
    with click.progressbar(names, label=label, file=sys.stderr, hidden=hidden) as bar:
        result = [one for name in bar for one in _comparisons(name, settings, against, skip_unsupported=every)]
    emit_result(lambda: result, view, VerifyOptions(against), form, output=output, color=not no_color)
    return 0 if all(comparison.is_equal for comparison in result) else 1


def _comparisons(
    name: str, settings: tuple[str, ...], against: Reading | None, *, skip_unsupported: bool
) -> Iterator[Comparison]:
    """Yield the comparisons of one source, under its own name.

    Raises InputError for an architecture that transformers lacks, unless `skip_unsupported` leaves that comparison out.
    """
    spec = load_source(name, settings)
    headers = None if settings else weight_headers(locate(name))
    files = headers.tensors if headers else None
    try:
        comparisons = verify(spec, against=against, files=files)
    except InputError as error:
        if not skip_unsupported:
            raise error.within(name) from None
        comparisons = verify(spec)
    yield from (structs.replace(comparison, name=name) for comparison in comparisons)
