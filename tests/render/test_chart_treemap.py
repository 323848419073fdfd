"""The treemap of parameters: exact sums at every step into it, areas in proportion, nothing over another."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
from hypothesis import given, settings

from archcalc.errors import InputError
from archcalc.ledger.build import build
from archcalc.render.charts.frame import HEIGHT, WIDTH
from archcalc.render.charts.treemap import MOST_TILES, steps, tiles, treemap
from archcalc.sources import load
from archcalc.spec import Spec
from tests.strategies import specs


def total(ledger: Any, within: tuple[str, ...]) -> int:
    return sum(tile.parameters for tile in tiles(ledger, within))


@settings(max_examples=40)
@given(specs())
def test_each_step_sums_to_what_it_came_from(spec: Spec) -> None:
    ledger = build(spec)
    assert total(ledger, ()) == ledger.total()
    components = steps(ledger)
    assert sum(total(ledger, (component,)) for component in components) == ledger.total()
    for component in components:
        of = {tile.name: tile.parameters for tile in tiles(ledger, (component,))}
        for row in steps(ledger, (component,)):
            assert total(ledger, (component, row)) == of[row]


@pytest.mark.parametrize("within", [(), ("attention",), ("ffn", "layers.*.ffn.experts.up.weight [moe]")])
def test_areas_are_in_proportion_and_apart(within: tuple[str, ...]) -> None:
    drawn = treemap(build(load("deepseek-v3")), within)["data"]["values"]
    whole = sum(int(one["parameters"].replace(",", "")) for one in drawn)
    for one in drawn:
        area = (one["x2"] - one["x"]) * (one["y2"] - one["y"])
        share = int(one["parameters"].replace(",", "")) / whole
        assert area == pytest.approx(share * WIDTH * HEIGHT, rel=1e-6)
    for a, b in combinations(drawn, 2):
        wide = min(a["x2"], b["x2"]) - max(a["x"], b["x"])
        high = min(a["y2"], b["y2"]) - max(a["y"], b["y"])
        assert min(wide, high) < 1e-6


def test_single_tensors_are_reached_and_very_many_share_a_tile() -> None:
    ledger = build(load("gpt3", {"n_layers": MOST_TILES + 1}))
    row = "layers.*.attn.q.weight"
    found = tiles(ledger, ("attention", row))
    assert len(found) == MOST_TILES // 2 + 1
    assert found[0].name == "layers.0.attn.q.weight … layers.1.attn.q.weight"
    assert found[-1].name == f"layers.{MOST_TILES}.attn.q.weight"
    assert [tile.name for tile in tiles(build(load("gpt2")), ("attention", row))][3] == "layers.3.attn.q.weight"


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(InputError, match="did you mean 'attention'"):
        tiles(build(load("gpt2")), ("atention",))
