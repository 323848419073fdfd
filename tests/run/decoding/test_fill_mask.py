"""Masks filled as transformers' masked language models fill them, on tiny random ones with the same weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from archcalc.errors import InputError
from archcalc.nn import build
from archcalc.run.decoding.fill_mask import fill_mask
from archcalc.sources import load
from tests.nn import test_nn_transformers as theirs

MASK = 4


def both(make: Callable[[], theirs.Case]) -> tuple[Any, Any]:
    torch.manual_seed(7)
    case = make()
    model, ours = theirs.their_model(case), build(load(case.spec), "cpu").eval()
    theirs.load_theirs(ours, dict(model.state_dict()), case)
    return model, ours


@pytest.mark.parametrize("typed", [False, True])
@pytest.mark.parametrize("make", [theirs.bert, theirs.albert], ids=lambda make: make.__name__)
def test_same_as_transformers(make: Callable[[], theirs.Case], typed: bool) -> None:
    model, ours = both(make)
    rows = [[2, MASK, 9, 11, MASK, 3], [2, 30, MASK, 3], [MASK]]
    longest = max(map(len, rows))
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    types = torch.randint(2, ids.shape) if typed else torch.zeros_like(ids)
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    with torch.no_grad():
        expected = model(input_ids=ids, attention_mask=mask, token_type_ids=types).logits.softmax(-1)
        padded = ours(ids, token_types_BT=types, padding_BT=mask == 0).softmax(-1)
    torch.testing.assert_close(padded[mask == 1], expected[mask == 1], rtol=1e-4, atol=1e-6)
    for row, kinds, of_theirs in zip(rows, types.tolist(), expected, strict=True):
        found = fill_mask(ours, row, MASK, top=7, token_types=kinds[: len(row)] if typed else None)
        places = [place for place, token in enumerate(row) if token == MASK]
        assert len(found) == len(places)
        for filling, place in zip(found, places, strict=True):
            best = of_theirs[place].topk(7)
            assert [token for token, _ in filling] == best.indices.tolist()
            torch.testing.assert_close(torch.tensor([p for _, p in filling]), best.values, rtol=1e-4, atol=1e-6)


def test_all_of_the_vocabulary_sums_to_one() -> None:
    _, ours = both(theirs.bert)
    (found,) = fill_mask(ours, [2, MASK, 3], MASK, top=100)
    assert sorted(token for token, _ in found) == list(range(37))
    assert sum(p for _, p in found) == pytest.approx(1, abs=1e-5)
    assert len(fill_mask(ours, [MASK], MASK)[0]) == 5


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"ids": [2, 3]}, "no mask"),
        ({"ids": [2, 37, MASK]}, "found id 37"),
        ({"ids": [MASK] * 25}, "has 25 tokens"),
        ({"top": 0}, "top"),
        ({"token_types": [0]}, "one for each token"),
        ({"token_types": [0, 3]}, "found type 3"),
    ],
)
def test_what_cannot_be_is_refused(asked: dict[str, Any], found: str) -> None:
    with pytest.raises(InputError, match=found):
        fill_mask(build(load(theirs.bert().spec), "cpu"), **({"ids": [2, MASK], "mask_id": MASK} | asked))


def test_decoders_and_encoders_without_a_head_are_refused() -> None:
    headless = {name: value for name, value in theirs.bert().spec.items() if name != "head"} | {"head": None}
    for spec, found in ((theirs.llama().spec, "decoder"), (theirs.t5().spec, "encoder-decoder"), (headless, "no head")):
        with pytest.raises(InputError, match=found):
            fill_mask(build(load(spec), "cpu"), [MASK], MASK)
