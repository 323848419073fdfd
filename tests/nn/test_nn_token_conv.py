"""What each token decides in Inkling 2's attention: weights of convolutions, sinks, lengths that are clipped."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from archcalc.errors import InputError
from archcalc.nn.length_clip import clipped_length
from archcalc.nn.token_conv import TokenConv
from archcalc.spec import Spec
from archcalc.spec.document import decode
from archcalc.spec.execution import Execution
from tests.examples import examples
from tests.nn.two_readings import check_counts, check_padding, check_sites_and_cache

CONTENT = {"kind": "content", "d_rel": 2, "n_distances": 3}


def document(**attention: Any) -> dict[str, Any]:
    own = {"kind": "gqa", "n_heads": 4, "n_kv_heads": 2, "d_head": 3} | attention
    layer = {"norm": {"kind": "rmsnorm"}, "attention": own}
    decoder = {"runs": [{"count": 2, "pattern": [layer]}]}
    return {"name": "own", "vocab_size": 31, "n_ctx": 16, "d_model": 5, "decoder": decoder}


@st.composite
def specs(draw: st.DrawFn) -> Spec:
    own = {"d_conv": draw(st.integers(1, 4)), "conv_by_token": draw(st.booleans()), "conv_scale": 0.5}
    own |= {"d_value": draw(st.sampled_from((None, 5))), "window": draw(st.sampled_from((None, 2)))}
    clips = {"qk_clip": draw(st.sampled_from((None, 0.3))), "temperature": {"kind": "late", "factor": 2, "n_tokens": 2}}
    content = draw(st.sampled_from((None, CONTENT, CONTENT | {"clip": 0.2})))
    return decode(document(**own, **clips, position=content, token_sinks=draw(st.booleans())))


@examples(12)
@given(
    spec=specs(),
    recompute=st.sampled_from(("none", "selective", "full")),
    dtype=st.sampled_from(("fp32", "bf16")),
)
def test_modules_and_ledger_agree(spec: Spec, recompute: Any, dtype: Any) -> None:
    check_counts(spec, Execution(dtype=dtype, recompute=recompute))


@examples(6)
@given(spec=specs())
def test_neither_a_cache_nor_padding_changes_anything(spec: Spec) -> None:
    check_sites_and_cache(spec)
    check_padding(spec)


@torch.no_grad()
def test_a_convolution_by_token_is_a_sum_over_the_last_tokens() -> None:
    torch.manual_seed(1)
    conv, x_BTC, read_BTD = TokenConv(2, 6, 3, 4), torch.randn(1, 5, 6), torch.randn(1, 5, 4)
    for weight in conv.parameters():
        torch.nn.init.normal_(weight)
    y_BTC, recent_BCW = conv(x_BTC, None, read_BTD)
    for t in range(5):
        for c in range(6):
            head = [float(read_BTD[0, t] @ conv.numbers.weight[c // 3 * 3 + w]) for w in range(3)]
            terms = [(float(conv.kernel[w, c]) + head[w]) * float(x_BTC[0, t - w, c]) for w in range(min(3, t + 1))]
            assert float(y_BTC[0, t, c]) == pytest.approx(sum(terms), abs=1e-5)
    assert torch.equal(recent_BCW, x_BTC[:, -2:].transpose(1, 2))


def test_longer_vectors_alone_are_shortened() -> None:
    x = torch.tensor([[3.0, 4.0], [0.3, 0.4]])
    torch.testing.assert_close(clipped_length(x, 2.0), torch.tensor([[1.2, 1.6], [0.3, 0.4]]))
    torch.testing.assert_close(clipped_length(x, 2.0, torch.tensor([10.0, 0.0]))[:, 0], torch.tensor([2.0, 2.0]))


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"conv_by_token": True}, r"conv_by_token: keys and values are not convolved; expected no value, or a d_conv$"),
        ({"conv_scale": 0.5}, r"conv_scale: keys and values are not convolved"),
        ({"sinks": True, "token_sinks": True}, r"token_sinks: a head has one sink; expected false, or no sinks$"),
    ],
)
def test_what_cannot_be(fields: dict[str, Any], error: str) -> None:
    with pytest.raises(InputError, match=error):
        decode(document(**fields))
