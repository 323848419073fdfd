"""The paper's activations beside the ledger's: the page's blocks and the plain data say the same."""

from __future__ import annotations

from msgspec import structs

from archcalc.analysis.papers.activation_conventions import (
    NEAREST,
    TABLE_2,
    ActivationConventions,
    activation_conventions,
)
from archcalc.render.activation_conventions import blocks
from archcalc.render.page import Table
from archcalc.results import plain
from archcalc.sources import load
from archcalc.spec.workload import workload


def of(name: str, **how: str) -> ActivationConventions:
    spec = load(name)
    return activation_conventions(spec, workload(spec), structs.replace(NEAREST, **how))


def test_the_blocks_and_the_data_say_the_same() -> None:
    found = of("gpt3")
    sides, lines, table_2 = (block for block in blocks(found) if isinstance(block, Table))
    data = plain(found)
    assert [row[1] for row in sides.rows] == [one["paper_layers_bytes"] for one in data["totals"]]
    assert [row[2:4] for row in lines.rows[:-1]] == [[one["paper_bytes"], one["bytes"]] for one in data["tensors"]]
    assert lines.rows[-1][2:5] == [
        sum(one["paper_bytes"] for one in data["tensors"]),
        sum(one["bytes"] for one in data["tensors"]),
        sum(one["paper_bytes"] - one["bytes"] for one in data["tensors"]),
    ]
    assert [row[0] for row in table_2.rows] == [line.name for line in TABLE_2]
    assert all(len(row) == len(block.columns) for block in (sides, lines, table_2) for row in block.rows)


def test_a_gpus_figures_are_called_modeled() -> None:
    assert of("gpt2").kind == "modeled"
    assert of("gpt2", device="meta").kind == "exact"
    first = blocks(of("gpt2", device="meta"))[0]
    assert str(first.title).endswith("(ledger: fp16, eager attention, meta, exact)")
