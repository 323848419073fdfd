"""Disentangled attention: rows of distances against DeBERTa's code, scores against their expression, refusals."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers.models.deberta_v2.modeling_deberta_v2 import make_log_bucket_position

from archcalc import build
from archcalc.errors import InputError
from archcalc.interp.trace.run import trace
from archcalc.nn.bias import distance_rows
from archcalc.spec.document import decode
from archcalc.spec.position import Disentangled
from tests.interp.recompute import Interpreter

ATTENTION = {"kind": "gqa", "n_heads": 3, "d_head": 5, "q_bias": True}
NEAR = {"kind": "disentangled", "n_distances": 4}


def document(position: dict[str, Any], **fields: Any) -> dict[str, Any]:
    layer = {"norm": {"kind": "layernorm", "eps": 1e-12}, "attention": ATTENTION | {"position": position} | fields}
    encoder = {"n_layers": 2, "runs": [{"pattern": [layer]}]}
    return {"name": "relative", "vocab_size": 17, "n_ctx": 16, "d_model": 7, "encoder": encoder, "head": None}


@pytest.mark.parametrize(("n", "furthest"), [(256, 512), (5, 9), (4, 31), (2, 7)])
def test_rows_are_those_of_deberta(n: int, furthest: int) -> None:
    distances = torch.arange(-furthest - 3, furthest + 4)
    theirs = (make_log_bucket_position(distances, n, furthest).long() + n).clamp(0, 2 * n - 1)
    assert torch.equal(distance_rows(distances, Disentangled(n_distances=n, max_distance=furthest), n), theirs)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"content_to_position": False, "norm": {"kind": "layernorm", "eps": 1e-12}},
        {"position_to_content": False, "shares_projections": True, "rows": "near"},
    ],
    ids=str,
)
@torch.no_grad()
def test_scores_are_what_their_expression_says(more: dict[str, Any]) -> None:
    torch.manual_seed(0)
    spec = decode(document(NEAR | more))
    model = build(spec, "cpu").eval()
    for weight in model.parameters():
        weight.normal_(std=0.5)
    found = trace(model, list(range(6)))
    known = {traced.step.name: found[traced.step.name] for traced in found.steps}
    places = torch.arange(6)
    known["distance_rows"] = (places[:, None] - places + 4).clamp(0, 7)
    (step,) = [traced.step for traced in found.steps if traced.step.name == "layers.1.attn.scores"]
    ours = Interpreter(spec, model.state_dict()).value(step.expression, known)
    assert torch.allclose(ours, found["layers.1.attn.scores"], atol=1e-5)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        (document(NEAR, n_kv_heads=1), "n_kv_heads: found 1, but relative positions are keys of every head|n_kv_heads"),
        (document(NEAR | {"max_distance": 3}), "max_distance: 3 leaves no distances"),
    ],
    ids=["heads", "distance"],
)
def test_contradictions_are_refused(changed: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        decode(changed)


def test_one_table_serves_a_stack() -> None:
    both = document(NEAR)
    (run,) = both["encoder"]["runs"]
    other = run["pattern"][0] | {"attention": ATTENTION | {"position": NEAR | {"n_distances": 5}}}
    run["pattern"] = [run["pattern"][0], other]
    with pytest.raises(InputError, match="table of distances"):
        decode(both)


def test_keys_of_another_layer_have_no_relative_positions() -> None:
    both = document(NEAR)
    (run,) = both["encoder"]["runs"]
    reader = {"count": 1, "pattern": [run["pattern"][0] | {"shares": {"keys_values": 0}}]}
    both["encoder"] = {"runs": [run | {"count": 1}, reader]}
    with pytest.raises(InputError, match="the layer's own keys"):
        decode(both)
