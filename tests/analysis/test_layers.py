"""FLOPs layer by layer: they add up, layers that are alike cost alike, and every layer has its line in turn."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archcalc.analysis.flops import by_op, totals
from archcalc.analysis.layers import LayerFlops, by_layer
from archcalc.ledger.build import build
from archcalc.sources import load
from archcalc.spec import Spec
from archcalc.spec.workload import Workload, workload
from tests.examples import examples
from tests.strategies import specs


def lines(spec: Spec, work: Workload) -> dict[str, LayerFlops]:
    return {line.path: line for line in by_layer(spec, by_op(build(spec), work))}


@examples(60)
@given(specs(), st.integers(1, 4))
def test_layers_add_up_and_stand_in_turn(spec: Spec, seq: int) -> None:
    work = workload(spec, seq=min(seq, spec.n_ctx))
    found, whole = lines(spec, work), totals(by_op(build(spec), work))
    assert sum(line.forward for line in found.values()) == whole["forward"]
    assert sum(line.forward_causal for line in found.values()) == whole["forward_causal"]
    assert sum(line.backward for line in found.values()) == whole["backward"]
    assert sum(line.share for line in found.values()) == pytest.approx(1)
    in_turn = [
        f"{prefix}layers.{i}"
        for prefix, stack in ((own.prefix, own.stack) for own in spec.stacks)
        for i in range(stack.n_layers or 0)
    ]
    assert [label for label in found if "layers." in label] == in_turn
    costs = defaultdict(set)
    for label, line in found.items():
        costs[label.partition("layers.")[0], line.group if "layers." in label else label].add(line.forward)
    assert all(len(cost) == 1 for cost in costs.values())


def test_a_mixture_after_dense_layers() -> None:
    """DeepSeek-V3: 3 dense layers of d_ff 18,432, then 8 + 1 experts of 2,048 and a router of 256."""
    found = lines(load("deepseek-v3"), Workload(seq=1))
    assert (found["layers.2"].group, found["layers.3"].group) == ("dense", "moe")
    more = 2 * 7168 * (3 * 18_432 - 3 * 9 * 2048 - 256)
    assert found["layers.2"].forward - found["layers.60"].forward == more
    assert found["head.logits"].forward == 2 * 129_280 * 7168


def test_sliding_layers_cost_less() -> None:
    """gpt-oss: 64 heads of 64 look at 128 keys, or at all 2,048."""
    found = lines(load("gpt-oss-20b"), Workload(seq=1, past=2047))
    assert found["layers.1"].forward - found["layers.0"].forward == 2 * 2 * 64 * 64 * (2048 - 128)
