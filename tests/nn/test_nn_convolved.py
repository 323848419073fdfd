"""Attention with convolutions, and projections in groups: ledger and modules agree; padding changes nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from archcalc.errors import InputError
from archcalc.interp.trace.run import trace
from archcalc.nn.linear import GroupedLinear, Linear, dense_weight
from archcalc.spec import Spec
from archcalc.spec.document import decode
from archcalc.spec.execution import Execution
from archcalc.spec.sites import sites
from tests.checkpoint.test_logits import assert_close
from tests.examples import examples
from tests.nn.two_readings import check_counts, check_padding, randomized
from tests.strategies import convolved_specs


@examples(25)
@given(spec=convolved_specs(), recompute=st.sampled_from(("none", "full")), dtype=st.sampled_from(("fp32", "bf16")))
def test_modules_and_ledger_agree(spec: Spec, recompute: Any, dtype: Any) -> None:
    check_counts(spec, Execution(dtype=dtype, recompute=recompute))


@examples(10)
@given(spec=convolved_specs())
def test_padding_changes_nothing_and_sites_have_their_shapes(spec: Spec) -> None:
    check_padding(spec)


@pytest.mark.parametrize("field", ["d_value_conv", "d_span_conv"])
def test_an_even_number_of_tokens_has_no_middle(field: str) -> None:
    attention = {"kind": "convolved", "n_heads": 2, field: 4}
    with pytest.raises(InputError, match=rf"attention\.{field}: found 4; expected an odd number$"):
        decode(document(attention=attention))


def document(**layer: Any) -> dict[str, Any]:
    runs = [{"count": 1, "pattern": [{"norm": {"kind": "rmsnorm"}} | layer]}]
    return {"name": "own", "vocab_size": 31, "n_ctx": 16, "d_model": 8, "encoder": {"runs": runs}}


@pytest.mark.parametrize(
    ("layer", "error"),
    [
        ({"attention": {"kind": "convolved", "n_heads": 2, "n_hashes": 3, "scale": 2.0}}, r"scale: angles are not"),
        (
            {"attention": {"kind": "gqa", "n_heads": 2, "q_block": 3}},
            r"q_block: groups of 3 channels do not divide 8 →",
        ),
        (
            {"attention": {"kind": "gqa", "n_heads": 1, "d_head": 6, "k_block": 2}},
            r"k_block: groups of 2 channels do not divide 8 → 6; expected a divisor of the width",
        ),
        ({"ffn": {"kind": "plain", "activation": "relu", "d_ff": 6, "down_block": 4}}, r"down_block: groups of 4"),
    ],
)
def test_what_cannot_be(layer: dict[str, Any], error: str) -> None:
    with pytest.raises(InputError, match=error):
        decode(document(**layer))


def test_a_grouped_projection_is_torchs_convolution() -> None:
    grouped, x = GroupedLinear(6, 4, bias=True), torch.randn(2, 5, 12)
    torch.nn.init.normal_(grouped.weight)
    torch.nn.init.normal_(grouped.bias)
    expected = torch.nn.functional.conv1d(x.transpose(1, 2), grouped.weight, grouped.bias, groups=3).transpose(1, 2)
    assert_close(grouped(x), expected)
    assert_close(x @ dense_weight(grouped, 12).T + grouped.bias, expected)
    plain = Linear(3, 4)
    assert dense_weight(plain, 3) is plain.weight


@examples(5)
@given(spec=convolved_specs())
def test_a_trace_has_every_step(spec: Spec) -> None:
    found = trace(randomized(spec), [1, 2, 3])
    assert {site.name for site in sites(spec)} <= {traced.step.name for traced in found.steps}
