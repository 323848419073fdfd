"""Routers with states, and attention whose queries and keys are convolved: ledger and modules agree."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archcalc.errors import InputError
from archcalc.interp.trace.run import trace
from archcalc.spec import Spec
from archcalc.spec.document import decode
from archcalc.spec.execution import Execution
from archcalc.spec.sites import sites
from tests.examples import examples
from tests.nn.two_readings import check_counts, check_padding, check_sites_and_cache, randomized
from tests.strategies import router_specs


@examples(12)
@given(spec=router_specs(), recompute=st.sampled_from(("none", "full")), dtype=st.sampled_from(("fp32", "bf16")))
def test_modules_and_ledger_agree(spec: Spec, recompute: Any, dtype: Any) -> None:
    check_counts(spec, Execution(dtype=dtype, recompute=recompute))


@examples(10)
@given(spec=router_specs())
def test_padding_changes_nothing_and_a_cache_neither(spec: Spec) -> None:
    check_padding(spec)
    check_sites_and_cache(spec)


@examples(5)
@given(spec=router_specs())
def test_a_trace_has_every_step(spec: Spec) -> None:
    found = trace(randomized(spec), [1, 2, 3])
    assert {site.name for site in sites(spec)} <= {traced.step.name for traced in found.steps}


ROUTER = {"d_router": 3}
MOE = {"kind": "moe", "n_experts": 3, "n_active": 1, "d_expert": 4}
CCA = {"kind": "cca", "n_heads": 2}
NORM = {"kind": "rmsnorm"}
RUN = "decoder.runs[0].pattern"


def layer(**fields: Any) -> dict[str, Any]:
    return {"norm": NORM, "attention": CCA, "ffn": MOE | {"router_mlp": ROUTER}} | fields


def mixture(**router: Any) -> dict[str, Any]:
    return layer(ffn=MOE | {"router_mlp": ROUTER | router})


TWO = [{"norm_in": NORM, "arms": [{"name": name, "part": MOE | {"router_mlp": ROUTER}} for name in ("ffn", "experts")]}]


@pytest.mark.parametrize(
    ("pattern", "stack", "error"),
    [
        ([layer(attention=CCA | {"n_heads": 3, "n_kv_heads": 2})], {}, f"{RUN}[0].attention.n_kv_heads: 2 does not"),
        ([layer(attention=CCA | {"n_heads": 1, "d_head": 3})], {}, f"{RUN}[0].attention.d_before: half of 3 values"),
        ([layer(attention=CCA | {"d_before": 8})], {}, f"{RUN}[0].attention.d_before: 8 of 8 values; expected 1 to 7"),
        (
            [layer(attention=CCA | {"position": {"kind": "rope", "values": True}})],
            {},
            f"{RUN}[0].attention.position.values: compressed convolutional attention does not support it",
        ),
        ([layer(skip_bias=True)], {}, f"{RUN}[0].skip_bias: there is no skip_weight; expected skip_weight: true"),
        ([mixture(adds_previous=True)], {}, f"{RUN}[0].ffn.router_mlp.adds_previous: no earlier layer has a router"),
        ([mixture(), mixture(d_router=4)], {}, f"{RUN}[1].ffn.router_mlp: the routers of a stack differ in more"),
        ([{"branches": TWO}], {}, f"{RUN}[0].branches[0].arms[1].part.router_mlp: another router of the layer"),
        ([mixture(), mixture(adds_previous=True)], {"n_mtp": 1}, "decoder.n_mtp: its layers are copies of the last"),
        ([mixture(), mixture(adds_previous=True) | {"detached": True}], {}, "decoder.detached: routers add states of"),
        ([layer(ffn=MOE | {"zero_returns": "nothing"})], {}, f"{RUN}[0].ffn.zero_returns: there are no experts"),
    ],
)
def test_what_cannot_be(pattern: list[Any], stack: dict[str, Any], error: str) -> None:
    runs = [{"count": len(pattern), "pattern": pattern}]
    document = {"name": "own", "vocab_size": 31, "n_ctx": 16, "d_model": 8, "decoder": {"runs": runs} | stack}
    with pytest.raises(InputError) as caught:
        decode(document)
    assert str(caught.value).startswith(error)
