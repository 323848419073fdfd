"""Hyper-connections: ledger and modules agree, a cache changes nothing, streams are mixed as the papers say."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from archcalc.errors import InputError
from archcalc.nn.build import build as build_module
from archcalc.nn.hyper import balanced
from archcalc.spec import Spec
from archcalc.spec.document import decode
from archcalc.spec.execution import Execution
from tests.examples import examples
from tests.nn.test_nn_altup import ATTENTION, LATER, document
from tests.nn.two_readings import check_counts, check_sites_and_cache
from tests.strategies import hyper_specs

HYPER: dict[str, Any] = {"kind": "hyper", "n_streams": 3}
FFN = {"arms": LATER["arms"], "norm_in": {"kind": "rmsnorm"}}


@examples(12)
@given(spec=hyper_specs(), recompute=st.sampled_from(("none", "full")), dtype=st.sampled_from(("fp32", "bf16")))
def test_modules_and_ledger_agree(spec: Spec, recompute: Any, dtype: Any) -> None:
    check_counts(spec, Execution(dtype=dtype, recompute=recompute))


@examples(6)
@given(spec=hyper_specs())
def test_a_cache_changes_nothing_and_sites_have_their_shapes(spec: Spec) -> None:
    check_sites_and_cache(spec)


def test_one_stream_with_weights_of_one_is_a_residual_stream() -> None:
    """A read weight of σ(0) + ½ and a write weight of 2·σ(0), as the papers begin."""
    plain = decode(document(ATTENTION, FFN, streams=None) | {"head": {"tied": True}})
    streams = {"kind": "hyper", "n_streams": 1, "eps": 0.5, "mix": {"n_turns": 3}}
    hyper = decode(document(ATTENTION, FFN, streams=streams) | {"head": {"tied": True}})
    torch.manual_seed(5)
    first = build_module(plain, "cpu").eval()
    weights = first.state_dict()
    second = build_module(hyper, "cpu").eval()
    own = {name: torch.zeros_like(value) for name, value in second.state_dict().items() if name not in weights}
    assert sorted({name.rpartition(".")[2] for name in own}) == ["bias", "projection", "scale"]
    second.load_state_dict(weights | own)
    ids = torch.arange(5)[None]
    # The one weight of the mix is (1 + ½) / (1 + ½ + ½) at first, then w / (w + ½) twice each turn.
    mix = balanced(torch.zeros(1, 1, 1, 1), 3, 0.5)
    w = 1.5
    for _ in range(5):
        w = w / (w + 0.5)
    assert mix.item() == pytest.approx(w)
    with torch.no_grad():
        for connections in second.layers.values():
            connections.streams.attn.part = connections.streams.ffn.part = decode(
                document(ATTENTION, FFN, streams={"kind": "hyper", "n_streams": 1, "eps": 0.5})
            ).decoder.streams
        torch.testing.assert_close(second(ids), first(ids))


def test_rows_and_columns_of_a_mix_sum_to_one() -> None:
    torch.manual_seed(2)
    mix = balanced(torch.randn(2, 3, 4, 4, dtype=torch.double), 60, 1e-9)
    torch.testing.assert_close(mix.sum(-1), torch.ones(2, 3, 4, dtype=torch.double), atol=1e-6, rtol=0)
    torch.testing.assert_close(mix.sum(-2), torch.ones(2, 3, 4, dtype=torch.double), atol=1e-6, rtol=0)


SHORT = {"attention": ATTENTION["arms"][0]["part"], "norm": {"kind": "rmsnorm"}}


@pytest.mark.parametrize(
    ("layer", "more", "error"),
    [
        ({"branches": [ATTENTION, LATER]}, {}, r"branches\[1\]\.joins: hyper-connections write all streams"),
        ({"branches": [ATTENTION | {"skip": 0.5}]}, {}, r"branches\[0\]\.skip: hyper-connections have none"),
        (SHORT | {"skip": 0.5}, {}, r"pattern\[0\]\.skip: hyper-connections have none; expected no value$"),
        (
            SHORT | {"placement": "post"},
            {},
            r"pattern\[0\]\.placement: hyper-connections have no norm after the sum; expected pre, sandwich, output",
        ),
        (SHORT, {"n_mtp": 1}, r"streams: modules of multi-token prediction"),
    ],
)
def test_what_hyper_connections_cannot_be(layer: dict[str, Any], more: dict[str, Any], error: str) -> None:
    whole = document(streams=HYPER, **more)
    whole["decoder"]["runs"] = [{"count": 2, "pattern": [layer]}]
    with pytest.raises(InputError, match=error):
        decode(whole)
