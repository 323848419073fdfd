"""Layers with a bottleneck, neighbors and columns of a head: ledger and modules agree; what cannot be is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from archcalc.errors import InputError
from archcalc.interp.trace.run import trace
from archcalc.nn import taps
from archcalc.spec import Spec
from archcalc.spec.document import decode
from archcalc.spec.execution import Execution
from archcalc.spec.sites import sites
from tests.checkpoint.test_logits import assert_close
from tests.examples import examples
from tests.nn.two_readings import check_counts, check_padding, randomized
from tests.strategies import bottleneck_specs

NORM = {"kind": "affine"}
ATTENTION = {"kind": "gqa", "n_heads": 2}
LAYER: dict[str, Any] = {
    "bottleneck": {"d_bottleneck": 6, "norm": NORM, "keys": "own"},
    "norm": NORM,
    "placement": "post",
    "attention": ATTENTION,
    "ffn": {"kind": "plain", "d_ff": 12, "activation": "relu"},
}


def document(layer: dict[str, Any] | None = None, role: str = "encoder", **stack: Any) -> dict[str, Any]:
    runs = [{"count": 2, "pattern": [LAYER | (layer or {})]}]
    return {"name": "x", "vocab_size": 31, "n_ctx": 16, "d_model": 8, role: {"runs": runs, **stack}, "head": None}


@examples(8)
@given(
    spec=bottleneck_specs(),
    recompute=st.sampled_from(("none", "full")),
    dtype=st.sampled_from(("fp32", "bf16")),
    dropout=st.booleans(),
)
def test_modules_and_ledger_agree(spec: Spec, recompute: Any, dtype: Any, dropout: bool) -> None:
    check_counts(spec, Execution(dtype=dtype, recompute=recompute, dropout=dropout))


@examples(10)
@given(spec=bottleneck_specs())
def test_padding_changes_nothing_and_sites_have_their_shapes(spec: Spec) -> None:
    check_padding(spec)
    named = {one.step.name for one in trace(randomized(spec), [1, 2, 3]).steps}
    assert {site.name for site in sites(spec)} <= named


def test_neighbors_and_split_inputs_are_those_of_the_paper() -> None:
    """A token reads the next token's row, its own and that before it; values read what keys do not."""
    spec = decode(document() | {"embedding": {"factor": {"d_embed": 3, "n_neighbors": 1}}})
    model, ids = randomized(spec), torch.tensor([[4, 9, 2]])
    rows = torch.cat((torch.zeros(1, 3), model.embed.tokens.weight[ids[0]], torch.zeros(1, 3)))
    found = taps.record(model, ids)
    wanted = torch.cat((rows[2:], rows[1:-1], rows[:-2]), -1) @ model.embed.project.weight.T
    assert_close(found["embed"][0], wanted)
    block, x = model.layers["0"], found["layers.0.resid_pre"]
    keys = block.bottleneck.keys_norm(block.bottleneck.keys(x))
    assert_close(found["layers.0.narrow_keys"], keys)
    assert_close(found["layers.0.attn.k"].transpose(1, 2).flatten(2), block.attn.k(keys))
    assert_close(found["layers.0.attn.v"].transpose(1, 2).flatten(2), block.attn.v(x))


BARE = {"bottleneck": {"d_bottleneck": 6}}


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (document(role="decoder"), r"decoder.runs\[0\].pattern\[0\].bottleneck: a decoder's layers"),
        (document({"placement": "pre"}), "bottleneck.keys: the first branch does not read the stream as it is"),
        (document({"attention": None}), "bottleneck.keys: the first branch has no queries, keys and values"),
        (document(BARE | {"out_scalar": True}), "bottleneck: is stated together with out_scalar"),
        (document(global_tokens={"n_tokens": 2}), "bottleneck|global_tokens"),
        (document(prompts={"n_prompt": 2, "d_prompt": 2}), "bottleneck: is stated together with prompts|prompts"),
        (document(BARE | {"attention": ATTENTION | {"d_value_source": 8}}), "d_value_source: found 8; expected null"),
        (
            document(BARE | {"attention": ATTENTION | {"position": {"kind": "disentangled", "n_distances": 4}}}),
            "bottleneck: relative positions are as wide as the stream",
        ),
        (document() | {"head": {"own_columns": True}}, "head.own_columns: the matrix is 8 wide, the states 8"),
        (
            document() | {"embedding": {"factor": {"d_embed": 3, "n_neighbors": 1, "widen": "after_positions"}}},
            "embedding.factor.n_neighbors: the projection reads rows with positions",
        ),
        (
            document({"bottleneck": None}, "decoder") | {"embedding": {"factor": {"d_embed": 3, "n_neighbors": 1}}},
            "embedding.factor.n_neighbors: a decoder does not read the whole text",
        ),
    ],
)
def test_what_a_bottleneck_cannot_be(wrong: dict[str, Any], error: str) -> None:
    with pytest.raises(InputError, match=error):
        decode(wrong)
