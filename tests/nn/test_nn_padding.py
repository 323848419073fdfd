"""Padded rows give what they give alone, and as transformers has it; the last logits alone; a cache's rows moved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from archcalc.errors import InputError
from archcalc.formats.cache_types import CACHE_TYPES
from archcalc.nn import build
from archcalc.nn.execution import set_execution
from archcalc.sources import load
from archcalc.spec import Spec
from archcalc.spec.execution import Execution
from tests.examples import examples
from tests.nn import test_nn_transformers as theirs
from tests.nn.test_nn_cache import GQA, drawn, filled, inputs, lengths, near, one_layer
from tests.strategies import specs

DECODERS = specs(family="decoder", per_token=True)
ENCODERS = specs(family="encoder", per_token=True)
PAIRS = specs(family="encoder-decoder", per_token=True)


def padded(rows: list[Tensor], *, left: bool, vocab_size: int) -> tuple[Tensor, Tensor]:
    """Rows [n] of any lengths as one batch [B, T], any ids where they are padded, and where that is."""
    longest = max(map(len, rows))
    ids, padding = torch.randint(vocab_size, (len(rows), longest)), torch.ones(len(rows), longest, dtype=torch.bool)
    for b, row in enumerate(rows):
        place = slice(longest - len(row), None) if left else slice(len(row))
        ids[b, place], padding[b, place] = row, False
    return ids, padding


def rows_of(data: st.DataObject, vocab_size: int, longest: int) -> list[Tensor]:
    """A row as long as there is room for, and some that are shorter."""
    more = data.draw(st.lists(st.integers(1, longest), min_size=1, max_size=2))
    return [torch.randint(vocab_size, (n,)) for n in (longest, *more)]


def alone_is_the_same(model: Any, rows: list[Tensor], found: Tensor, padding: Tensor) -> bool:
    """Whether each row's logits in a batch are its logits alone."""
    each = zip(rows, found, padding, strict=True)
    return all(near(of_batch[~hidden], model(row.unsqueeze(0))[0]) for row, of_batch, hidden in each)


@pytest.fixture(autouse=True)
def _no_graph() -> Any:
    with torch.no_grad():
        yield


@examples(60)
@given(spec=DECODERS, data=st.data(), left=st.booleans())
def test_padded_rows_of_a_decoder(spec: Spec, data: st.DataObject, left: bool) -> None:
    model = drawn(spec)
    rows = rows_of(data, spec.vocab_size, lengths(spec)[0])
    ids, padding = padded(rows, left=left, vocab_size=spec.vocab_size)
    found = model(ids, padding_BT=padding)
    assert found.isfinite().all()
    assert alone_is_the_same(model, rows, found, padding)


@examples(60)
@given(spec=DECODERS, data=st.data())
def test_padded_rows_through_a_cache(spec: Spec, data: st.DataObject) -> None:
    model = drawn(spec)
    rows = rows_of(data, spec.vocab_size, lengths(spec)[0])
    ids, padding = padded(rows, left=True, vocab_size=spec.vocab_size)
    told = max(int(padding.sum(1).max()), data.draw(st.integers(1, ids.shape[1])))  # no padding comes after these
    first = data.draw(st.integers(1, told))
    cache = model.new_cache(*ids.shape)
    chunks = [model(part, cache=cache, padding_BT=hidden) for part, hidden in _chunks(ids, padding, [first, told])]
    chunks += [model(ids[:, t : t + 1], cache=cache) for t in range(told, ids.shape[1])]
    assert alone_is_the_same(model, rows, torch.cat(chunks, 1), padding)


@examples(60)
@given(spec=ENCODERS, data=st.data(), left=st.booleans())
def test_padded_rows_of_an_encoder(spec: Spec, data: st.DataObject, left: bool) -> None:
    model = drawn(spec)
    rows = rows_of(data, spec.vocab_size, lengths(spec)[0])
    ids, padding = padded(rows, left=left, vocab_size=spec.vocab_size)
    found = model(ids, padding_BT=padding)
    assert found.isfinite().all()
    assert alone_is_the_same(model, rows, found, padding)


@examples(60)
@given(spec=PAIRS, data=st.data(), left=st.booleans(), caches=st.booleans())
def test_padded_sources(spec: Spec, data: st.DataObject, left: bool, caches: bool) -> None:
    model = drawn(spec)
    sources = rows_of(data, spec.vocab_size, lengths(spec)[1])
    targets = inputs(spec, len(sources))[0]
    source, padding = padded(sources, left=left, vocab_size=spec.vocab_size)
    if caches:
        cache = model.new_cache(*targets.shape, source=source.shape[1])
        first, *rest = targets.split(1, 1)
        chunks = [model(source, first, cache=cache, source_padding_BS=padding)]
        found = torch.cat(chunks + [model(None, ids, cache=cache) for ids in rest], 1)
    else:
        found = model(source, targets, source_padding_BS=padding)
    for row, target, of_batch in zip(sources, targets, found, strict=True):
        assert near(of_batch, model(row.unsqueeze(0), target.unsqueeze(0))[0])


@pytest.mark.parametrize("kernel", ["math", "flash"])
@pytest.mark.parametrize(
    "attention",
    [
        {"position": {"kind": "rope"}},
        {"position": {"kind": "rope"}, "n_heads": 2, "n_kv_heads": 2, "d_head": 2},
        {"position": {"kind": "alibi"}},
        {"window": 3, "position": {"kind": "rope", "interleaved": True}},
        {"window": 3, "position": {"kind": "relative", "n_buckets": 8, "max_distance": 9}},
        {"sinks": True},
    ],
    ids=str,
)
def test_every_kernel_hides_padding(attention: dict[str, Any], kernel: Any) -> None:
    model = filled(build(one_layer(GQA | attention), "cpu"))
    rows = [torch.randint(23, (n,)) for n in (12, 5, 1)]
    ids, padding = padded(rows, left=True, vocab_size=23)
    expected = model(ids, padding_BT=padding)
    set_execution(model, Execution(attention=kernel, device="cpu"))
    torch.testing.assert_close(model(ids, padding_BT=padding), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", CACHE_TYPES)
def test_quantized_rows_are_as_alone(kind: str) -> None:
    attention = {"kind": "gqa", "n_heads": 2, "d_head": 64, "position": {"kind": "rope"}}
    model = filled(build(one_layer(attention), "cpu"))
    rows = [torch.randint(23, (n,)) for n in (12, 4)]
    ids, padding = padded(rows, left=True, vocab_size=23)
    cache, alone = model.new_cache(2, 12, format=kind), model.new_cache(1, 4, format=kind)
    model(ids[:, :9], cache=cache, padding_BT=padding[:, :9])
    model(rows[1][None, :1], cache=alone)
    for step in range(3):
        found, expected = model(ids[:, 9 + step, None], cache=cache), model(rows[1][None, 1 + step, None], cache=alone)
        torch.testing.assert_close(found[1], expected[0], rtol=1e-4, atol=1e-4)


def mistral() -> theirs.Case:
    case = theirs.llama()
    del case.config["rope_parameters"]
    attention = case.spec["decoder"]["runs"][0]["pattern"][0]["attention"]
    attention |= {"position": {"kind": "rope"}, "window": 4}
    case.kind, case.config["sliding_window"] = "MistralForCausalLM", 4
    return case


@pytest.mark.parametrize("left", [True, False], ids=["left", "right"])
@pytest.mark.parametrize(
    "make",
    [
        theirs.llama,
        theirs.gpt2,
        theirs.bloom,
        theirs.gemma2,
        mistral,
        theirs.gpt_oss,
        theirs.deepseek_v3,
        theirs.opt,
        theirs.t5,
        theirs.bert,
        theirs.albert,
    ],
    ids=lambda make: make.__name__,
)
def test_same_logits_as_transformers(make: Callable[[], theirs.Case], left: bool) -> None:
    torch.manual_seed(2)
    case = make()
    model = theirs.their_model(case)
    ours: Any = build(load(case.spec), "cpu").eval()
    theirs.load_theirs(ours, dict(model.state_dict()), case)
    ids, padding = padded([torch.randint(2, 37, (n,)) for n in (11, 7, 2)], left=left, vocab_size=37)
    asked: dict[str, Any] = {"input_ids": ids, "attention_mask": (~padding).long()}
    if "decoder_input_ids" in case.inputs:
        asked["decoder_input_ids"] = torch.randint(2, 37, (3, 5))
        found = ours(ids, asked["decoder_input_ids"], source_padding_BS=padding)
        expected, real = model(**asked).logits, torch.ones(3, 5, dtype=torch.bool)
    else:
        if make not in (theirs.bloom, theirs.opt):  # these make them from the mask
            asked["position_ids"] = ((~padding).cumsum(1) - 1).clamp(min=0)
        found, expected, real = ours(ids, padding_BT=padding), model(**asked).logits, ~padding
    assert expected.std() > 0.05, "weights large enough to show a difference"
    assert (found - expected)[real].abs().max() <= 1e-5 * expected[real].abs().max()


def test_no_padding_is_as_none_said() -> None:
    model = filled(build(one_layer(GQA | {"position": {"kind": "rope"}}), "cpu"))
    ids = torch.randint(23, (2, 12))
    assert torch.equal(model(ids, padding_BT=torch.zeros_like(ids, dtype=torch.bool)), model(ids))


def test_a_cache_that_begins_anew_forgets_its_padding() -> None:
    model = filled(build(one_layer(GQA), "cpu"))
    ids = torch.randint(23, (2, 4))
    cache, padding = model.new_cache(2, 4), torch.tensor([[True, True, False, False], [False] * 4])
    model(ids, cache=cache, padding_BT=padding)
    cache.past = 0
    torch.testing.assert_close(model(ids, cache=cache), model(ids))


@examples(30)
@given(spec=specs(per_token=True), data=st.data())
def test_the_last_logits_alone(spec: Spec, data: st.DataObject) -> None:
    model = drawn(spec)
    ids, source = inputs(spec) if spec.decoder else (torch.randint(spec.vocab_size, (2, lengths(spec)[0])), [])
    n = data.draw(st.integers(1, ids.shape[1] + 2))
    assert near(model(*source, ids, n_logits=n), model(*source, ids)[:, -n:])


def test_one_logit_costs_one_matmul_row() -> None:
    model: Any = build(one_layer(GQA))
    ids = torch.empty(2, 12, dtype=torch.long, device="meta")
    found = []
    for n in (None, 1):
        with FlopCounterMode(display=False) as mode:
            model(ids, n_logits=n)
        found.append(mode.get_total_flops())
    assert found[0] - found[1] == 2 * 2 * 11 * 6 * 23


@examples(40)
@given(
    spec=st.one_of(DECODERS, PAIRS),
    data=st.data(),
    kind=st.sampled_from((None, "fp8", "fp8-token", "int8", "int8-asym")),
)
def test_reordered_rows_go_on_as_those_that_they_were(spec: Spec, data: st.DataObject, kind: str | None) -> None:
    model = drawn(spec)
    ids, source = inputs(spec, batch=3)
    pads = data.draw(st.lists(st.integers(0, ids.shape[1] - 1), min_size=3, max_size=3))
    rows = torch.tensor(data.draw(st.lists(st.integers(0, 2), min_size=3, max_size=3)))
    padding = torch.arange(ids.shape[1]) < torch.tensor(pads).unsqueeze(1)
    read = slice(0, ids.shape[1] - 1)
    if source:
        source_padding = (
            torch.arange(source[0].shape[1]) < torch.tensor(pads).clamp(max=source[0].shape[1] - 1)[:, None]
        )
        more = {"source_padding_BS": source_padding}
    else:
        more = {"padding_BT": padding[:, read]}
    first, again = (_new_cache(model, ids, source, kind) for _ in range(2))
    permuted = {name: tensor[rows] for name, tensor in more.items()}
    if ids.shape[1] > 1:
        model(*source, ids[:, read], cache=first, **more)
        model(*(x[rows] for x in source), ids[rows, read], cache=again, **permuted)
        source = [None] * len(source)
        first.reorder(rows)
        last = ids[rows, -1:]
        torch.testing.assert_close(
            model(*source, last, cache=first), model(*source, last, cache=again), rtol=1e-3, atol=1e-3
        )


def _new_cache(model: Any, ids: Tensor, source: list[Tensor], kind: str | None) -> Any:
    return model.new_cache(*ids.shape, format=kind, **({"source": source[0].shape[1]} if source else {}))


def _chunks(ids: Tensor, padding: Tensor, stops: list[int]) -> list[tuple[Tensor, Tensor]]:
    """Ids and padding up to each stop from the one before."""
    starts = [0, *stops]
    return [(ids[:, a:b], padding[:, a:b]) for a, b in zip(starts, stops, strict=False) if b > a]


@pytest.mark.parametrize(
    ("padding", "found"),
    [
        ([[False, True, False], [False] * 3], "between tokens"),
        ([[False, False, True], [False] * 3], "after tokens"),
        ([[True, False], [False] * 2], r"found \[2, 2\]"),
    ],
)
def test_padding_that_cannot_be(padding: list[list[bool]], found: str) -> None:
    model = filled(build(one_layer(GQA), "cpu"))
    ids = torch.randint(23, (2, 3))
    with pytest.raises(InputError, match=found):
        model(ids, cache=model.new_cache(2, 3), padding_BT=torch.tensor(padding))


def test_places_and_padding_are_not_both_said() -> None:
    model = filled(build(one_layer(GQA), "cpu"))
    ids = torch.randint(23, (2, 3))
    with pytest.raises(InputError, match="positions"):
        model(ids, positions=torch.arange(3), padding_BT=torch.zeros(2, 3, dtype=torch.bool))
    with pytest.raises(InputError, match="n_logits"):
        model(ids, n_logits=0)
    with pytest.raises(InputError, match="batch"):
        model.new_cache(2, 3).reorder(torch.arange(3))


def test_a_source_of_padding_alone_is_refused() -> None:
    case = theirs.t5()
    model: Any = build(load(case.spec), "cpu")
    ids = torch.randint(23, (2, 3))
    with pytest.raises(InputError, match="padding alone"):
        model(ids, ids, source_padding_BS=torch.tensor([[True] * 3, [False] * 3]))
