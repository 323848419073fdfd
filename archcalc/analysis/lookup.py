"""Look up figures, weights, products and caches by name."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase

import msgspec

from archcalc.analysis.figures import Figure, figures
from archcalc.analysis.memory import Dtype
from archcalc.analysis.row_names import path_in_group, path_pattern, row_label
from archcalc.errors import InputError, nearest, shown
from archcalc.ledger.rows import CacheRow, Ledger, MatmulRow, WeightRow
from archcalc.words import msg


class NamedRow(msgspec.Struct, frozen=True):
    """A row, the name it is shown under, which no other has, and the figure that it is a part of."""

    row: WeightRow | MatmulRow | CacheRow
    name: str
    whole: str

    @property
    def path(self) -> str:
        """Where it stands, '*' for the layer."""
        return path_pattern(self.row.path)

    def is_called(self, wanted: str) -> bool:
        """Whether this is its name: with its layers or without, or that of the module which holds a weight."""
        plain = self.path, path_in_group(self.row.path, self.row.group), self.name
        return wanted in plain or (isinstance(self.row, WeightRow) and wanted == _module(self.path))

    def has_one_called(self, wanted: str) -> bool:
        """Whether this is the name of one of its layers' own."""
        return any(
            wanted in (name, _module(name) if isinstance(self.row, WeightRow) else name) for name in _each(self.row)
        )


def named_rows(ledger: Ledger) -> list[NamedRow]:
    """Every weight, tied ones too, every product and every cache.

    The latter two are called after what they cost: 'flops.layers.*.attn.scores', 'memory.layers.*.attn.keys'.
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


def look_up(ledger: Ledger, dtype: Dtype, wanted: str) -> tuple[list[Figure], list[NamedRow]]:
    """The figures and the rows of this name. Raises InputError if there is neither."""
    every = figures(ledger, dtype)
    plain = wanted.strip().replace("-", "_").replace(" ", "_")
    called, found = [figure for figure in every if figure.name == plain], matching_rows(ledger, wanted)
    if called or found:
        return called, found
    named = [figure.name for figure in every]
    known = named + [name for row in named_rows(ledger) for name in (row.name, row.path)]
    raise InputError(
        msg(
            "no figure, weight, product or cache is called {wanted}{hint}",
            wanted=shown(wanted),
            hint=nearest(wanted, known),
        ),
        allowed=msg("{figures}, or (part of) a path", figures=", ".join(named)),
    )


def matching_rows(ledger: Ledger, wanted: str) -> list[NamedRow]:
    """The rows of a component, or of this name, or those whose path contains it ('*' matches anything)."""
    if not wanted:
        return []
    every = named_rows(ledger)
    pattern = wanted if "*" in wanted else f"*{wanted}*"
    return (
        [row for row in every if row.whole == wanted]
        or [row for row in every if row.is_called(wanted)]
        or [row for row in every if row.has_one_called(wanted)]
        or [row for row in every if fnmatchcase(row.path, pattern)]
    )


def _module(name: str) -> str:
    return name.rpartition(".")[0]


def _each(row: WeightRow | MatmulRow | CacheRow) -> Iterator[str]:
    if isinstance(row, WeightRow):
        return row.names()
    return (
        (row.path.replace("{i}", str(turn)) for turn in row.layer_indices) if row.layer_indices else iter((row.path,))
    )
