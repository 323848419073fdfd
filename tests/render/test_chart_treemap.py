"""The treemap of parameters: exact sums at every step into it, areas in proportion, nothing over another."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import pytest
from hypothesis import given

from archcalc.analysis.params import WeightParams, weight_params
from archcalc.errors import InputError
from archcalc.ledger.build import build
from archcalc.render.charts.frame import HEIGHT, WIDTH
from archcalc.render.charts.treemap import MAX_TILES, steps, tiles, treemap
from archcalc.sources import load
from archcalc.spec import Spec
from tests.examples import examples
from tests.strategies import specs


def total(weights: Sequence[WeightParams], within: tuple[str, ...]) -> int:
    return sum(tile.elements for tile in tiles(weights, within))


def weights_of(name: str) -> tuple[WeightParams, ...]:
    return weight_params(build(load(name)))


@examples(40)
@given(specs())
def test_each_step_sums_to_what_it_came_from(spec: Spec) -> None:
    ledger = build(spec)
    weights = weight_params(ledger)
    assert total(weights, ()) == ledger.total()
    components = steps(weights)
    assert sum(total(weights, (component,)) for component in components) == ledger.total()
    for component in components:
        of = {tile.path: tile.elements for tile in tiles(weights, (component,))}
        for row in steps(weights, (component,)):
            assert total(weights, (component, row)) == of[row]


@pytest.mark.parametrize("within", [(), ("attention",), ("ffn", "layers.*.ffn.experts.up.weight [moe]")])
def test_areas_are_in_proportion_and_apart(within: tuple[str, ...]) -> None:
    drawn = treemap(weights_of("deepseek-v3"), within)["data"]["values"]
    whole = sum(int(one["elements"].replace(",", "")) for one in drawn)
    for one in drawn:
        area = (one["x2"] - one["x"]) * (one["y2"] - one["y"])
        share = int(one["elements"].replace(",", "")) / whole
        assert area == pytest.approx(share * WIDTH * HEIGHT, rel=1e-6)
    for a, b in combinations(drawn, 2):
        wide = min(a["x2"], b["x2"]) - max(a["x"], b["x"])
        high = min(a["y2"], b["y2"]) - max(a["y"], b["y"])
        assert min(wide, high) < 1e-6


def test_single_tensors_are_reached_and_very_many_share_a_tile() -> None:
    weights = weight_params(build(load("gpt3", {"n_layers": MAX_TILES + 1})))
    row = "layers.*.attn.q.weight"
    found = tiles(weights, ("attention", row))
    assert len(found) == MAX_TILES // 2 + 1
    assert found[0].path == "layers.0.attn.q.weight … layers.1.attn.q.weight"
    assert found[-1].path == f"layers.{MAX_TILES}.attn.q.weight"
    assert [tile.path for tile in tiles(weights_of("gpt2"), ("attention", row))][3] == "layers.3.attn.q.weight"


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(InputError, match="did you mean 'attention'"):
        tiles(weights_of("gpt2"), ("atention",))
