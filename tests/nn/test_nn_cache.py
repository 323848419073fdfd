"""Caches: the logits through them, the bytes they take, what they hold, and what a step with one costs."""

from __future__ import annotations

import resource
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from archcalc.errors import InputError
from archcalc.nn import build
from archcalc.nn.arm_cache import TokenCache
from archcalc.nn.cache import Cache, allocate
from archcalc.nn.cache_store import PlainStore
from archcalc.sources import load
from archcalc.spec import Spec
from archcalc.spec.attention import Attention, LatentAttention
from archcalc.spec.branches import active_branches, arms, borrowed_names
from archcalc.spec.execution import Execution
from archcalc.spec.groups import has_table, layers_of, weight_indices
from archcalc.spec.mixer import ChannelMix, GatedDelta, Lightning, Mamba1, Mamba2, MLstm, RgLru, ShortConv, TimeMix
from archcalc.spec.model import ModelStack
from archcalc.spec.position import ContentBias, Disentangled
from archcalc.spec.routed import RoutedAttention
from tests.examples import examples
from tests.nn import test_nn_transformers as theirs
from tests.nn.flop_truth import counted, decode, prefill
from tests.strategies import DECODERS, specs

SEQ, SOURCE = 14, 4  # past every drawn window, which is 9 at most
GQA = {"kind": "gqa", "n_heads": 3, "n_kv_heads": 1, "d_head": 4}
RMS = {"kind": "rmsnorm"}


def filled(model: nn.Module) -> Any:
    """The model in evaluation, its weights large enough that a slip shows."""
    torch.manual_seed(0)
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.add_(torch.randn_like(tensor) * 0.3)
    return model.eval()


def drawn(spec: Spec, dtype: torch.dtype = torch.float64, execution: Execution | None = None) -> Any:
    """The model of a drawn spec, filled, in float64 if it can be; the same at every try of the same case.

    A law is about what is computed, and tiny widths and norms of them may blow rounding up as far as they like: 1e-5
    leaves them eleven of float64's sixteen digits, where float32 has two to spare.
    """
    torch.manual_seed(1)
    return filled(build(spec, "cpu", dtype, execution=execution))


def one_layer(attention: dict[str, Any], **more: Any) -> Spec:
    layer = {"norm": RMS, "attention": attention, "ffn": {"kind": "gated", "d_ff": 5}}
    stack = {"n_layers": 2, "runs": [{"pattern": [layer]}]} | more
    return load({"name": "x", "vocab_size": 23, "n_ctx": 12, "d_model": 6, "decoder": stack})


def lengths(spec: Spec) -> tuple[int, int]:
    """Tokens of the text and of the source that the tables of positions allow."""
    longest = [min(most, own.model.n_ctx) if has_table(own.stack) else most for own, most in _most(spec)]
    return longest[-1], longest[0] if len(longest) == 2 else SOURCE


def _most(spec: Spec) -> list[tuple[ModelStack, int]]:
    return [(own, SOURCE if own.is_source else SEQ) for own in spec.stacks]


def cached(model: Any, ids: Tensor, source: list[Tensor], cache: Cache, chunks: list[int]) -> Tensor:
    """Logits of all ids, read chunk by chunk; the source is read with the first or before it."""
    if source and len(chunks) % 2:
        model.encode(source[0], cache=cache)
        source = [None]
    found = []
    for chunk in ids.split(chunks, dim=1):
        found.append(model(*source, chunk, cache=cache))
        source = [None] * len(source)
    return torch.cat(found, 1)


def inputs(spec: Spec, batch: int = 2) -> tuple[Tensor, list[Tensor]]:
    seq, n_source = lengths(spec)
    sources = [torch.randint(spec.vocab_size, (batch, n_source))] if spec.encoder else []
    return torch.randint(spec.vocab_size, (batch, seq)), sources


def new_cache(model: Any, ids: Tensor, source: list[Tensor], **more: Any) -> Cache:
    room = {"source": source[0].shape[1]} if source else {}
    return model.new_cache(*ids.shape, **room, **more)


def near(found: Tensor, expected: Tensor) -> bool:
    return bool((found - expected).abs().max() <= 1e-5 * expected.abs().max().clamp(min=1e-30))


@st.composite
def splits(draw: st.DrawFn, total: int) -> list[int]:
    """Chunks that make up `total`: singles, or of any sizes."""
    longest = draw(st.sampled_from((1, 3, total)))
    chunks: list[int] = []
    while sum(chunks) < total:
        chunks.append(draw(st.integers(1, min(longest, total - sum(chunks)))))
    return chunks


@examples(120)
@given(spec=DECODERS, data=st.data())
def test_same_logits_in_any_chunks(spec: Spec, data: st.DataObject) -> None:
    model = drawn(spec)
    ids, source = inputs(spec)
    chunks = data.draw(splits(ids.shape[1]))
    with torch.no_grad():
        expected = model(*source, ids)
    assert near(cached(model, ids, source, new_cache(model, ids, source), chunks), expected)


@pytest.mark.parametrize("chunks", [[12], [1] * 12, [3, 1, 5, 3], [4, 8], [5, 7], [2, 2, 2, 6], [11, 1]])
@pytest.mark.parametrize(
    "attention",
    [
        {"window": 4, "position": {"kind": "rope"}},
        {"window": 4, "position": {"kind": "alibi"}, "sinks": True},
        {"window": 4, "position": {"kind": "relative", "n_buckets": 8, "max_distance": 9}},
        {"window": 1},
        {"window": 12},
        {"window": 100, "softcap": 2.0},
    ],
    ids=str,
)
def test_windows_and_chunks_that_straddle_them(attention: dict[str, Any], chunks: list[int]) -> None:
    model = filled(build(one_layer(GQA | attention), "cpu"))
    ids = torch.randint(23, (2, 12))
    found = cached(model, ids, [], model.new_cache(2, 12), chunks)
    torch.testing.assert_close(found, model(ids), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("position", [{"kind": "learned", "n_extra": 2}, {"kind": "sinusoidal"}, None], ids=str)
def test_each_turn_of_shared_weights_has_a_cache(share: bool, position: dict[str, Any] | None) -> None:
    layer = {"norm": RMS, "attention": GQA | {"window": 3}}
    runs = [{"count": 4, "pattern": [layer, layer | {"attention": GQA}], "share_weights": share}]
    model = filled(build(one_layer(GQA, runs=runs, n_layers=4, position=position), "cpu"))
    cache = model.new_cache(2, 9)
    assert [layer["attn"].tensors[0].shape[-2] for layer in cache.layers] == [3, 9, 3, 9]
    ids = torch.randint(23, (2, 9))
    torch.testing.assert_close(cached(model, ids, [], cache, [2, 1, 6]), model(ids), rtol=1e-5, atol=1e-6)


@examples(50)
@given(spec=specs(family="decoder", per_token=True))
def test_one_prefill_is_the_forward_pass(spec: Spec) -> None:
    """Bit for bit: before anything is held, a cache changes nothing."""
    model = filled(build(spec, "cpu"))
    ids, _ = inputs(spec)
    cache = model.new_cache(*ids.shape)
    with torch.no_grad():
        assert torch.equal(model(ids), model(ids, cache=cache))
    assert cache.past == ids.shape[1]


# What it takes.


# Elements of the states that have the model's dtype, given its width.
STATES: dict[type, Callable[[Any, int], int]] = {
    ShortConv: lambda part, width: width * (part.d_conv - 1),
    GatedDelta: lambda part, width: (
        (2 * part.n_key_heads * part.d_key + part.n_heads * part.d_value) * (part.d_conv - 1)
    ),
    Lightning: lambda part, width: part.n_heads * part.d_head**2,
    MLstm: lambda part, width: part.n_heads * (part.d_key * part.d_value + part.d_key + 1),
    Mamba1: lambda part, width: part.d_inner * (part.d_conv - 1 + part.d_state),
    Mamba2: lambda part, width: (
        (part.n_heads * part.d_head + 2 * part.n_state_groups * part.d_state) * (part.d_conv - 1)
    ),
    RgLru: lambda part, width: part.n_blocks * part.d_block * (part.d_conv - 1),
    TimeMix: lambda part, width: width,
    ChannelMix: lambda part, width: width,
}


def formula(spec: Spec, batch: int, capacity: int, source: int) -> int:
    """Elements, as docs and papers have it."""
    total = 0
    for arm in (arm for layer in layers_of(spec.decoder) for arm in arms(layer)):
        part = arm.part
        if isinstance(part, LatentAttention):
            total += min(capacity, part.window or capacity) * (part.kv_rank + part.d_rope)
            total += capacity * getattr(part.indexer, "d_index", 0)
        if isinstance(part, RoutedAttention):
            total += capacity * 2 * part.n_kv_heads * part.d_head
        if isinstance(part, Attention):
            own = {"stream": min(capacity, part.window or capacity), "source": source, "shared": 0, "nothing": 0}
            tokens = own[arm.reads]
            kept = tokens + (part.d_conv - 1 if part.d_conv and arm.reads == "stream" else 0)
            total += part.n_kv_heads * (part.d_head + (part.d_value or part.d_head)) * kept
        if arm.d_out_conv:
            total += spec.d_model * (arm.d_out_conv - 1)
        if type(part) in STATES:
            total += STATES[type(part)](part, spec.d_model)
    return batch * total


def float32_elements(spec: Spec) -> int:
    """Elements of the states that are in float32 whatever the dtype, for one sequence."""
    found = (arm.part for layer in layers_of(spec.decoder) for arm in arms(layer))
    by_kind = {
        GatedDelta: lambda part: part.n_heads * part.d_key * part.d_value,
        RgLru: lambda part: part.n_blocks * part.d_block,
        TimeMix: lambda part: 3 * part.d_inner,
        Mamba2: lambda part: part.n_heads * part.d_head * part.d_state,
    }
    return sum(by_kind[type(part)](part) for part in found if type(part) in by_kind)


@examples(60)
@given(spec=DECODERS, batch=st.integers(1, 3), dtype=st.sampled_from((torch.float32, torch.bfloat16)))
def test_bytes_of_drawn_specs(spec: Spec, batch: int, dtype: torch.dtype) -> None:
    capacity, source = lengths(spec)
    more = {"source": source} if spec.encoder else {}
    cache = allocate(spec, batch, capacity, dtype=dtype, **more)
    states = 4 * batch * float32_elements(spec)
    assert cache.nbytes == formula(spec, batch, capacity, source) * dtype.itemsize + states


@pytest.mark.parametrize(
    ("name", "capacity", "elements"),
    [
        ("gpt3-175b", 1, 2 * 96 * 12288),
        ("gpt3-175b", 2048, 2 * 96 * 12288 * 2048),
        ("llama-3-8b", 1, 2 * 32 * 8 * 128),
        ("llama-3-8b", 8192, 536_870_912),
        ("deepseek-v3", 1, 61 * (512 + 64)),
        ("deepseek-v3", 2047, 61 * (512 + 64) * 2047),
        ("gpt-oss-20b", 100, 2 * 24 * 8 * 64 * 100),
        ("gpt-oss-20b", 4096, 2 * 8 * 64 * (12 * 128 + 12 * 4096)),
        ("mistral-7b", 8192, 2 * 32 * 8 * 128 * 4096),
        ("mixtral-8x7b", 10, 2 * 32 * 8 * 128 * 10),
    ],
)
def test_bytes_by_hand(name: str, capacity: int, elements: int) -> None:
    assert allocate(load(name), 1, capacity, dtype=torch.bfloat16).nbytes == 2 * elements
    assert allocate(load(name), 3, capacity, dtype=torch.float32).nbytes == 4 * 3 * elements


def test_bytes_of_a_source() -> None:
    """T5 small: 6 decoder layers of 8 heads, 64 wide, to themselves and to the source."""
    cache = allocate(load("t5-small"), 2, 20, source=50, dtype=torch.float32)
    assert cache.nbytes == 4 * 2 * 6 * 2 * 8 * 64 * (20 + 50)
    assert {slot: held.tensors[0].shape for slot, held in cache.layers[0].items()} == {
        "attn": (2, 8, 20, 64),
        "cross": (2, 8, 50, 64),
    }


def test_latents_are_held_and_no_heads() -> None:
    (first, *_) = allocate(load("deepseek-v3"), 2, 7).layers
    assert [tensor.shape for tensor in first["attn"].tensors] == [(2, 7, 512), (2, 1, 7, 64)]


# What it holds.


def places(held: TokenCache) -> list[int]:
    return held.tensors[0].flatten().tolist()


def step(held: TokenCache, past: int, n_new: int) -> list[int]:
    """Hold tokens past …, each told by its position; the positions that are seen."""
    new = torch.arange(past, past + n_new).float().view(1, -1, 1)
    first, second = held.update(lambda: (new, -new), past)
    assert torch.equal(first, -second)
    return first.flatten().tolist()


def test_a_new_token_takes_the_oldest_ones_place() -> None:
    held = TokenCache(PlainStore(torch.full((1, 4, 1), -1.0)), PlainStore(torch.ones(1, 4, 1)))
    assert step(held, 0, 3) == [0, 1, 2]
    assert places(held) == [0, 1, 2, -1]
    assert step(held, 3, 1) == [0, 1, 2, 3]
    assert step(held, 4, 1) == [1, 2, 3, 4]
    assert places(held) == [4, 1, 2, 3]
    assert step(held, 5, 2) == [2, 3, 4, 5, 6]
    assert places(held) == [4, 5, 6, 3]
    assert step(held, 7, 6) == [4, 5, 6, 7, 8, 9, 10, 11, 12]
    assert places(held) == [12, 9, 10, 11]


def test_a_long_prefill_leaves_its_last_tokens() -> None:
    held = TokenCache(PlainStore(torch.zeros(1, 4, 1)), PlainStore(torch.zeros(1, 4, 1)))
    assert step(held, 0, 10) == list(range(10))
    assert places(held) == [8, 9, 6, 7]


@given(room=st.integers(1, 6), sizes=st.lists(st.integers(1, 9), min_size=1, max_size=8))
def test_what_a_ring_holds(room: int, sizes: list[int]) -> None:
    held, past = TokenCache(PlainStore(torch.zeros(1, room, 1)), PlainStore(torch.zeros(1, room, 1))), 0
    for n_new in sizes:
        assert step(held, past, n_new) == list(range(past - min(past, room - 1), past + n_new))
        past += n_new
        assert sorted(places(held))[-min(past, room) :] == list(range(max(0, past - room), past))


def test_a_cache_begins_anew() -> None:
    model = filled(build(one_layer(GQA | {"window": 3, "position": {"kind": "rope"}}), "cpu"))
    ids, cache = torch.randint(23, (2, 8)), model.new_cache(2, 8)
    first = cached(model, ids, [], cache, [5, 3])
    cache.past = 0
    assert torch.equal(first, cached(model, ids, [], cache, [5, 3]))


def test_a_new_source_begins_anew() -> None:
    model = filled(build(load(theirs.t5().spec), "cpu"))
    cache = model.new_cache(1, 6, source=5)
    ids, one, two = torch.arange(6)[None], torch.arange(5)[None], torch.arange(3)[None] + 9
    for source in (one, two):
        model.encode(source, cache=cache)
        assert (cache.past, cache.n_source) == (0, source.shape[1])
        found = torch.cat([model(None, chunk, cache=cache) for chunk in ids.split(2, 1)], 1)
        torch.testing.assert_close(found, model(source, ids), rtol=1e-5, atol=1e-5)


def test_it_keeps_no_graph() -> None:
    model = build(one_layer(GQA), "cpu")
    ids = torch.arange(5)[None]
    assert not model(ids, cache=model.new_cache(1, 5)).requires_grad
    model(ids).sum().backward()
    assert model.layers["0"].attn.k.weight.grad is not None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dtypes(dtype: torch.dtype) -> None:
    """A cache has the weights' dtype, or another, from which what it holds is turned back."""
    model = filled(build(one_layer(GQA | {"window": 3, "position": {"kind": "rope"}}), "cpu", dtype))
    ids = torch.randint(23, (2, 8))
    cache = model.new_cache(2, 8)
    assert {t.dtype for layer in cache.layers for held in layer.values() for t in held.tensors} == {dtype}
    expected = model(ids)
    for kind in (None, torch.bfloat16):
        found = cached(model, ids, [], model.new_cache(2, 8, dtype=kind), [1] * 8)
        assert found.dtype == dtype
        near = dtype == torch.float32 and kind is None
        torch.testing.assert_close(found, expected, rtol=1e-5 if near else 0.1, atol=1e-5 if near else 0.05)


# What is refused.


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda model: model(ids(1, 5), cache=model.new_cache(1, 4)), "capacity: 5 tokens are more than the cache has"),
        (lambda model: read_twice(model, 3, 2), "expected up to 4, past included"),
        (lambda model: model.new_cache(1, 13), "capacity: 13 tokens are more than the table of positions has"),
        (lambda model: model.new_cache(1, 0), "capacity: found 0; expected 1 or more"),
        (lambda model: model.new_cache(0, 4), "batch: found 0"),
        (lambda model: model(ids(2, 1), cache=model.new_cache(1, 4)), "batch: 2 sequences; expected the cache's 1"),
        (lambda model: model(ids(1, 1), cache=model.new_cache(3, 4)), "batch: 1 sequences"),
        (
            lambda model: model(ids(1, 1), cache=model.new_cache(1, 4), positions=torch.ones(1)),
            "positions: a cache, or padding",
        ),
        (lambda model: allocate(model.spec, 1, 4, source=3), "source: there is no encoder beside the decoder"),
        (lambda model: build(load("bert-base")).new_cache(1, 4), "cache: an encoder caches nothing"),
    ],
)
def test_refusals(call: Callable[[Any], Any], message: str) -> None:
    model = build(one_layer(GQA, position={"kind": "learned", "n_extra": 2}), "cpu")
    with pytest.raises(InputError) as caught:
        call(model)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def read_twice(model: Any, first: int, second: int) -> None:
    cache = model.new_cache(1, 4)
    model(ids(1, first), cache=cache)
    model(ids(1, second), cache=cache)


def ids(batch: int, seq: int) -> Tensor:
    return torch.zeros(batch, seq, dtype=torch.long)


def test_refusals_of_a_source() -> None:
    model = build(load("t5-small"))
    cache = model.new_cache(1, 4, source=3)
    one = ids(1, 1).to("meta")
    for call, message in (
        (lambda: model(None, one, cache=cache), "source: the cache has seen no source"),
        (lambda: model.encode(ids(1, 4).to("meta"), cache=cache), "source: 4 tokens are more than the cache has"),
        (lambda: model.encode(ids(2, 3).to("meta"), cache=cache), "batch: 2 sequences"),
        (lambda: model(None, one), "source: there is nothing to attend to"),
        (lambda: model.new_cache(1, 4, source=0), "source: found 0"),
    ):
        with pytest.raises(InputError, match=message):
            call()


def test_what_is_refused_leaves_the_cache_as_it_was() -> None:
    model = filled(build(one_layer(GQA | {"window": 3}), "cpu"))
    cache, tokens = model.new_cache(1, 6), torch.randint(23, (1, 6))
    first = model(tokens[:, :4], cache=cache)
    with pytest.raises(InputError):
        model(tokens, cache=cache)
    assert cache.past == 4
    found = torch.cat((first, model(tokens[:, 4:], cache=cache)), 1)
    torch.testing.assert_close(found, model(tokens), rtol=1e-5, atol=1e-6)


# What a step costs.


def test_a_step_on_meta_allocates_nothing() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    model = build(load("deepseek-v3"), dtype=torch.bfloat16)
    cache = model.new_cache(8, 100_000)
    cache.past = 99_999
    found = model(torch.empty(8, 1, dtype=torch.long, device="meta"), cache=cache)
    assert (found.shape, found.device.type, cache.past) == ((8, 1, 129_280), "meta", 100_000)
    assert cache.nbytes == 2 * 8 * 61 * 576 * 100_000
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < 300, "MiB"


@examples(40)
@given(spec=DECODERS, batch=st.integers(1, 2), data=st.data())
def test_scores_have_a_column_for_each_key_that_a_layer_holds(spec: Spec, batch: int, data: st.DataObject) -> None:
    seq, source = lengths(spec)
    new = data.draw(st.integers(1, seq))
    past = seq - new
    found = decode(spec, batch, new, past, source).by_module
    expected: dict[str, int] = {}
    stack, prefix = spec.decoder, "decoder." if spec.encoder else ""
    for owner, layer in zip(weight_indices(stack), layers_of(stack), strict=True):
        for arm in (arm for branch in active_branches(layer) for arm in branch.arms):
            if isinstance(arm.part, Attention | LatentAttention):
                module = borrowed_names(layer).get(arm.name, owner)
                name, of_source = f"{prefix}layers.{module}.{arm.name}", source * (arm.reads == "source")
                expected[name] = expected.get(name, 0) + products(arm.part, batch, new, past, of_source)
    assert {name: flops for name, flops in found.items() if name in expected} == expected


def products(part: Any, batch: int, new: int, past: int, source: int) -> int:
    """FLOPs of scores and values: 2 · B · N · T · S · (width of keys + width of values)."""
    held = past if part.window is None else min(past, part.window - 1)
    if isinstance(part, LatentAttention):
        return 2 * batch * part.n_heads * new * (held + new) * (part.d_nope + part.d_rope + part.d_v)
    keys, heads = source or new + held, 2 * batch * part.n_heads
    relative = part.position
    read = 0  # queries and keys that are multiplied with each row of distances
    if isinstance(relative, Disentangled):
        read = new * relative.content_to_position + keys * relative.position_to_content
        read *= 2 * relative.n_distances * part.d_head
    if isinstance(relative, ContentBias):
        read = new * relative.d_rel * relative.n_distances
    each = heads * (new * keys * (part.d_head + (part.d_value or part.d_head)) + read)
    return each * (1 if part.differential is None else 2)  # a pattern for each half of the values


def test_a_step_reads_no_source() -> None:
    modules = decode(load("t5-small"), 1, 1, 15, 16).by_module
    assert {name for name in modules if name.startswith("encoder.") or name.endswith(("cross.k", "cross.v"))} == set()
    assert {name for name in modules if name.endswith(("cross.q", "cross.out", "cross"))} != set()


def test_a_prefill_costs_what_the_forward_pass_does() -> None:
    for name in ("gpt-oss-20b", "deepseek-v3"):
        spec = load(name, {"n_layers": 5})
        assert decode(spec, 1, 200, 0) == prefill(spec, 1, 200)
    spec = load("t5-small")
    model, source, target = build(spec), ids(2, 30).to("meta"), ids(2, 20).to("meta")
    cache = model.new_cache(2, 20, source=30)
    assert counted(model, lambda: model(source, target, cache=cache)) == prefill(spec, 2, 20, 30)


@pytest.mark.parametrize(
    ("name", "forward", "step"),
    [
        # transformers on meta; one token after 2,047.
        ("gpt2", 32_228_179_968, None),
        ("llama-3-8b", 1_929_782_493_184, 16_083_058_688),
        ("deepseek-v3", 9_457_769_644_032, 4_273_324_556_288),
        ("gpt-oss-20b", 929_870_905_344, 7_642_103_808),
    ],
)
def test_flops_of_transformers(name: str, forward: int, step: int | None) -> None:
    assert prefill(load(name), 1, 128).total == forward
    if step is not None:
        assert decode(load(name), 1, 1, 2047).total == step


# Beside transformers.


@pytest.mark.parametrize(
    "make",
    [theirs.llama, theirs.gpt_oss, theirs.gemma2, theirs.deepseek_v3, theirs.bloom, theirs.t5],
    ids=lambda make: make.__name__,
)
def test_greedy_decoding_as_transformers(make: Callable[[], theirs.Case]) -> None:
    """Token after token past the window, both through their caches: the same tokens from the same logits."""
    torch.manual_seed(2)
    case = make()
    reference = theirs.their_model(case)
    model: Any = build(load(case.spec), "cpu").eval()
    theirs.load_theirs(model, dict(reference.state_dict()), case)
    prompt = torch.randint(2, 37, (2, 3))
    crosses = len(case.inputs) == 2
    source = torch.randint(2, 37, (2, 5)) if crosses else None
    cache = model.new_cache(2, 15, **({"source": 5} if crosses else {}))
    past, states, new = None, None, prompt
    for turn in range(12):
        with torch.no_grad():
            out = (
                reference(source, decoder_input_ids=new, encoder_outputs=states, past_key_values=past, use_cache=True)
                if crosses
                else reference(new, past_key_values=past, use_cache=True)
            )
        past = out.past_key_values
        states = (out.encoder_last_hidden_state,) if crosses else None
        found = model(source if turn == 0 else None, new, cache=cache) if crosses else model(new, cache=cache)
        assert (found - out.logits).abs().max() <= 1e-5 * out.logits.abs().max(), turn
        new = found[:, -1:].argmax(-1)
    assert cache.past == 14
