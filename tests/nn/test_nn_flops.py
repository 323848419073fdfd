"""The counts that ledgers are held against hold together themselves."""

from __future__ import annotations

from hypothesis import given, settings

from archcalc.spec import Spec
from tests.nn.flop_truth import backward, decode, prefill
from tests.strategies import specs


@settings(max_examples=20)
@given(spec=specs())
def test_modules_sum_to_the_total_and_spend_twice_as_much_backward(spec: Spec) -> None:
    """A matmul's backward is two of its size: every input and every matrix has a gradient, but for an indexer's."""
    seq = min(spec.n_ctx, 4)
    forward, back = prefill(spec, 2, seq), backward(spec, 2, seq)
    assert sum(forward.by_module.values()) == forward.total
    assert back.by_module == {name: 2 * flops for name, flops in forward.by_module.items() if ".indexer" not in name}
    if spec.decoder:
        step = decode(spec, 2, 1, seq - 1)
        assert sum(step.by_module.values()) == step.total
