"""Look up figures, weights, products and caches by name."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase

import msgspec

from archcalc.analysis.figures import Figure, figures
from archcalc.analysis.model_workload import ModelWorkload
from archcalc.analysis.row_names import path_in_group, path_pattern, row_label
from archcalc.errors import InputError, nearest, shown
from archcalc.ledger.rows import CacheRow, Ledger, MatmulRow, WeightRow
from archcalc.words import msg


class NamedRow(msgspec.Struct, frozen=True):
    """A row, its unique name, and the figure that it is a part of."""

    row: WeightRow | MatmulRow | CacheRow
    name: str
    figure: str

    @property
    def path(self) -> str:
        """Return the row's path with '*' for the layer."""
        return path_pattern(self.row.path)

    def is_called(self, wanted: str) -> bool:
        """Return whether `wanted` is the name, with layers or without, or the module that holds the weight."""
        plain = self.path, path_in_group(self.row.path, self.row.group), self.name
        return wanted in plain or (isinstance(self.row, WeightRow) and wanted == _module(self.path))

    def has_layer_called(self, wanted: str) -> bool:
        """Return whether `wanted` is the path of the tensor or operation in one of the layers."""
        return any(
            wanted in (name, _module(name) if isinstance(self.row, WeightRow) else name)
            for name in _layer_paths(self.row)
        )


def named_rows(ledger: Ledger) -> list[NamedRow]:
    """Return every weight, tied ones too, every product and every cache.

    Names of products and caches begin with their cost: 'flops.layers.*.attn.scores', 'memory.layers.*.attn.keys'.
    """
    return [
        *(NamedRow(row, row_label(row), row.component) for row in (*ledger.rows, *ledger.tied)),
        *(
            NamedRow(row, f"flops.{path_in_group(row.path, row.group)}", f"flops.{row.component}")
            for row in ledger.matmuls
        ),
        *(
            NamedRow(row, f"memory.{path_in_group(row.path, row.group)}", "memory.kv_cache_bytes")
            for row in ledger.caches
        ),
    ]


def look_up(subject: ModelWorkload, wanted: str) -> tuple[list[Figure], list[NamedRow]]:
    """Return the figures and the rows of this name. Raise InputError if there are none."""
    ledger, known_figures = subject.ledger, figures(subject)
    plain = wanted.strip().replace("-", "_").replace(" ", "_")
    same_name, rows = [figure for figure in known_figures if figure.name == plain], matching_rows(ledger, wanted)
    if same_name or rows:
        return same_name, rows
    figure_names = [figure.name for figure in known_figures]
    known = figure_names + [name for row in named_rows(ledger) for name in (row.name, row.path)]
    raise InputError(
        msg(
            "no figure, weight, product or cache is called {wanted}{hint}",
            wanted=shown(wanted),
            hint=nearest(wanted, known),
        ),
        allowed=msg("{figures}, or (part of) a path", figures=", ".join(figure_names)),
    )


def matching_rows(ledger: Ledger, wanted: str) -> list[NamedRow]:
    """Return the rows of a figure, or of this name, or whose path contains it ('*' matches anything)."""
    if not wanted:
        return []
    rows = named_rows(ledger)
    pattern = wanted if "*" in wanted else f"*{wanted}*"
    return (
        [row for row in rows if row.figure == wanted]
        or [row for row in rows if row.is_called(wanted)]
        or [row for row in rows if row.has_layer_called(wanted)]
        or [row for row in rows if fnmatchcase(row.path, pattern)]
    )


def _module(name: str) -> str:
    return name.rpartition(".")[0]


def _layer_paths(row: WeightRow | MatmulRow | CacheRow) -> Iterator[str]:
    if isinstance(row, WeightRow):
        return row.names()
    return (
        (row.path.replace("{i}", str(index)) for index in row.layer_indices) if row.layer_indices else iter((row.path,))
    )
