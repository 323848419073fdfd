"""Several residual streams: ledger and modules agree, a cache changes nothing, and contradictions are refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from archcalc.analysis import flops
from archcalc.analysis.activations import saved_tensors
from archcalc.errors import InputError
from archcalc.ledger.build import build
from archcalc.nn import taps
from archcalc.nn.build import build as build_module
from archcalc.proof import verify
from archcalc.spec import Spec
from archcalc.spec.document import decode
from archcalc.spec.execution import Execution
from archcalc.spec.sites import sites
from archcalc.spec.workload import workload
from tests.checkpoint.test_logits import assert_close
from tests.examples import examples
from tests.nn import flop_truth, saved_truth
from tests.strategies import altup_specs

ATTENTION = {"arms": [{"name": "attn", "part": {"kind": "gqa", "n_heads": 2}}], "norm_in": {"kind": "rmsnorm"}}
THREE = {"kind": "altup", "n_streams": 3}
LATER = {"arms": [{"name": "ffn", "part": {"kind": "gated", "d_ff": 12}}], "joins": "later_streams"}


def document(*branches: dict[str, Any], streams: dict[str, Any] | None, **stack: Any) -> dict[str, Any]:
    runs = [{"count": 2, "pattern": [{"branches": list(branches or (ATTENTION, LATER))}]}]
    whole = {"runs": runs, "streams": streams, "final_norm": {"kind": "rmsnorm"}} | stack
    return {"name": "streams", "vocab_size": 31, "n_ctx": 16, "d_model": 8, "decoder": whole}


@examples(12)
@given(spec=altup_specs(), recompute=st.sampled_from(("none", "full")), dtype=st.sampled_from(("fp32", "bf16")))
def test_modules_and_ledger_agree(spec: Spec, recompute: Any, dtype: Any) -> None:
    assert all(comparison.is_equal for comparison in verify(spec))
    work = workload(spec, batch=2, seq=5)
    ours = flops.summary(build(spec), work)
    assert ours["forward"] == flop_truth.prefill(spec, 2, 5).total
    assert ours["backward"] == flop_truth.backward(spec, 2, 5).total
    execution = Execution(dtype=dtype, recompute=recompute)
    saved = sum(tensor.bytes for tensor in saved_tensors(build(spec, execution), work, execution))
    assert saved == sum(tensor.nbytes for tensor in saved_truth.kept(spec, work, execution))


@examples(6)
@given(spec=altup_specs())
def test_a_cache_changes_nothing_and_sites_have_their_shapes(spec: Spec) -> None:
    model = build_module(spec, "cpu").eval()
    ids = torch.arange(14).view(2, 7) % spec.vocab_size
    found = taps.record(model, ids)
    shapes = {site.name: site.shape(workload(spec, batch=2, seq=7)) for site in sites(spec)}
    assert {name: tuple(value.shape) for name, value in found.items()} == shapes
    cache = model.new_cache(2, 7)
    assert_close(torch.cat([model(step, cache=cache) for step in ids.split((3, 1, 3), 1)], 1), found.logits)


@pytest.mark.parametrize(
    ("branches", "more", "error"),
    [
        ((), {"streams": None}, r"branches\[1\]\.joins: the stack has one stream; allowed: stream$"),
        ((), {"streams": {"kind": "altup", "n_streams": 1}}, r"streams\.n_streams: found 1; allowed: 2 or more$"),
        (
            (),
            {"streams": THREE | {"active": 3}},
            r"streams\.active: found 3; allowed: 0 to 2$",
        ),
        ((), {"streams": THREE, "n_mtp": 1}, r"streams: modules of multi-token prediction"),
        ((LATER,), {"streams": THREE}, r"pattern\[0\]: no branch joins the stream"),
        (
            (ATTENTION, LATER | {"skip": 0.5}),
            {"streams": THREE},
            r"branches\[1\]\.skip: a branch that joins",
        ),
    ],
)
def test_what_streams_cannot_be(branches: tuple[dict[str, Any], ...], more: dict[str, Any], error: str) -> None:
    with pytest.raises(InputError, match=error):
        decode(document(*branches, **more))
