"""Every value of compressed attention follows from those before it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from archcalc import inside
from archcalc.interp.trace.run import trace
from archcalc.interp.trace.softmax import softmax_of
from archcalc.spec.document import decode
from archcalc.spec.sites import sites
from tests.interp.recompute import Interpreter
from tests.interp.test_streams import drawn
from tests.nn.test_nn_compressed import document

IDS = [1, 3, 2, 4, 7, 5, 6, 2]
INDEXER = {"n_index_heads": 3, "d_index": 5, "n_selected": 2}
MOE = {"kind": "moe", "n_experts": 4, "n_active": 2, "d_expert": 5, "choose": "sqrt_softplus", "by_token": True}


@pytest.mark.parametrize(
    "compression",
    [None, {"n_pool": 3}, {"n_pool": 2, "overlap": True}, {"n_pool": 2, "overlap": True, "indexer": INDEXER}],
)
@pytest.mark.parametrize("streams", [None, {"kind": "hyper", "n_streams": 2, "mix": {"n_turns": 2}}])
def test_every_value_follows_from_those_before_it(compression: Any, streams: Any) -> None:
    whole = document(compression, {"position": {"kind": "rope", "theta": 10000.0}, "d_rope": 4})
    whole["decoder"]["streams"] = streams
    whole["decoder"]["runs"][0]["pattern"][0]["ffn"] = MOE | {"normalize": True}
    spec = decode(whole | {"head": {"tied": True}})
    model = drawn(spec)
    found, interpreter, known = trace(model, IDS), Interpreter(spec, model.state_dict()), {}
    for one in found.steps:
        if one.step.expression is not None:
            made = interpreter.value(one.step.expression, known)
            torch.testing.assert_close(
                made, one.value, rtol=2e-4, atol=2e-5, msg=f"{one.step.name} = {one.step.expression}"
            )
        known[one.step.name] = one.value
    assert torch.equal(found["logits"], model(torch.tensor([IDS]))[0])
    assert {site.name for site in sites(spec)} <= set(known)


def test_what_reads_heads_reads_compressed_ones() -> None:
    model = drawn(decode(document({"n_pool": 2, "overlap": True, "indexer": INDEXER}) | {"head": {"tied": True}}))
    (pattern,) = inside.attention(model, IDS).patterns.values()
    assert pattern.shape == (2, 8, 12)
    traced = trace(model, IDS)
    assert len(softmax_of(model, traced, "layers.0.attn").stages[0].values) == 12
    found = inside.attribute(model, IDS)
    assert [one.part for one in found.contributions if one.layer == 0 and one.path.endswith(".attn")] == ["attention"]
    assert abs(found.remainder) <= 1e-5 * sum(abs(one.value) for one in found.contributions)
