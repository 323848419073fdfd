"""Sampling follows its definition."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from archcalc.errors import InputError
from archcalc.run.decoding.sampling import NonFiniteLogitsError, choose_tokens, distribution, draw, penalize
from archcalc.run.decoding.sampling_options import Sampling

ROWS = st.lists(st.floats(-12, 12, width=32), min_size=2, max_size=9)
N_DRAWS = 20_000


def reference(logits: list[float], how: Sampling) -> list[float]:
    """The definition, token by token, in plain Python."""
    top = max(logits)
    weights = [math.exp((x - top) / how.temperature) for x in logits]
    found = {i: w / sum(weights) for i, w in enumerate(weights)}

    def keep(kept: list[int]) -> dict[int, float]:
        whole = sum(found[i] for i in kept)
        return {i: found[i] / whole for i in kept}

    if how.top_k is not None:
        least = sorted(found.values(), reverse=True)[min(how.top_k, len(found)) - 1]
        found = keep([i for i in found if found[i] >= least])
    if how.top_p is not None:
        order, kept, before = sorted(found, key=lambda i: -found[i]), [], 0.0
        for i in order:
            if before >= how.top_p:
                break
            kept.append(i)
            before += found[i]
        found = keep(kept)
    if how.min_p is not None:
        least = how.min_p * max(found.values())
        found = keep([i for i in found if found[i] >= least])
    return [found.get(i, 0.0) for i in range(len(logits))]


SETTINGS = [
    Sampling(temperature=1.0),
    Sampling(temperature=0.5),
    Sampling(temperature=2.0, top_k=3),
    Sampling(temperature=1.0, top_p=0.8),
    Sampling(temperature=1.0, min_p=0.2),
    Sampling(temperature=1.5, top_k=5, top_p=0.9, min_p=0.1),
]


def chi_square_limit(freedom: int) -> float:
    """What chi-square exceeds in about one of 100,000 cases (Wilson and Hilferty 1931)."""
    part = 2 / (9 * freedom)
    return freedom * (1 - part + 4.26 * math.sqrt(part)) ** 3


@pytest.mark.parametrize("how", SETTINGS, ids=str)
def test_draws_follow_the_exact_distribution(how: Sampling) -> None:
    logits = [2.0, 1.0, 0.1, -1.0, 0.4, 1.7, -3.0]
    expected = reference(logits, how)
    generators = [torch.Generator().manual_seed(1)] * N_DRAWS
    drawn = draw(distribution(torch.tensor([logits]), how).expand(N_DRAWS, -1), generators)
    counts = drawn.bincount(minlength=len(logits)).tolist()
    possible = [i for i, p in enumerate(expected) if p > 0]
    assert sum(counts[i] for i in possible) == N_DRAWS, "nothing that was cut is drawn"
    chi_square = sum((counts[i] - N_DRAWS * expected[i]) ** 2 / (N_DRAWS * expected[i]) for i in possible)
    assert chi_square < chi_square_limit(len(possible) - 1)


@given(
    ROWS,
    st.floats(0.1, 4),
    st.none() | st.integers(1, 10),
    st.none() | st.floats(0.05, 1),
    st.none() | st.floats(0, 1),
)
def test_the_distribution_is_the_definition(logits, temperature, top_k, top_p, min_p) -> None:
    how = Sampling(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
    found = distribution(torch.tensor([logits], dtype=torch.float64), how)[0].tolist()
    assert found == pytest.approx(reference(logits, how), abs=1e-9) or _is_a_tie(logits, how)


def _is_a_tie(logits: list[float], how: Sampling) -> bool:
    """Whether a hair more or less moves a cut: equal logits, or a sum that is just at the bound."""
    nudged = [
        Sampling(temperature=how.temperature, top_k=how.top_k, top_p=p, min_p=m)
        for p in ([None] if how.top_p is None else [min(1.0, how.top_p * (1 + e)) for e in (-1e-9, 1e-9)])
        for m in ([None] if how.min_p is None else [min(1.0, how.min_p * (1 + e)) for e in (-1e-9, 1e-9)])
    ]
    cuts = {tuple(p > 0 for p in reference(logits, each)) for each in nudged}
    return len(cuts) > 1 or len(set(logits)) < len(logits)


def test_the_published_example() -> None:
    found = distribution(torch.tensor([[2.0, 1.0, 0.1]]), Sampling(temperature=1.0))[0]
    assert [round(p, 3) for p in found.tolist()] == [0.659, 0.242, 0.099]


def test_a_low_temperature_comes_to_the_likeliest_token_and_never_overflows() -> None:
    logits = torch.tensor([[300.0, -1e4, 299.0]])
    assert distribution(logits, Sampling(temperature=1e-300))[0].tolist() == [1.0, 0.0, 0.0]
    assert distribution(logits, Sampling())[0].tolist() == [1.0, 0.0, 0.0]


def test_a_row_draws_the_same_whatever_stands_beside_it() -> None:
    how, logits = Sampling(temperature=1.0), torch.randn(3, 50, generator=torch.Generator().manual_seed(0))

    def generators() -> list[torch.Generator]:
        return [torch.Generator().manual_seed(seed) for seed in (7, 8, 9)]

    together = choose_tokens(logits, how, [set()] * 3, generators())
    alone = [choose_tokens(logits[i : i + 1], how, [set()], generators()[i : i + 1])[0] for i in range(3)]
    assert together == alone


def test_tokens_seen_are_penalized_by_sign() -> None:
    found = penalize(torch.tensor([[2.0, -1.0, 3.0], [1.0, 1.0, 1.0]]), [{0, 1}, set()], 2.0)
    assert found.tolist() == [[1.0, -2.0, 3.0], [1.0, 1.0, 1.0]]
    assert choose_tokens(torch.tensor([[2.0, 1.5]]), Sampling(repetition_penalty=2.0), [{0}], []) == [1]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_logits_that_are_no_numbers_are_told(bad: float) -> None:
    for how in (Sampling(), Sampling(temperature=1.0)):
        with pytest.raises(NonFiniteLogitsError, match="not finite"):
            choose_tokens(torch.tensor([[0.0, bad]]), how, [set()], [torch.Generator()])


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ({"temperature": -1.0}, "temperature"),
        ({"temperature": math.inf}, "temperature"),
        ({"temperature": 1.0, "top_k": 0}, "top_k"),
        ({"temperature": 1.0, "top_p": 0.0}, "top_p"),
        ({"temperature": 1.0, "top_p": 1.5}, "top_p"),
        ({"temperature": 1.0, "min_p": -0.1}, "min_p"),
        ({"repetition_penalty": 0.0}, "repetition_penalty"),
        ({"top_k": 5}, "top_k"),
    ],
)
def test_what_is_out_of_range_is_refused(values: dict, where: str) -> None:
    with pytest.raises(InputError, match=where):
        Sampling(**values)


def test_cuts_and_penalty_equal_those_of_transformers() -> None:
    from transformers.generation import logits_process as theirs

    logits = torch.randn(4, 60, generator=torch.Generator().manual_seed(3)) * 3
    how = Sampling(temperature=0.7, top_k=20, top_p=0.85, min_p=0.04, repetition_penalty=1.3)
    ids = torch.tensor([[1, 2, 2], [5, 6, 7], [0, 0, 0], [59, 3, 1]])
    expected = logits
    for process in (
        theirs.RepetitionPenaltyLogitsProcessor(1.3),
        theirs.TemperatureLogitsWarper(0.7),
        theirs.TopKLogitsWarper(20),
        theirs.TopPLogitsWarper(0.85),
        theirs.MinPLogitsWarper(0.04),
    ):
        expected = process(ids, expected)
    found = distribution(penalize(logits, [set(row) for row in ids.tolist()], 1.3), how)
    assert torch.allclose(found.float(), expected.softmax(-1), atol=1e-6)
    assert torch.equal(found > 0, expected > -torch.inf)
