"""Layers that share: against one written by hand, through caches, and however their gradients are computed."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from archcalc.nn import build, taps
from archcalc.nn.execution import set_execution
from archcalc.run.pack import pack
from archcalc.run.pack.prefill import Prefill
from archcalc.spec import Spec
from archcalc.spec.execution import Execution
from archcalc.spec.workload import workload
from tests.examples import examples
from tests.nn.test_nn_cache import cached, drawn, filled, inputs, new_cache
from tests.spec.test_shares import FFN, LAYER, RMS, WINDOW, of, reading
from tests.strategies import specs
from tests.test_activations import measured, stated

PLAIN = {"norm": RMS, "attention": {"kind": "gqa", "n_heads": 4, "n_kv_heads": 2, "d_head": 3}}
MANY = {"norm": RMS, "attention": {"kind": "gqa", "n_heads": 4, "d_head": 3}}
EVERY = {
    "keys and values": of(WINDOW, LAYER, reading(WINDOW, 0), reading(LAYER, 1, n_heads=2), reading(WINDOW, 0)),
    "one for each head": of(MANY, reading(MANY, 0)),
    "weights": of(LAYER, {"norm": RMS, "ffn": FFN}, LAYER | {"shares": {"weights": 0}}),
    "both": of(LAYER, reading(LAYER, 0), LAYER | {"shares": {"weights": 1, "keys_values": 0}}),
}
shared = pytest.mark.parametrize("spec", EVERY.values(), ids=EVERY)


def sharing(spec: Spec) -> bool:
    return any(
        layer.shares for stack in (own.stack for own in spec.stacks) for run in stack.runs for layer in run.pattern
    )


def heads(x_TD: Tensor, weight: Tensor) -> Tensor:
    return (x_TD @ weight.T).view(len(x_TD), -1, 3).transpose(0, 1)


def rms(x_TD: Tensor, weight: Tensor) -> Tensor:
    return F.rms_norm(x_TD, (x_TD.shape[-1],), weight, 1e-6)


def attended(q_NTH: Tensor, k_KTH: Tensor, v_KTH: Tensor) -> Tensor:
    k_NTH, v_NTH = (x.repeat_interleave(len(q_NTH) // len(k_KTH), 0) for x in (k_KTH, v_KTH))
    scores = (q_NTH @ k_NTH.transpose(1, 2) / 3**0.5).masked_fill(torch.ones(7, 7).triu(1).bool(), -torch.inf)
    return (scores.softmax(-1) @ v_NTH).transpose(0, 1).flatten(1)


def test_two_layers_by_hand() -> None:
    """The second layer's queries, of its own states, meet the keys and values that the first made of its own."""
    model = filled(build(of(PLAIN, reading(PLAIN, 0)), "cpu"))
    weights = {name: weight.detach() for name, weight in model.named_parameters()}
    ids = torch.arange(7)
    x = weights["embed.tokens.weight"][ids]
    for turn in (0, 1):
        own = {name.removeprefix(f"layers.{turn}."): weight for name, weight in weights.items()}
        read = rms(x, own["attn_norm.weight"])
        if turn == 0:
            k, v = (heads(read, own[f"attn.{name}.weight"]) for name in "kv")
        x = x + attended(heads(read, own["attn.q.weight"]), k, v) @ own["attn.out.weight"].T
    logits = x @ weights["head.weight"].T
    torch.testing.assert_close(model(ids.unsqueeze(0))[0], logits, rtol=1e-5, atol=1e-5)


def test_a_block_that_stands_twice_by_hand() -> None:
    """The same as two equal blocks."""
    model = filled(build(EVERY["weights"], "cpu"))
    other = build(of(LAYER, {"norm": RMS, "ffn": FFN}, LAYER), "cpu").eval()
    own = model.state_dict()
    other.load_state_dict(own | {name.replace("layers.0.", "layers.2."): x for name, x in own.items()})
    ids = torch.randint(23, (2, 9))
    assert torch.equal(model(ids), other(ids))


@shared
@pytest.mark.parametrize("chunks", [[9], [4, 1, 4], [1] * 9], ids=str)
@pytest.mark.parametrize("attention", ["eager", "math", "flash"])
def test_caches(spec: Spec, chunks: list[int], attention: Any) -> None:
    model = filled(build(spec, "cpu", execution=Execution(attention=attention, device="cpu")))
    ids = torch.randint(23, (2, 9))
    cache = model.new_cache(2, 9)
    torch.testing.assert_close(cached(model, ids, [], cache, chunks), model(ids), rtol=1e-4, atol=1e-5)


def test_a_layer_that_reads_keeps_nothing() -> None:
    cache = filled(build(EVERY["keys and values"], "cpu")).new_cache(2, 9)
    assert [sorted(layer) for layer in cache.layers] == [["attn"], ["attn"], [], [], []]


def test_beams_reorder_what_is_lent() -> None:
    model = filled(build(EVERY["keys and values"], "cpu"))
    ids, rows = torch.randint(23, (3, 9)), torch.tensor([2, 0, 0])
    cache = model.new_cache(3, 9)
    model(ids[:, :6], cache=cache)
    cache.reorder(rows)
    again = torch.cat((ids[rows, :6], ids[:, 6:]), 1)
    torch.testing.assert_close(model(ids[:, 6:], cache=cache), model(again)[:, 6:], rtol=1e-4, atol=1e-5)


@shared
def test_padding_changes_nothing(spec: Spec) -> None:
    model = filled(build(spec, "cpu"))
    ids = torch.randint(23, (1, 7))
    padded = torch.cat((torch.zeros(1, 2, dtype=torch.long), ids), 1)
    padding = torch.arange(9).unsqueeze(0) < 2
    torch.testing.assert_close(model(padded, padding_BT=padding)[:, 2:], model(ids), rtol=1e-4, atol=1e-5)


@shared
@pytest.mark.parametrize("recompute", ["selective", "full"])
def test_recomputed_gradients_are_the_same(spec: Spec, recompute: Any) -> None:
    model = build(spec, "cpu", torch.float64)
    filled(model).train()
    ids = torch.randint(23, (2, 9))
    found = []
    for execution in (Execution(), Execution(recompute=recompute)):
        set_execution(model, execution)
        model.zero_grad()
        model(ids).square().mean().backward()
        found.append({name: weight.grad.clone() for name, weight in model.named_parameters()})
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient)
    assert all(gradient.abs().sum() > 0 for gradient in found[0].values())


@shared
@pytest.mark.parametrize("attention", ["eager", "math", "flash"])
@pytest.mark.parametrize("recompute", ["none", "selective", "full"])
def test_what_is_lent_is_kept_once(spec: Spec, attention: Any, recompute: Any) -> None:
    for dtype in ("fp32", "bf16"):
        execution = Execution(dtype=dtype, attention=attention, recompute=recompute, device="cpu")
        work = workload(spec, batch=2, seq=5)
        assert stated(spec, work, execution) == measured(spec, work, execution)


def test_keys_learn_from_the_layers_that_read_them() -> None:
    """Where the lender's own attention is shut, gradients come by way of the readers."""
    model = filled(build(of(PLAIN, reading(PLAIN, 0)), "cpu"))
    with torch.no_grad():
        model.get_submodule("layers.0.attn.out").weight.zero_()
    model(torch.randint(23, (2, 5))).square().mean().backward()
    assert model.get_submodule("layers.0.attn.k").weight.grad.abs().sum() > 0


def test_keys_that_are_edited_are_read_edited() -> None:
    model = filled(build(of(PLAIN, reading(PLAIN, 0)), "cpu"))
    ids = torch.randint(23, (1, 5))
    found = taps.record(model, ids)
    assert "layers.1.attn.k" not in found
    k_KSH, q_NTH = found["layers.0.attn.k"][0], found["layers.1.attn.q"][0]
    scores = q_NTH @ k_KSH.repeat_interleave(2, 0).transpose(1, 2) / 3**0.5
    seen = torch.ones(5, 5).tril().bool()
    torch.testing.assert_close(found["layers.1.attn.scores"][0][:, seen], scores[:, seen])


@shared
def test_packed(spec: Spec) -> None:
    model = filled(build(spec, "cpu"))
    ids = torch.randint(23, (2, 9))
    expected = model(ids).detach()
    packed = pack(model)
    cache = packed.new_cache(2, 9)
    found = [packed(ids[:, :5], cache=cache, n_logits=1)] + [
        packed(ids[:, t : t + 1], cache=cache) for t in range(5, 9)
    ]
    torch.testing.assert_close(torch.cat(found, 1), expected[:, 4:], rtol=1e-4, atol=1e-4)


def test_the_last_layers_short_way_may_read_what_is_lent() -> None:
    packed = pack(filled(build(EVERY["keys and values"], "cpu")))
    assert isinstance(packed.prefill, Prefill)
    assert packed.step is None


@examples(40)
@given(spec=specs(per_token=True).filter(sharing), data=st.data())
def test_any_spec_that_shares_through_a_cache(spec: Spec, data: st.DataObject) -> None:
    if spec.decoder is None:
        return
    model = drawn(spec)
    ids, source = inputs(spec)
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, ids.shape[1] - 1)), max_size=3)) - {ids.shape[1]})
    chunks = [stop - start for start, stop in pairwise([0, *cuts, ids.shape[1]])]
    found = cached(model, ids, source, new_cache(model, ids, source), chunks)
    torch.testing.assert_close(found, model(*source, ids), rtol=1e-5, atol=1e-6)
