"""`archcalc sweep`."""

from __future__ import annotations

import re
import sys
import time
from typing import Any

import click

from archcalc.analysis.memory import AUTO, DTYPES, DtypeOrAuto
from archcalc.cli.language import current, emit, note
from archcalc.cli.options import output, settings, sizes, source
from archcalc.errors import InputError, shown
from archcalc.render.output import Format
from archcalc.results import plain
from archcalc.spec.set_options import changes
from archcalc.spec.yaml_reader import parse
from archcalc.words import msg

RANGE = re.compile(r"(\d{1,18}):(\d{1,18})(?::([1-9]\d{0,17}))?")
QUIET_SECONDS = 1.0


@click.command("sweep")
@source()
@click.option(
    "--over",
    metavar="FIELD=VALUES",
    multiple=True,
    required=True,
    help="Field as in --set, or batch, seq, past, source_seq; values 12,24,48 or FIRST:LAST:STEP (inclusive).",
)
@click.option(
    "--figures",
    metavar="NAME,…",
    help="Figures of the report to show: params.total, or a group such as flops (default in csv and json: all).",
)
@sizes
@click.option(
    "--dtype",
    type=click.Choice((AUTO, *DTYPES)),
    default=AUTO,
    show_default=True,
    help="Dtype of weights and KV cache; auto: as the source states it, bf16 if it does not.",
)
@settings
@output
def command(
    source: str,
    over: tuple[str, ...],
    figures: str | None,
    batch: int,
    seq: int | None,
    past: int,
    source_seq: int | None,
    dtype: DtypeOrAuto,
    settings: tuple[str, ...],
    form: Format,
    output: str | None,
    no_color: bool,
) -> None:
    """Show exact figures for every combination of field values, one row each.

    Invalid combinations (heads that do not divide d_model) are left out and counted.

    \b
    Examples:
      archcalc sweep gpt3 --over d_model=4096:12288:4096 --over n_layers=48,96
      archcalc sweep llama-3-8b --over seq=1024,8192 --over n_kv_heads=1,8,32 --figures memory,flops.forward
      archcalc sweep gpt3 --over d_model=128:12800:128 --over n_layers=1:100 --over d_ff=512:51200:512 -o grid.csv
    """
    from archcalc.analysis.sweep.grid import arrays
    from archcalc.analysis.sweep.result import sweep_result
    from archcalc.render import sweep

    grid, set_fields = _grid(over), changes(settings)
    work = {"batch": batch, "seq": seq, "past": past, "source_seq": source_seq}
    _check_once(grid, set_fields, work)
    names = [name.strip() for name in figures.split(",")] if figures else sweep.default_figures(form)
    progress = _Progress()
    options: dict[str, Any] = {"changes": set_fields, "work": work, "dtype": dtype, "figures": names}
    result = sweep_result(source, arrays(source, grid, **options, progress=progress))
    progress.clear()
    sweep.check_rows(result, form)
    emit(lambda: sweep.view(result), lambda: plain(result), form, output=output, color=not no_color)
    if form == "csv":
        for line in sweep.refusal_lines(result):
            note(line)


def _grid(over: tuple[str, ...]) -> dict[str, list[Any]]:
    """Return 'd_model=1024:8192:1024', 'n_layers=12,24' … as a mapping of lists."""
    grid: dict[str, list[Any]] = {}
    for axis in over:
        field, sign, text = axis.partition("=")
        field = field.strip()
        if not sign or not field or not text.strip():
            raise InputError(msg("found {found}", found=shown(axis)), where="over", allowed="FIELD=VALUES")
        if field in grid:
            raise InputError(msg("stands twice"), where=f"over {field}", allowed=msg("each field once"))
        try:
            grid[field] = _values(text)
        except InputError as error:
            raise error.at(f"over {field}") from None
    return grid


def _values(text: str) -> list[Any]:
    """Return comma-separated values and inclusive ranges; text with brackets or quotes is parsed as a YAML list."""
    if set(text) & set("{['\""):
        values: list[Any] = parse(f"[{text}]".encode("utf-8", "surrogateescape"))
        return values
    return [value for piece in text.split(",") for value in _piece(piece.strip())]


def _piece(piece: str) -> list[Any]:
    from archcalc.analysis.sweep.grid import MAX_CELLS

    if not (match := RANGE.fullmatch(piece)):
        return [parse(piece.encode("utf-8", "surrogateescape"))]
    first, last, step = (int(number or 1) for number in match.groups())
    values = range(first, last + 1, step)
    if not values or len(values) > MAX_CELLS:
        raise InputError(
            msg("{piece} has {n_values:,} values", piece=repr(piece), n_values=len(values)),
            allowed=msg("FIRST:LAST:STEP with up to {max_cells:,}", max_cells=MAX_CELLS),
        )
    return list(values)


def _check_once(grid: dict[str, list[Any]], set_fields: dict[str, Any], work: dict[str, int | None]) -> None:
    """Raise InputError for a field that is both swept and set to one value."""
    constants = {*set_fields, *(name for name, value in work.items() if value not in (None, _DEFAULTS.get(name)))}
    for field in grid:
        if field in constants:
            raise InputError(msg("is also set to one value"), where=f"over {field}", allowed=msg("one of the two"))


_DEFAULTS = {"batch": 1, "past": 0}


class _Progress:
    """Print progress on a terminal's standard error, for sweeps of more than a second."""

    def __init__(self) -> None:
        self._start, self._has_output = time.monotonic(), False
        self._is_enabled = sys.stderr is not None and sys.stderr.isatty()

    def __call__(self, share: float) -> None:
        if self._is_enabled and time.monotonic() - self._start > QUIET_SECONDS:
            self._has_output = True
            line = current()(msg("{share:4.0%} of the combinations", share=share))
            click.echo(f"\r{line}", nl=False, err=True)

    def clear(self) -> None:
        """Clear the line."""
        if self._has_output:
            click.echo(f"\r{'':30}\r", nl=False, err=True)
