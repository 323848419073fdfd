"""Global tokens of a stack: ledger and modules agree, sites have their shapes, and contradictions are refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from archcalc import inside
from archcalc.analysis import flops
from archcalc.errors import InputError
from archcalc.ledger.build import build
from archcalc.nn import taps
from archcalc.nn.build import build as build_module
from archcalc.spec import Spec
from archcalc.spec.document import decode
from archcalc.spec.execution import Execution
from archcalc.spec.workload import workload
from tests.examples import examples
from tests.nn.two_readings import check_counts, check_shapes
from tests.strategies import global_token_specs

NORM = {"kind": "rmsnorm"}
BLOCKS = {"kind": "sparse", "n_heads": 2, "pattern": {"kind": "local_blocks", "n_block": 4}}
FFN = {"kind": "gated", "d_ff": 12}


def document(
    attention: dict[str, Any] | None = BLOCKS, role: str = "encoder", tokens: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    runs = [{"count": 2, "pattern": [{"norm": NORM, "attention": attention, "ffn": FFN}]}]
    stack = {"runs": runs, "global_tokens": {"n_tokens": 3} | (tokens or {})} | more
    return {"name": "x", "vocab_size": 31, "n_ctx": 16, "d_model": 8, role: stack, "head": {"tied": True}}


@examples(12)
@given(spec=global_token_specs(), recompute=st.sampled_from(("none", "full")), dtype=st.sampled_from(("fp32", "bf16")))
def test_modules_and_ledger_agree(spec: Spec, recompute: Any, dtype: Any) -> None:
    check_counts(spec, Execution(dtype=dtype, recompute=recompute))


@examples(6)
@given(spec=global_token_specs(is_alone=True))
def test_sites_have_their_shapes_and_positions(spec: Spec) -> None:
    model = build_module(spec, "cpu").eval()
    found = taps.record(model, torch.arange(14).view(2, 7) % spec.vocab_size)
    check_shapes(spec, found, batch=2, seq=7)
    n = spec.encoder.global_tokens.n_tokens
    assert found.positions("layers.0.resid_pre").tolist() == [*range(7), *[-1] * n]
    assert found.key_positions("layers.0.attn.pattern").tolist() == [*range(7), *[-1] * n]


@pytest.mark.parametrize("staggered", [False, True])
@pytest.mark.parametrize(("n_block", "length"), [(4, 11), (5, 11), (3, 2), (30, 9)])
def test_attended_pairs_are_those_of_the_mask(n_block: int, length: int, staggered: bool) -> None:
    pattern = {"kind": "local_blocks", "n_block": n_block, "staggered": staggered}
    spec = decode(document(BLOCKS | {"pattern": pattern}))
    model: Any = build_module(spec, "cpu").eval()
    recording = taps.record(model, torch.arange(length).unsqueeze(0), sites="layers.0.attn.scores")
    n_seen = int((~recording["layers.0.attn.scores"][0, 0].isneginf()).sum())
    found = flops.summary(build(spec), workload(spec, seq=length))
    products = 2 * 2 * 8 * 2  # queries with keys and weights with values, in two layers
    assert found["forward"] - found["forward_causal"] == products * ((length + 3) ** 2 - n_seen)


def test_padding_changes_nothing_and_global_tokens_see_the_text() -> None:
    spec = decode(document(tokens={"own_norm": True}))
    model: Any = build_module(spec, "cpu").eval()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    alone, padded = torch.tensor([[3, 4, 5, 6, 7]]), torch.tensor([[3, 4, 5, 6, 7, 0, 0]])
    wanted = model(alone)
    torch.testing.assert_close(model(padded, padding_BT=padded == 0)[:, :5], wanted)
    other = model(torch.tensor([[3, 4, 5, 6, 8]]))
    assert (other[:, :4] - wanted[:, :4]).abs().max() > 1e-4  # another block, read through global tokens


def test_attention_of_all_tokens_and_what_is_refused() -> None:
    model = build_module(decode(document()), "cpu").eval()
    reading = inside.attention(model, [1, 2, 3, 4, 5], with_kinds=True)
    pattern = reading.patterns["layers.0.attn"]
    assert pattern.shape == (2, 8, 8)
    torch.testing.assert_close(pattern.sum(-1), torch.ones(2, 8))
    distance = reading.distance("layers.0.attn")
    assert distance is not None
    assert distance.shape == (2, 5)
    assert reading.arms["layers.0.attn"].query_names("abcde") == ("a", "b", "c", "d", "e", "G 0", "G 1", "G 2")
    with pytest.raises(InputError, match="global_tokens: the layers have 3 global tokens; expected null; `trace`"):
        inside.patch(model, [1, 2, 3], [1, 4, 3])


@torch.no_grad()
def test_lens_and_attribution_read_the_tokens_of_a_text() -> None:
    model: Any = build_module(decode(document(tokens={"own_norm": True})), "cpu").eval()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    text = [1, 2, 3, 4, 5]
    wanted = model(torch.tensor([text]))[0]
    read = inside.lens(model, text, positions="all")
    torch.testing.assert_close(read.logits(read.sites[-1]), wanted)
    last = read.states[-1]
    torch.testing.assert_close(model.head(model.apply_final_norm(last), model.embed.tokens.weight), wanted)
    found = inside.attribute(model, text, position=1, token=2, against=0)
    scale = sum(abs(one.value) for one in found.contributions)
    total = sum(one.value for one in found.contributions)
    assert total == pytest.approx(float(wanted[1, 2] - wanted[1, 0]), abs=1e-5 * scale)
    assert found.edges["layers.0.attn"].shape == (2, 8)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (document({"kind": "gqa", "n_heads": 2}, "decoder"), "decoder.global_tokens: a text in the making has none"),
        (document({"kind": "gqa", "n_heads": 2}), "encoder.global_tokens: a layer does not tell them from the text's"),
        (document(None), "encoder.global_tokens: no layer reads them"),
        (document(per_layer={"d_per_layer": 3}), "encoder.(global_tokens|per_layer)"),
    ],
)
def test_what_global_tokens_cannot_be(wrong: dict[str, Any], error: str) -> None:
    with pytest.raises(InputError, match=error):
        decode(wrong)
