"""Neighbors, analogies, contexts and projections: by full sorts, by numpy and by transformers' hidden states."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st

from archcalc.errors import InputError
from archcalc.inside import (
    analogy,
    contextual_similarity,
    difference_neighbors,
    direction_neighbors,
    neighbors,
    principal_components,
    projection,
    token_table,
)
from archcalc.interp.embed.contexts import state_sites
from archcalc.interp.embed.vectors import cosines, word_vectors
from archcalc.interp.embed.words import positions_in, word_ids
from archcalc.nn import build
from archcalc.run.loading.source import open_source
from archcalc.sources import load
from archcalc.spec import Spec
from tests.examples import examples
from tests.run.decoding.chat_model import save_chat_model
from tests.strategies import specs

V = 40


def model_of(seed: int = 0, **changes: Any) -> Any:
    torch.manual_seed(seed)
    model = build(load("tiny", {"vocab_size": V, "n_layers": 2, **changes}), "cpu").eval()
    with torch.no_grad():
        model.embed.tokens.weight.normal_()
    return model


MODEL = model_of()
IDS = st.integers(0, V - 1)
WORDS = st.lists(st.lists(IDS, min_size=1, max_size=3), min_size=1, max_size=4)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def table() -> np.ndarray:
    found: np.ndarray = token_table(MODEL).double().numpy()
    return found


@given(st.lists(IDS, min_size=1, max_size=5))
def test_a_token_is_nearest_to_itself(ids: list[int]) -> None:
    found = neighbors(MODEL, [[token] for token in ids], top=1, with_inputs=True)
    assert [row.id for row in found.neighbors] == ids
    assert [row.cosine for row in found.neighbors] == pytest.approx([1.0] * len(ids), abs=1e-12)


@examples(40)
@given(WORDS, st.integers(1, V + 5))
def test_neighbors_are_a_full_sort(words: list[list[int]], top: int) -> None:
    found, rows = neighbors(MODEL, words, top=top), iter(neighbors(MODEL, words, top=top).neighbors)
    for ids, row in zip(words, found.words, strict=True):
        mean = table()[ids].mean(0)
        assert row.norm == pytest.approx(np.linalg.norm(mean), rel=1e-12)
        others = sorted(set(range(V)) - set(ids), key=lambda token: -cosine(table()[token], mean))
        for rank, token in enumerate(others[:top], 1):
            one = next(rows)
            assert (one.rank, one.id) == (rank, token)
            assert one.cosine == pytest.approx(cosine(table()[token], mean), abs=1e-12)
    assert next(rows, None) is None


@given(WORDS)
def test_words_together_are_words_one_by_one(words: list[list[int]]) -> None:
    together = neighbors(MODEL, words, top=3).neighbors
    alone = [row for ids in words for row in neighbors(MODEL, [ids], top=3).neighbors]
    assert [(row.id, row.rank) for row in together] == [(row.id, row.rank) for row in alone]
    assert [row.cosine for row in together] == pytest.approx([row.cosine for row in alone], abs=1e-12)


@given(st.lists(IDS, min_size=2, max_size=2, unique=True), st.integers(1, V))
def test_tokens_near_a_direction_are_a_full_sort(pair: list[int], top: int) -> None:
    a, b = (table()[token] / np.linalg.norm(table()[token]) for token in pair)
    found = difference_neighbors(MODEL, [[token] for token in pair], top=top)
    order = sorted(set(range(V)) - set(pair), key=lambda token: -cosine(table()[token], a - b))
    assert [row.id for row in found.neighbors] == order[:top]
    assert [row.cosine for row in found.neighbors] == pytest.approx(
        [cosine(table()[token], a - b) for token in order[:top]], abs=1e-12
    )
    vectors = {"layers.0.resid_post": torch.tensor(a - b), "layers.1.resid_post": torch.tensor(b - a)}
    saved = direction_neighbors(MODEL, vectors, top=V)
    ids = [row.id for row in saved.neighbors]
    assert [token for token in ids[:V] if token not in pair] == order
    assert ids[:V] == ids[V:][::-1]


def test_cosines_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    table_VD = token_table(MODEL)
    vectors_ND = word_vectors(table_VD, [[1], [2, 3]])
    whole = cosines(table_VD, vectors_ND)
    monkeypatch.setattr("archcalc.interp.embed.vectors.N_ROWS", 7)
    torch.testing.assert_close(cosines(table_VD, vectors_ND), whole, rtol=0, atol=1e-12)
    assert not cosines(table_VD, torch.zeros_like(vectors_ND)).any()


@examples(60)
@given(st.lists(st.lists(IDS, min_size=1, max_size=2), min_size=4, max_size=4))
def test_ranks_of_an_analogy_are_those_of_a_full_sort(words: list[list[int]]) -> None:
    found = analogy(MODEL, words, top=V)
    a, b, c, d = (mean / np.linalg.norm(mean) for mean in (table()[ids].mean(0) for ids in words))
    target = a - b + c
    order = sorted(range(V), key=lambda token: -cosine(table()[token], target))
    inputs = {token for ids in words[:3] for token in ids}
    others = [token for token in order if token not in inputs]
    assert [row.id for row in found.tokens] == order
    assert [row.rank for row in found.tokens] == list(range(1, V + 1))
    assert {row.id: row.rank_without_inputs for row in found.tokens} == {
        token: others.index(token) + 1 if token in others else None for token in order
    }
    assert found.cosine == pytest.approx(cosine(d, target), abs=1e-12)
    if len(words[3]) == 1:
        (token,) = words[3]
        assert found.rank == order.index(token) + 1
        assert found.rank_without_inputs == (others.index(token) + 1 if token in others else None)
    elif len(set(words[3])) > 1:  # a word of one token twice is that token, up to rounding
        assert found.rank == 1 + sum(cosine(table()[token], target) > cosine(d, target) for token in order)
        nearer = sum(cosine(table()[token], target) > cosine(d, target) for token in others)
        assert found.rank_without_inputs == 1 + nearer


def test_an_analogy_by_hand() -> None:
    model = model_of()
    with torch.no_grad():
        rows = model.embed.tokens.weight
        rows.copy_(-torch.ones_like(rows))
        # Unit vectors of a royal axis and of a gender axis: queen is the fourth corner.
        for token, pair in enumerate([(1.0, 1.0), (0.0, 1.0), (0.0, -1.0), (1.0, -1.0)]):
            rows[token] = torch.nn.functional.pad(torch.tensor(pair), (0, rows.shape[1] - 2))
        rows[0] *= 5  # lengths do not matter
    found = analogy(model, [[0], [1], [2], [3]])
    assert (found.rank, found.tokens[0].id) == (1, 3)
    expected = np.array([0.5**0.5, 0.5**0.5 - 2])
    assert found.cosine == pytest.approx(cosine(expected, np.array([1.0, -1.0])), abs=1e-7)


@examples(60)
@given(st.integers(2, 9), st.integers(1, 9), st.integers(0, 99))
def test_principal_components_are_numpys(n: int, d: int, seed: int) -> None:
    x = torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * 3 + 1
    coordinates, directions, variances = (part.numpy() for part in principal_components(x))
    centered = x.numpy() - x.numpy().mean(0)
    k = min(n - 1, d)
    assert (coordinates.shape, directions.shape, variances.shape) == ((n, k), (k, d), (k,))
    np.testing.assert_allclose(variances, np.linalg.svd(centered, compute_uv=False)[:k] ** 2 / (n - 1), atol=1e-9)
    np.testing.assert_allclose(variances, np.linalg.eigvalsh(np.atleast_2d(np.cov(centered.T)))[::-1][:k], atol=1e-9)
    np.testing.assert_allclose(directions @ directions.T, np.eye(k), atol=1e-9)
    np.testing.assert_allclose(coordinates @ directions, centered, atol=1e-9)  # nothing is lost
    np.testing.assert_allclose(coordinates.T @ coordinates / (n - 1), np.diag(variances), atol=1e-9)
    assert all(row[np.abs(row).argmax()] > 0 for row in directions)


def test_a_projection_is_the_first_two_components() -> None:
    words = [[1], [2, 3], [4], [5]]
    found = projection(MODEL, words)
    coordinates, _, variances = principal_components(word_vectors(token_table(MODEL), words))
    assert [(row.x, row.y) for row in found.points] == [tuple(row) for row in coordinates[:, :2].tolist()]
    assert [row.variance for row in found.components] == variances.tolist()
    assert sum(row.share for row in found.components) == pytest.approx(1, abs=1e-12)
    assert [row.y for row in projection(MODEL, words[:2]).points] == [0, 0]
    assert [row.share for row in projection(MODEL, [[1], [1]]).components] == [0]


def test_the_head_has_its_own_table() -> None:
    model = model_of(head={"tied": False})
    assert torch.equal(token_table(model, "head"), model.head.weight)
    assert not torch.equal(token_table(model, "head"), token_table(model))
    ours = neighbors(model, [[1]], top=3, table="head")
    order = (
        torch.nn.functional.normalize(model.head.weight.double(), dim=-1) @ model.head.weight[1].double()
    ).argsort()
    assert [row.id for row in ours.neighbors] == [token for token in order.tolist()[::-1] if token != 1][:3]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: token_table(MODEL, "head"), "the head has the token table"),
        (lambda: neighbors(MODEL, [[V]]), f"found id {V}"),
        (lambda: neighbors(MODEL, [[-1]]), "found id -1"),
        (lambda: neighbors(MODEL, [[]]), "found no token ids"),
        (lambda: analogy(MODEL, [[1], [2], [3]]), "4: a, b, c and d"),
        (lambda: projection(MODEL, [[1]]), "at least 2"),
        (lambda: contextual_similarity(MODEL, [[1]], [[0]]), "found 1; expected 2"),
        (lambda: contextual_similarity(MODEL, [[1], [2]], [[0], [1]]), "0 to 0"),
        (lambda: contextual_similarity(MODEL, [[1], [2]], [[0], []]), "0 to 0"),
        (lambda: contextual_similarity(MODEL, [[1], [V]], [[0], [0]]), f"found id {V}"),
    ],
)
def test_refusals(call: Any, said: str) -> None:
    with pytest.raises(InputError) as caught:
        call()
    assert said in str(caught.value)


@examples(25)
@given(specs(), st.integers(0, 9))
def test_the_same_context_twice_is_one_state(spec: Spec, seed: int) -> None:
    """Any architecture; the cosine is 1, or 0 of a state that is 0."""
    torch.manual_seed(seed)
    model = build(spec, "cpu").eval()
    ids = [1 % spec.vocab_size, 0, 2 % spec.vocab_size][: spec.stacks[0].model.n_ctx]
    found = contextual_similarity(model, [ids, ids], [[len(ids) - 1]] * 2)
    names = state_sites(spec)
    assert [row.path for row in found.layers] == list(names)
    assert len(names) == 1 + (spec.stacks[0].stack.n_layers or 0)
    assert all(row.cosine == pytest.approx(1, abs=1e-9) or abs(row.cosine) < 1e-9 for row in found.layers)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_chat_model(tmp_path_factory.mktemp("embed"))


def test_states_are_those_of_transformers(folder: Path) -> None:
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    ours = open_source(str(folder)).load(None, packed=False).model
    contexts, positions = [[5, 6, 7, 8], [9, 7, 8]], [[2, 3], [1, 2]]
    with torch.no_grad():
        states = [theirs.model(torch.tensor([ids]), output_hidden_states=True).hidden_states for ids in contexts]
    found = contextual_similarity(ours, contexts, positions)
    assert [row.layer for row in found.layers] == [0, 1, 2]
    for row in found.layers[:2]:  # their last one is after the final norm
        first, second = (one[row.layer][0].double().numpy() for one in states)
        assert row.cosine == pytest.approx(cosine(first[2:4].mean(0), second[1:3].mean(0)), abs=1e-6)
        pairs = [cosine(first[i], second[0]) for i in (0, 1)]
        assert row.baseline == pytest.approx(sum(pairs) / 2, abs=1e-6)
    assert found.layers[0].cosine == pytest.approx(1, abs=1e-12)  # the same tokens, before any context
    assert [row.baseline for row in contextual_similarity(ours, [[7], [7]], [[0], [0]]).layers] == [None] * 3


def test_words_are_read_within_a_text(folder: Path) -> None:
    source = open_source(str(folder))
    assert source.tokenizer is not None

    def encode(text: str) -> list[int]:
        return source.tokenizer.encode(text, special=False)  # type: ignore[union-attr]

    for word in ("cat", "the", "x", " cat"):
        spaced, plain = encode(f" {word}"), encode(word)
        expected = plain if word[0] == " " or len(plain) < len(spaced) else spaced
        assert word_ids(source, [word]) == [expected]
    assert word_ids(source, ["5,7", "3"], are_ids=True) == [[5, 7], [3]]
    ids = encode("the cat and the cat")
    places = positions_in(source, ids, "cat")
    assert places[-1] == len(ids) - 1
    assert [ids[place] for place in places] == encode(" cat")
    assert positions_in(source, [5, 7, 5, 7, 9], "5,7", are_ids=True) == [2, 3]
    with pytest.raises(InputError, match="is not among the tokens"):
        positions_in(source, ids, "dog")
