"""The records of FLOPs: every table adds up to the report's totals, for any spec and recomputation policy."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archcalc.analysis.elementwise import COSTS
from archcalc.analysis.workload_flops import workload_flops
from archcalc.contract import report
from archcalc.ledger.build import build
from archcalc.sources import load
from archcalc.spec import Spec
from archcalc.spec.execution import Execution, Recompute
from archcalc.spec.workload import workload
from tests.examples import examples
from tests.strategies import specs

TOTALS = ("forward", "forward_causal", "backward")


@examples(40)
@given(specs(), st.integers(1, 6), st.sampled_from(get_args(Recompute)))
def test_rows_add_up(spec: Spec, seq: int, recompute: Recompute) -> None:
    work, how = workload(spec, seq=min(seq, spec.n_ctx)), Execution(recompute=recompute)
    result, expected = workload_flops(spec, work, how), report(spec, seq=work.seq)["flops"]
    assert {name: getattr(result, name) for name in expected} == expected
    for rows in (result.components, result.ops, result.layers):
        assert {name: sum(getattr(row, name) for row in rows) for name in TOTALS} == {
            name: expected[name] for name in TOTALS
        }
        assert sum(row.share for row in rows) == pytest.approx(1)
    assert all(row.formula.rpartition(" = ")[2] == f"{row.forward:,}" for row in result.ops)
    ledger = build(spec, how)
    sizes = ledger.at(work)
    assert sum(row.forward for row in result.elementwise) == sum(
        COSTS[row.elementwise.operation][0] * row.formula.at(sizes) for row in ledger.elementwise
    )


@pytest.mark.parametrize("recompute", get_args(Recompute))
def test_a_step_has_what_its_checkpoints_recompute(recompute: Recompute) -> None:
    spec = load("llama-3-8b")
    work, how = workload(spec, seq=128), Execution(recompute=recompute)
    result, ledger = workload_flops(spec, work, how), build(spec, how)
    steps = {step.checkpoint: step for step in result.training_steps}
    kinds = {"none": set(), "early_stop": {"always"}, "to_the_end": {"always", "without early stop"}}
    assert set(steps) == ({"none"} if recompute == "none" else {"early_stop", "to_the_end"})
    for end, step in steps.items():
        recomputed = [row for row in ledger.matmuls if row.matmul.recomputation in kinds[end]]
        assert step.recomputation == sum(row.flops(ledger.at(work)) for row in recomputed)
        assert step.total == result.train_step + step.recomputation
        assert step.ratio == pytest.approx(step.total / result.train_step)
    assert (steps["to_the_end"].recomputation > 0) if recompute != "none" else not steps["none"].recomputation


def test_a_workload_with_a_past_is_not_trained() -> None:
    spec = load("gpt2")
    assert workload_flops(spec, workload(spec, seq=1, past=9), Execution()).training_steps == ()
