"""Activations as a paper counts them, beside the ledger's: blocks of a page."""

from __future__ import annotations

from typing import Any

from archcalc.analysis.activations import sureness
from archcalc.analysis.papers.activation_conventions import SOURCE, Compared
from archcalc.analysis.value_names import RECOMPUTE_NAMES, SURENESS
from archcalc.render.page import Block, Column, Table, Text
from archcalc.spec.execution import Execution
from archcalc.words import Message, in_context, msg

LETTERS = msg(
    "{source}. s tokens, b sequences, h = d_model, a heads, v words, t devices that share a layer.", source=SOURCE
)


def blocks(found: Compared) -> list[Block]:
    """Totals by what is computed again, then tensor by tensor, then the paper's table 2."""
    return [_sides(found), _lines(found), _shares(found), Text("", [LETTERS])]


def _sides(found: Compared) -> Table:
    columns = (
        Column(msg("recomputed")),
        Column(msg("layers, paper"), "count"),
        Column(msg("ledger"), "count"),
        Column(in_context("difference", "off"), "change"),
        Column(msg("all, paper"), "count"),
        Column(msg("ledger"), "count"),
        Column(in_context("difference", "off"), "change"),
    )
    rows = [
        (
            RECOMPUTE_NAMES[one.recompute],
            one.paper_layers,
            one.exact_layers,
            one.paper_layers / one.exact_layers - 1,
            one.paper_total,
            one.exact_total,
            one.paper_total / one.exact_total - 1,
        )
        for one in found.sides
    ]
    return Table(_sides_title(found.how), columns, rows)


def _sides_title(how: Execution) -> Message:
    return msg(
        "Kept activations by sections 4 and 5, bytes (ledger: {dtype}, {attention} attention, {device}, {sureness})",
        dtype=how.dtype,
        attention=how.attention,
        device=how.device,
        sureness=SURENESS[sureness(how)],
    )


def _lines(found: Compared) -> Table:
    columns = (
        Column(msg("tensor")),
        Column(msg("paper, a layer")),
        Column(msg("paper"), "count"),
        Column(msg("ledger"), "count"),
        Column(msg("paper − ledger"), "signed"),
        Column(msg("ledger's formula")),
        Column(msg("why")),
    )
    rows: list[tuple[Any, ...]] = [
        (one.name, one.paper, one.paper_bytes, one.exact_bytes, one.off, one.exact, one.note) for one in found.lines
    ]
    paper, exact = (sum(getattr(one, side) for one in found.lines) for side in ("paper_bytes", "exact_bytes"))
    last = (msg("total"), "", paper, exact, paper - exact, "", "")
    title = msg("Tensor by tensor, recomputed: {recompute}", recompute=RECOMPUTE_NAMES[found.how.recompute])
    return Table(title, columns, [*rows, last], n_sums=1)


def _shares(found: Compared) -> Table:
    columns = (
        Column(msg("configuration")),
        Column(msg("a layer's bytes")),
        Column(msg("all layers"), "count"),
        Column(msg("of the baseline"), "percent"),
    )
    rows = [
        (one.configuration.name, one.configuration.formula, round(one.layers_bytes), float(one.of_baseline))
        for one in found.shares
    ]
    return Table(msg("The paper's table 2, on each of {tensor} devices", tensor=found.tensor), columns, rows)


def data(found: Compared) -> dict[str, Any]:
    """The same as plain data."""
    return {
        "source": SOURCE,
        "recompute": found.how.recompute,
        "kind": sureness(found.how),
        "totals": [
            {
                "recompute": one.recompute,
                "paper_layers_bytes": one.paper_layers,
                "layers_bytes": one.exact_layers,
                "paper_bytes": one.paper_total,
                "bytes": one.exact_total,
            }
            for one in found.sides
        ],
        "tensors": [
            {
                "tensor": str(one.name),
                "paper_formula": one.paper,
                "paper_bytes": one.paper_bytes,
                "bytes": one.exact_bytes,
                "formula": one.exact,
                "note": str(one.note),
            }
            for one in found.lines
        ],
        "devices": found.tensor,
        "table_2": [
            {
                "configuration": str(one.configuration.name),
                "formula": one.configuration.formula,
                "bytes_per_device": float(one.layers_bytes),
                "of_baseline": float(one.of_baseline),
            }
            for one in found.shares
        ],
    }
