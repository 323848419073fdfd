"""Several residual streams: ledger and modules agree, a cache changes nothing, and contradictions are refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archcalc.errors import InputError
from archcalc.spec import Spec
from archcalc.spec.document import decode
from archcalc.spec.execution import Execution
from tests.examples import examples
from tests.nn.two_readings import check_counts, check_sites_and_cache
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
    check_counts(spec, Execution(dtype=dtype, recompute=recompute))


@examples(6)
@given(spec=altup_specs())
def test_a_cache_changes_nothing_and_sites_have_their_shapes(spec: Spec) -> None:
    check_sites_and_cache(spec)


@pytest.mark.parametrize(
    ("branches", "more", "error"),
    [
        ((), {"streams": None}, r"branches\[1\]\.joins: the stack has one stream; expected stream$"),
        ((), {"streams": {"kind": "altup", "n_streams": 1}}, r"streams\.n_streams: found 1; expected 2 or more$"),
        (
            (),
            {"streams": THREE | {"active": 3}},
            r"streams\.active: found 3; expected 0 to 2$",
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
