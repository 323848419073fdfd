"""A packed model gives the canonical one's logits: whole, token by token through a cache, and in batches."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor, nn

from archcalc.errors import InputError
from archcalc.nn import build
from archcalc.run.pack import pack, packed_bytes, packed_tensors
from archcalc.run.pack.decode_step import DecodeStep
from archcalc.run.pack.packed_linear import PackedHead, PackedLinear, PackedTable
from archcalc.sources import load
from archcalc.spec import Spec
from tests.examples import examples
from tests.nn import test_nn_transformers as theirs
from tests.nn.test_nn_cache import cached, drawn, filled, new_cache, splits
from tests.nn.test_nn_cache import inputs as inputs_of
from tests.strategies import specs


def inputs(spec: Spec, batch: int = 2) -> tuple[Tensor, list[Tensor]]:
    """The ids and, for a model that reads one, its source."""
    ids, source = inputs_of(spec, batch)
    return ids, source if spec.decoder else []


def one_by_one(model: Any, ids: Tensor, source: list[Tensor], **more: Any) -> Tensor:
    cache = new_cache(model, ids, source, **more)
    return cached(model, ids, source, cache, [1] * ids.shape[1])


def close(found: Tensor, expected: Tensor, error: float = 1e-5) -> bool:
    return bool((found - expected).abs().max() <= error * expected.abs().max())


def same(found: Tensor, expected: Tensor, model: nn.Module, ids: Tensor, source: list[Tensor]) -> bool:
    """Whether a drawn model, packed, gives what it gave. Where float32 itself cannot say what that is, nothing is."""
    assume(close(found, expected) or steady(model, ids, source, expected))
    return close(found, expected)


def steady(model: nn.Module, ids: Tensor, source: list[Tensor], expected: Tensor) -> bool:
    """Whether rounding is not blown up, as tiny widths and norms of them may (packed models are in float32 alone).

    What comes of weights that are off by three times their rounding tells, eight times over: one try may have luck.
    """
    torch.manual_seed(0)  # the same at every try of the same case
    for _ in range(8):
        shaken = deepcopy(model)
        for tensor in shaken.parameters():
            tensor.mul_(1 + 2e-7 * torch.randn_like(tensor))
        if not close(shaken(*source, ids)[:, -expected.shape[1] :], expected, 3e-6):
            return False
    return True


def unpacked(packed: Any, canonical: nn.Module) -> nn.Module:
    """The canonical model with the weights that the packed one stands for."""
    found = deepcopy(canonical)
    for name, module in packed.model.named_modules():
        held = found.get_submodule(name).weight if isinstance(module, PackedLinear | PackedTable | PackedHead) else None
        if held is not None:  # a tied head has none
            held.copy_(module.panels.dense())
    return found


@examples(50)
@given(spec=specs(per_token=True), batch=st.sampled_from((1, 2, 3)), data=st.data())
@torch.no_grad()
def test_drawn_models_in_float32(spec: Spec, batch: int, data: st.DataObject) -> None:
    model = drawn(spec, torch.float32)
    ids, source = inputs(spec, batch)
    chunks = data.draw(splits(ids.shape[1]))  # before anything that rounding may decide
    expected = model(*source, ids)
    packed = pack(deepcopy(model))
    assert same(packed(*source, ids), expected, model, ids, source)
    if spec.decoder is not None:
        found = cached(packed, ids, source, new_cache(packed, ids, source), chunks)
        assert same(found, expected, model, ids, source)


@pytest.mark.parametrize("case", theirs.CASES, ids=lambda case: case.__name__)
@torch.no_grad()
def test_every_family_in_float32(case: Callable[[], theirs.Case]) -> None:
    spec = load(case().spec)
    model = filled(build(spec, "cpu"))
    ids, source = inputs(spec)
    expected, packed = model(*source, ids), pack(deepcopy(model))
    assert close(packed(*source, ids), expected)
    if spec.decoder is not None:
        assert close(one_by_one(packed, ids, source), expected)


@examples(60)
@given(spec=specs(per_token=True), quantize=st.sampled_from(("int8", "int4")))
@torch.no_grad()
def test_drawn_models_quantized_are_those_of_the_weights_that_are_stored(spec: Spec, quantize: Any) -> None:
    model = drawn(spec, torch.float32)
    ids, source = inputs(spec)
    packed = pack(deepcopy(model), quantize=quantize)
    rounded = unpacked(packed, model)
    assert same(packed(*source, ids), rounded(*source, ids), rounded, ids, source)


WIDE: dict[str, Any] = {
    "kind": "gqa", "n_heads": 4, "n_kv_heads": 2, "d_head": 16, "position": {"kind": "rope", "theta": 1000.0},
}  # fmt: skip


def wide(attention: dict[str, Any], n_ctx: int = 64, **layer: Any) -> Spec:
    """A decoder whose widths all formats suit."""
    pattern = {"norm": {"kind": "rmsnorm"}, "attention": attention, "ffn": {"kind": "gated", "d_ff": 96}} | layer
    stack = {"n_layers": 3, "runs": [{"pattern": [pattern]}], "final_norm": {"kind": "rmsnorm"}}
    sizes = {"name": "x", "vocab_size": 90, "n_ctx": n_ctx, "d_model": 64}
    return load(sizes | {"decoder": stack, "head": {"tied": True}})


ATTENTIONS = {
    "plain": WIDE,
    "window": WIDE | {"window": 5},
    "biases": WIDE | {"q_bias": True, "k_bias": False, "v_bias": True, "out_bias": True},
    "normed heads": WIDE | {"qk_norm": {"norm": {"kind": "rmsnorm"}, "over": "head"}},
    "normed whole": WIDE | {"qk_norm": {"norm": {"kind": "layernorm"}, "over": "full"}},
    "interleaved": WIDE | {"position": {"kind": "rope", "theta": 1000.0, "interleaved": True, "d_rotary": 6}},
    "part turned": WIDE | {"position": {"kind": "rope", "theta": 1000.0, "d_rotary": 6}},
    "no position": WIDE | {"position": None},
}


@pytest.mark.parametrize("quantize", [None, "int8", "int4"])
@pytest.mark.parametrize("attention", ATTENTIONS)
@torch.no_grad()
def test_the_short_way_of_one_token(attention: str, quantize: Any) -> None:
    spec = wide(ATTENTIONS[attention])
    model = filled(build(spec, "cpu"))
    for tensor in model.parameters():
        tensor.mul_(0.3)
    for batch in (1, 3):
        ids, _ = inputs(spec, batch)
        packed = pack(deepcopy(model), quantize=quantize)
        assert isinstance(packed.step, DecodeStep)
        expected = unpacked(packed, model)(ids)
        # int4's kernel reads and gives bfloat16; three layers of it add up.
        assert close(one_by_one(packed, ids, []), expected, 0.03 if quantize == "int4" else 1e-5)


@pytest.mark.parametrize(("quantize", "error"), [(None, 1e-5), ("int4", 0.03)])
@pytest.mark.parametrize("placement", ["pre", "post", "sandwich", "output", "parallel", "parallel_two"])
@pytest.mark.parametrize("norm", ["rmsnorm", "layernorm"])
@torch.no_grad()
def test_the_short_way_keeps_to_the_placement(placement: str, norm: str, quantize: Any, error: float) -> None:
    spec = wide(WIDE, placement=placement, norm={"kind": norm})
    model = filled(build(spec, "cpu"))
    for tensor in model.parameters():
        tensor.mul_(0.3)
    ids, _ = inputs(spec, 1)
    packed = pack(deepcopy(model), quantize=quantize)
    assert packed.step is not None
    assert close(one_by_one(packed, ids, []), unpacked(packed, model)(ids), error)


FFNS = {
    "clamped": {"kind": "gated", "activation": {"kind": "clamped_swish", "limit": 0.1, "alpha": 3.0}},
    "learned": {"kind": "gated", "activation": "xielu"},
    "normed": {"kind": "gated", "bias": True, "down_bias": False, "down_norm": {"kind": "rmsnorm"}},
    "plain": {"kind": "plain", "activation": "xielu", "down_bias": True, "down_norm": {"kind": "layernorm"}},
}


@pytest.mark.parametrize(("quantize", "error"), [(None, 1e-5), ("int8", 1e-5)])
@pytest.mark.parametrize("ffn", FFNS)
@torch.no_grad()
def test_the_short_way_through_feed_forwards(ffn: str, quantize: Any, error: float) -> None:
    spec = wide(WIDE, ffn=FFNS[ffn] | {"d_ff": 96}, norm={"kind": "layernorm", "unit_offset": True})
    model = filled(build(spec, "cpu"))
    for tensor in model.parameters():
        tensor.mul_(0.3)
    ids, _ = inputs(spec, 3)
    packed = pack(deepcopy(model), quantize=quantize)
    assert isinstance(packed.step, DecodeStep)
    assert close(one_by_one(packed, ids, []), unpacked(packed, model)(ids), error)


@pytest.mark.parametrize("change", [{"softcap": 20.0}, {"sinks": True}, {"position": {"kind": "alibi"}}])
def test_scores_that_are_more_than_a_product_go_the_long_way(change: dict[str, Any]) -> None:
    assert pack(build(wide(WIDE | change), "cpu")).step is None


@torch.no_grad()
def test_a_quantized_cache() -> None:
    spec = wide(WIDE)
    model = filled(build(spec, "cpu"))
    ids, _ = inputs(spec)
    expected = cached(model, ids, [], model.new_cache(*ids.shape, format="int8"), [1] * ids.shape[1])
    assert close(one_by_one(pack(model), ids, [], format="int8"), expected, 1e-4)


@pytest.mark.parametrize(("quantize", "bits"), [(None, 32), ("int8", 9), ("int4", 5)])
def test_no_weight_is_held_twice(quantize: Any, bits: int) -> None:
    """Whole panels only, so that nothing fills them up; the table is int8 where matrices are int4."""
    spec = load(spec_of_128())
    model = build(spec, "cpu")
    table, norms = model.embed.tokens.weight.numel(), sum(x.numel() for x in model.parameters() if x.ndim == 1)
    others = sum(x.numel() for x in model.parameters() if x.ndim == 2) - table
    expected = others * bits // 8 + table * (32 if bits == 32 else 9) // 8 + 4 * norms
    packed = pack(model, quantize=quantize)
    assert packed_bytes(packed) == expected
    assert sum(x.numel() for x in packed.parameters()) == norms - sum(x.numel() for x in packed.buffers())


def spec_of_128() -> dict[str, Any]:
    attention = {"kind": "gqa", "n_heads": 4, "n_kv_heads": 2, "d_head": 32}
    layer = {"norm": {"kind": "rmsnorm"}, "attention": attention, "ffn": {"kind": "gated", "d_ff": 192}}
    stack = {"n_layers": 2, "runs": [{"pattern": [layer]}]}
    return {"name": "x", "vocab_size": 256, "n_ctx": 8, "d_model": 128, "decoder": stack, "head": {"tied": True}}


def test_told_what_is_stored_as_what() -> None:
    spec = wide(WIDE, ffn={"kind": "gated", "d_ff": 40})
    formats = {row.name: row for row in packed_tensors(pack(build(spec, "cpu"), quantize="int4"))}
    shapes = {name: tuple(x.shape) for name, x in build(spec).named_parameters()}
    assert {name: row.shape for name, row in formats.items()} == shapes
    kinds = {name.removeprefix("layers.0."): row.format for name, row in formats.items() if ".0." in name}
    assert kinds == {
        "attn.q.weight": "int4", "attn.k.weight": "int4", "attn.v.weight": "int4", "attn.out.weight": "int4",
        "ffn.gate.weight": "int4", "ffn.up.weight": "int4", "ffn.down.weight": "int8",  # 40 is no multiple of 32
        "attn_norm.weight": "fp32", "ffn_norm.weight": "fp32",
    }  # fmt: skip
    assert formats["embed.tokens.weight"].format == "int8"


def test_a_choice_of_experts_is_not_rounded() -> None:
    spec = wide(WIDE, ffn={"kind": "moe", "n_experts": 8, "n_active": 2, "d_expert": 32})
    formats = {row.name: row.format for row in packed_tensors(pack(build(spec, "cpu"), quantize="int8"))}
    assert formats["layers.0.ffn.router.weight"] == "fp32"


def test_logits_are_ordinary_tensors() -> None:
    packed = pack(build(wide(WIDE), "cpu"))
    cache = packed.new_cache(1, 4)
    for ids in (torch.tensor([[1, 2]]), torch.tensor([[3]])):
        packed(ids, cache=cache).fill_(0.0)


def test_a_model_that_is_nowhere_is_refused() -> None:
    with pytest.raises(InputError, match="found weights on meta"):
        pack(build(wide(WIDE)))


def test_a_token_too_many_is_refused() -> None:
    packed = pack(build(wide(WIDE), "cpu"))
    cache = packed.new_cache(1, 1)
    packed(torch.tensor([[1]]), cache=cache)
    with pytest.raises(InputError, match="2 tokens are more"):
        packed(torch.tensor([[1]]), cache=cache)


@examples(50)
@given(spec=specs(family="decoder", per_token=True), data=st.data())
@torch.no_grad()
def test_the_last_places_alone(spec: Spec, data: st.DataObject) -> None:
    model = drawn(spec, torch.float32)
    ids, source = inputs(spec)
    n_logits = data.draw(st.integers(1, min(3, ids.shape[1])))
    n_first = data.draw(st.integers(0, min(3, ids.shape[1] - n_logits)))
    expected, packed = model(ids), pack(deepcopy(model))
    cache = new_cache(packed, ids, source)
    if n_first:
        packed(ids[:, :n_first], cache=cache)
    found = packed(ids[:, n_first:], cache=cache, n_logits=n_logits)
    assert same(found, expected[:, -n_logits:], model, ids, source)
    assert cache.past == ids.shape[1]


def test_a_prompt_takes_the_way_of_its_last_places() -> None:
    packed = pack(build(wide(WIDE), "cpu"))
    cache, ids = packed.new_cache(1, 8), torch.arange(6).unsqueeze(0)
    assert packed.prefill.accepts(ids, cache, {"n_logits": 1, "padding_BT": None})
    assert not packed.prefill.accepts(ids, cache, {"n_logits": 6})
    assert not packed.prefill.accepts(ids, cache, {"n_logits": 1, "padding_BT": ids < 2})
