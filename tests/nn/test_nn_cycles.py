"""Layers that run in cycles: ledger and modules agree, a cache changes nothing, and contradictions are refused."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from archcalc import inside
from archcalc.checkpoint import open_checkpoint
from archcalc.errors import InputError
from archcalc.interp.trace.run import trace
from archcalc.nn.build import build as build_module
from archcalc.spec import Spec
from archcalc.spec.document import decode
from archcalc.spec.execution import Execution
from archcalc.spec.sites import sites
from tests.checkpoint.random_models import random_model
from tests.checkpoint.test_logits import assert_close
from tests.examples import examples
from tests.interp.recompute import Interpreter
from tests.nn.two_readings import check_counts, check_sites_and_cache
from tests.strategies import cycle_specs

LAYER = {
    "norm": {"kind": "rmsnorm"},
    "attention": {"kind": "gqa", "n_heads": 2},
    "ffn": {"kind": "gated", "d_ff": 12, "activation": "silu"},
}
RUNS = [
    {"count": 1, "pattern": [LAYER | {"detached": True}]},
    {"count": 1, "pattern": [LAYER | {}], "weights_of": 0},
    {"count": 1, "pattern": [LAYER | {}]},
]


def document(runs: list[dict[str, Any]] = RUNS, role: str = "decoder", **more: Any) -> dict[str, Any]:
    stack = {"runs": runs, "final_norm": {"kind": "rmsnorm"}, "cycles": {"n_low": 2, "n_high": 1}} | more
    return {"name": "x", "vocab_size": 31, "n_ctx": 16, "d_model": 8, role: stack, "head": {"tied": True}}


def changed(run: int, **fields: Any) -> list[dict[str, Any]]:
    """The runs, one of them with other fields of its layer or of itself."""
    runs = deepcopy(RUNS)
    for name, value in fields.items():
        (runs[run] if name in ("weights_of", "count") else runs[run]["pattern"][0])[name] = value
    return runs


@examples(12)
@given(
    spec=cycle_specs(),
    recompute=st.sampled_from(("none", "selective", "full")),
    dtype=st.sampled_from(("fp32", "bf16")),
)
def test_modules_and_ledger_agree(spec: Spec, recompute: Any, dtype: Any) -> None:
    check_counts(spec, Execution(dtype=dtype, recompute=recompute))


@examples(6)
@given(spec=cycle_specs())
def test_a_cache_changes_nothing_and_sites_have_their_shapes(spec: Spec) -> None:
    check_sites_and_cache(spec)
    steps = {one.step.name for one in trace(build_module(spec, "cpu").eval(), [1, 2, 3]).steps}
    assert {site.name for site in sites(spec)} <= steps


def test_every_value_follows_from_those_before_it() -> None:
    spec = decode(document())
    model: Any = build_module(spec, "cpu").eval()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    found, interpreter, known = trace(model, [1, 2, 3, 4]), Interpreter(spec, model.state_dict()), {}
    for one in found.steps:
        if one.step.expression is not None:
            made = interpreter.value(one.step.expression, known)
            torch.testing.assert_close(made, one.value, rtol=2e-4, atol=2e-5, msg=one.step.name)
        known[one.step.name] = one.value
    expected = known["embed"] + known["cycles.1"]
    torch.testing.assert_close(known["layers.2.resid_pre"], expected)


def test_no_gradient_passes_through_a_detached_run() -> None:
    model: Any = build_module(decode(document()), "cpu")
    model(torch.tensor([[1, 2, 3]])).sum().backward()
    assert not any(x.grad is None for name, x in model.named_parameters() if name != "cycles.start")
    assert model.cycles.start.grad is None
    model = build_module(decode(document(changed(1, detached=True))), "cpu")
    model(torch.tensor([[1, 2, 3]])).sum().backward()
    assert model.layers["0"].attn.q.weight.grad is None
    assert model.layers["2"].attn.q.weight.grad is not None


def test_lenses_read_cycles_and_others_refuse_them() -> None:
    model = build_module(decode(document()), "cpu").eval()
    assert inside.lens(model, [1, 2, 3]).kl_nats[-1].abs().max() == 0
    with pytest.raises(InputError, match="cycles: the layers run in cycles, on two states; expected null; `trace`"):
        inside.patch(model, [1, 2, 3], [1, 4, 3])


@torch.no_grad()
def test_marked_tokens_see_each_other_as_in_transformers(tmp_path: Path) -> None:
    """Of padded texts too, in one pass and before further tokens."""
    theirs = random_model("hrm_text cycles")
    theirs.save_pretrained(tmp_path)
    ours = open_checkpoint(str(tmp_path)).load()
    ids = torch.randint(6, 96, (2, 9))
    prefix = torch.tensor([[1, 1, 1, 1, 0, 0, 0, 0, 0], [0, 1, 1, 0, 0, 0, 0, 0, 0]])
    padding = torch.arange(9) < torch.tensor([[0], [1]])
    wanted = theirs(ids, attention_mask=(~padding).long(), token_type_ids=prefix).logits
    found = ours(ids, padding_BT=padding, prefix_BT=prefix == 1)
    assert_close(found[~padding], wanted[~padding])
    assert (ours(ids, padding_BT=padding) - found)[~padding].abs().max() > 1e-3
    cache = ours.new_cache(2, 9)
    first = ours(ids[:, :5], padding_BT=padding[:, :5], prefix_BT=prefix[:, :5] == 1, cache=cache)
    assert_close(torch.cat((first, ours(ids[:, 5:], cache=cache)), 1)[~padding], wanted[~padding])
    with pytest.raises(InputError, match="prefix: found a mask of shape"):
        ours(ids, prefix_BT=prefix[:, :5] == 1)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (document(role="encoder"), "encoder.cycles: an encoder runs once"),
        (document(cycles=None), "decoder.runs: detached: the stack has no cycles"),
        (document(cycles={"n_low": 3, "n_high": 1}), "cycles: 3 layers are not as many in each of 4 runs"),
        (document(changed(2, detached=True)), "gradients would end in the middle of a cycle"),
        (document(changed(1, weights_of=1)), r"runs\[1\].weights_of: found 1; expected an earlier run"),
        (document(changed(1, placement="post")), r"runs\[1\].weights_of: found 0; expected an earlier run"),
        (
            document([{"count": 3, "pattern": [LAYER]}], cycles=None, prefix=True, role="encoder"),
            "encoder.prefix: a layer does not read later tokens, or the model does not mark any",
        ),
        (document(n_mtp=1), "cycles: later layers would read another run's"),
    ],
)
def test_what_cycles_cannot_be(wrong: dict[str, Any], error: str) -> None:
    with pytest.raises(InputError, match=error):
        decode(wrong)
