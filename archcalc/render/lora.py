"""A model with low-rank adapters, as pages."""

from __future__ import annotations

from typing import Any

import msgspec

from archcalc.analysis.lora import AdapterSetup, Targets, Tuned
from archcalc.analysis.row_names import path_in_group, path_pattern
from archcalc.analysis.training import Part, totals
from archcalc.ledger.rows import WeightRow
from archcalc.render.page import Block, Column, Page, Table, Text
from archcalc.render.training import TITLES, PartRow, notes, part_rows, parts_table, sizes
from archcalc.units import exact, percent
from archcalc.words import Message, joined, msg


def page(subject: AdapterSetup) -> Page:
    """The parts of what is kept, and every adapter."""
    found, spec, recipe = subject.tuned(), subject.spec, subject.recipe
    whole = totals(found.adapters)
    frozen: PartRow = msg("frozen weights"), subject.form, found.base_bytes
    parts = [frozen, *part_rows(subject.precision, whole, _TITLES)]
    blocks: list[Block] = [
        parts_table(parts, subject.ledger.total()),
        _adapters(found),
        Text("", [_share(subject, found), *notes(recipe, subject.optimiser, whole)]),
    ]
    words = (
        spec.name,
        msg("targets {names}", names=named(subject.targets)),
        msg("weights {dtype}", dtype=subject.form),
        recipe.name,
    )
    title = msg("{label}: LoRA of rank {rank:,}", label=spec.label, rank=subject.rank)
    return Page(title, joined(" · ", words), blocks)


_TITLES: dict[Part, Message] = {**TITLES, "weights": msg("adapters")}


def named(targets: Targets) -> str:
    """Targets as they are given on the command line."""
    return targets if isinstance(targets, str) else ",".join(targets)


def _share(subject: AdapterSetup, found: Tuned) -> Message:
    every = subject.ledger.total() + found.trainable
    return msg(
        "{trained:,} of {total:,} parameters are trained: {share}",
        trained=found.trainable,
        total=every,
        share=percent(found.trainable, every),
    )


def _adapters(found: Tuned) -> Table:
    columns = (
        Column(msg("adapter")),
        Column(msg("layers"), "count"),
        Column(msg("shape")),
        Column(msg("parameters"), "count"),
        Column(msg("share"), "percent"),
        Column(msg("formula")),
    )
    rows: list[tuple[Any, ...]] = [
        (
            path_in_group(line.row.path, line.row.group),
            line.row.layers,
            _shape(line.row),
            line.row.total,
            line.row.total / found.trainable,
            line.row.formula.factored(),
        )
        for line in found.adapters
    ]
    return Table(msg("Adapters"), columns, [*rows, (msg("total"), None, "", found.trainable, 1.0, "")], n_sums=1)


def _shape(row: WeightRow) -> str:
    return " × ".join(map(exact, row.shape))


def data(subject: AdapterSetup) -> dict[str, Any]:
    """The same as plain data."""
    found = subject.tuned()
    trained = sizes(totals(found.adapters))
    return {
        "rank": subject.rank,
        "targets": subject.targets,
        "dtype": subject.form,
        "recipe": subject.recipe.name,
        "optimizer": subject.optimiser.name,
        "dtypes": msgspec.structs.asdict(subject.precision),
        "trainable": found.trainable,
        "parameters": subject.ledger.total() + found.trainable,
        "frozen_bytes": found.base_bytes,
        "adapters_bytes": trained.pop("weights_bytes"),
        **trained,
        "total_bytes": found.base_bytes + trained["total_bytes"],
        "adapters": [
            {
                "weight": path_pattern(line.row.path),
                "group": line.row.group,
                "component": line.row.component,
                "layers": line.row.layers,
                "shape": line.row.shape,
                "parameters": line.row.total,
                "formula": str(line.row.formula),
                "kind": "exact",
            }
            for line in found.adapters
        ],
        "kind": "exact",
    }
