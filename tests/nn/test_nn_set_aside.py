"""A stream that is set aside now and then: ledger and modules agree, a cache changes nothing, sums are as stated."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from archcalc.errors import InputError
from archcalc.nn.set_aside import StreamQueries
from archcalc.spec import Spec
from archcalc.spec.document import decode
from archcalc.spec.execution import Execution
from archcalc.spec.streams import SetAside
from tests.examples import examples
from tests.nn.test_nn_altup import ATTENTION, LATER, document
from tests.nn.two_readings import check_counts, check_padding, check_sites_and_cache
from tests.strategies import set_aside_specs

STREAMS: dict[str, Any] = {"kind": "set_aside", "n_block": 2}
FFN = {"arms": LATER["arms"], "norm_in": {"kind": "rmsnorm"}}


@examples(12)
@given(spec=set_aside_specs(), recompute=st.sampled_from(("none", "full")), dtype=st.sampled_from(("fp32", "bf16")))
def test_modules_and_ledger_agree(spec: Spec, recompute: Any, dtype: Any) -> None:
    check_counts(spec, Execution(dtype=dtype, recompute=recompute))


@examples(6)
@given(spec=set_aside_specs())
def test_neither_a_cache_nor_padding_changes_anything(spec: Spec) -> None:
    check_sites_and_cache(spec)
    check_padding(spec)


@torch.no_grad()
def test_a_sum_is_scaled_dot_product_attention() -> None:
    """Each token's streams are the keys and values of each query."""
    torch.manual_seed(4)
    queries, x_BTJD = StreamQueries(SetAside(eps=1e-3), 6, 3), torch.randn(2, 5, 4, 6)
    queries.query.normal_()
    normed = torch.nn.functional.rms_norm(x_BTJD, (6,), eps=1e-3)
    expected = torch.nn.functional.scaled_dot_product_attention(queries.query.expand(2, 5, -1, -1), normed, normed)
    for found, of_query in zip(queries.sums(x_BTJD), expected.unbind(2), strict=True):
        torch.testing.assert_close(found, of_query)


def test_streams_are_counted_by_place() -> None:
    part = SetAside(n_block=3)
    assert [part.n_before(layer) for layer in range(8)] == [1, 2, 2, 2, 3, 3, 3, 4]
    assert [layer for layer in range(8) if part.begins(layer)] == [0, 3, 6]


SHORT = {"attention": ATTENTION["arms"][0]["part"], "norm": {"kind": "rmsnorm"}}


@pytest.mark.parametrize(
    ("run", "error"),
    [
        ([{"branches": [ATTENTION, LATER]}, {}], r"branches\[1\]\.joins: a branch is added to the newest stream"),
        ([SHORT | {"skip": 0.5}, {}], r"pattern\[0\]\.skip: a stream that is set aside has none; expected no value$"),
        ([SHORT | {"placement": "post"}, {}], r"placement: a stream that is set aside has no norm after the sum"),
        ([SHORT, {"share_weights": True}], r"runs\[0\]\.share_weights: a layer's place decides which streams it reads"),
        (
            [SHORT, {"pattern": [SHORT, SHORT | {"shares": {"weights": 0}}]}],
            r"shares\.weights: a layer's place decides",
        ),
        (
            [{"branches": [FFN | {"splits_input": True}]}, {}],
            r"splits_input: the branch has no queries, keys and values of its own to split; expected false, or",
        ),
        (
            [{"branches": [{"arms": ATTENTION["arms"], "splits_input": True}]}, {}],
            r"splits_input: the branch has no norm",
        ),
        (
            [{"branches": [ATTENTION | {"norm_in": {"kind": "rmsnorm"}, "splits_input": True, "in_gate_rank": 2}]}, {}],
            r"splits_input: its attention reads more than the normed states",
        ),
    ],
)
def test_what_cannot_be(run: list[Any], error: str) -> None:
    layer, more = run
    whole = document(streams=STREAMS)
    whole["decoder"]["runs"] = [{"count": 2, "pattern": [layer]} | more]
    with pytest.raises(InputError, match=error):
        decode(whole)
