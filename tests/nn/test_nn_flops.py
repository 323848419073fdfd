"""The counts that ledgers are held against hold together themselves."""

from __future__ import annotations

import re

from hypothesis import given

from archcalc.ledger.build import build
from archcalc.spec import Spec
from archcalc.spec.workload import workload
from tests.examples import examples
from tests.nn.flop_truth import backward, decode, prefill
from tests.strategies import specs


@examples(20)
@given(spec=specs())
def test_modules_sum_to_the_total_and_spend_twice_as_much_backward(spec: Spec) -> None:
    """A matmul's backward is two of its size, except where the ledger says otherwise: a first state has no gradient."""
    seq = min(spec.n_ctx, 4)
    forward, back = prefill(spec, 2, seq), backward(spec, 2, seq)
    assert sum(forward.by_module.values()) == forward.total
    ledger, work = (
        build(spec),
        workload(spec, batch=2, seq=seq, source_seq=seq if spec.family == "encoder-decoder" else None),
    )
    assert back.total == sum(row.backward_flops(ledger.at(work)) for row in ledger.matmuls)
    uneven = {
        name for row in ledger.matmuls if row.matmul.backward != 2 for name in (row.path, row.path.rpartition(".")[0])
    }
    twice = {name for name in forward.by_module if re.sub(r"(?<=layers\.)\d+", "{i}", name) not in uneven}
    assert {name: back.by_module[name] for name in twice} == {name: 2 * forward.by_module[name] for name in twice}
    if spec.decoder:
        step = decode(spec, 2, 1, seq - 1)
        assert sum(step.by_module.values()) == step.total
