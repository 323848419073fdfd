"""What is said of the next token: by hand on small logits, by torch on others, and by a real folder's model."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Categorical, kl_divergence

from archcalc.errors import InputError
from archcalc.interp.distributions import divergence, entropy, in_bits, ranks, total_variation
from archcalc.interp.next_token import next_tokens, of_logits
from archcalc.interp.next_token_result import NextTokenDistributions, TokenProbability
from archcalc.run.decoding.sampling import NonFiniteLogitsError, distribution
from archcalc.run.decoding.sampling_options import Sampling
from archcalc.run.loading.source import open_source
from archcalc.spec.workload import Workload
from tests.examples import examples
from tests.run.decoding.chat_model import save_chat_model

LOGITS = st.lists(st.floats(-9, 9), min_size=4, max_size=4)


def double(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def of(*rows: list[float], **asked: object) -> NextTokenDistributions:
    seen = asked.pop("seen", [set() for _ in rows])
    return of_logits(torch.tensor(rows, dtype=torch.float64), seen, [[0]] * len(rows), **asked)  # type: ignore[arg-type]


def rows_of(found: NextTokenDistributions, context: str) -> list[TokenProbability]:
    """The tokens after one context, which are the same after each."""
    rows = [row for row in found.tokens if row.context == context]
    assert [row.id for row in rows] == [row.id for row in found.tokens[: len(rows)]]
    return rows


def test_by_hand() -> None:
    half, all_of_it = double(0.5, 0.25, 0.25), double(1, 0, 0)
    assert entropy(half) == pytest.approx(1.5 * math.log(2), abs=1e-15)
    assert in_bits(entropy(half)) == pytest.approx(1.5, abs=1e-15)
    assert entropy(all_of_it) == 0
    assert divergence(all_of_it, half) == pytest.approx(math.log(2), abs=1e-15)
    assert divergence(half, all_of_it) == math.inf
    assert divergence(half, half) == 0
    assert total_variation(half, all_of_it) == 0.5
    assert total_variation(all_of_it, double(0, 0, 1)) == 1
    assert ranks(double(0.1, 0.4, 0.1, 0.4), torch.tensor([0, 1, 2, 3])) == [3, 1, 3, 1]


@examples(40)
@given(LOGITS, LOGITS)
def test_as_torch_has_it(a: list[float], b: list[float]) -> None:
    found = of(a, b, top=4)
    p, q = Categorical(logits=double(*a)), Categorical(logits=double(*b))
    for context, one in zip(found.contexts, (p, q), strict=True):
        assert context.entropy_nats == pytest.approx(float(one.entropy()), abs=1e-12)
        assert context.entropy_bits * math.log(2) == pytest.approx(context.entropy_nats, abs=1e-12)
        assert (context.n_kept, context.entropy_nats) == (4, context.model_entropy_nats)
        assert context.kept_probability == pytest.approx(1, abs=1e-12)
    assert found.distance is not None
    assert found.distance.kl_nats == pytest.approx(float(kl_divergence(p, q)), abs=1e-12)
    assert found.distance.reverse_kl_nats == pytest.approx(float(kl_divergence(q, p)), abs=1e-12)
    assert found.distance.total_variation == pytest.approx(float((p.probs - q.probs).abs().sum()) / 2, abs=1e-12)
    assert found.distance.total_variation <= math.sqrt(found.distance.kl_nats / 2) + 1e-7, "Pinsker's inequality"
    for name, one in zip("AB", (p, q), strict=True):
        for row in rows_of(found, name):
            assert row.probability == row.model_probability == pytest.approx(float(one.probs[row.id]), abs=1e-12)


def test_the_union_of_what_is_likeliest_comes_with_its_rank_in_each() -> None:
    found = of([4.0, 3.0, 2.0, 1.0], [1.0, 2.0, 3.0, 9.0], top=2)
    assert [(row.id, row.rank) for row in rows_of(found, "A")] == [(3, 4), (0, 1), (1, 2), (2, 3)]
    assert [(row.id, row.rank) for row in rows_of(found, "B")] == [(3, 1), (0, 4), (1, 3), (2, 2)]
    assert len(found.tokens) == 8


def test_what_a_cut_keeps_is_shown() -> None:
    logits = [2.0, 1.0, 0.1, -1.0]
    found = of(logits, top=3, sampling=Sampling(temperature=0.5, top_k=2))
    tempered = distribution(double(*logits)[None], Sampling(temperature=0.5))[0].tolist()
    (context,) = found.contexts
    assert context.n_kept == 2
    assert context.kept_probability == pytest.approx(tempered[0] + tempered[1], abs=1e-12)
    assert [token.id for token in found.tokens] == [0, 1, 2], "what is cut comes after what is kept"
    drawn = [token.probability for token in found.tokens]
    assert drawn == pytest.approx(
        [tempered[0] / context.kept_probability, tempered[1] / context.kept_probability, 0],
        abs=1e-12,
    )
    own = [token.model_probability for token in found.tokens]
    assert own == pytest.approx(double(*logits).softmax(-1).tolist()[:3], abs=1e-12)
    assert context.entropy_nats < context.model_entropy_nats
    greedy = of(logits, logits[::-1], sampling=Sampling(temperature=0))
    assert [(one.n_kept, one.entropy_nats) for one in greedy.contexts] == [(1, 0), (1, 0)]
    assert greedy.distance is not None
    assert (greedy.distance.total_variation, greedy.distance.kl_nats, greedy.distance.reverse_kl_nats) == (
        1,
        None,
        None,
    )


def test_a_repetition_penalty_falls_on_what_was_seen() -> None:
    found = of([2.0, 1.9, -1.0], seen=[{0}], top=3, sampling=Sampling(temperature=1, repetition_penalty=2))
    expected = double(1.0, 1.9, -1.0).softmax(-1).tolist()
    assert [token.id for token in found.tokens] == [1, 0, 2]
    assert [t.probability for t in found.tokens] == pytest.approx([expected[i] for i in (1, 0, 2)], abs=1e-12)
    assert [token.rank for token in found.tokens] == [2, 1, 3], "the model's own rank"


def test_tokens_come_in_the_order_in_which_they_are_drawn() -> None:
    found = of(
        [1.0, 0.0, 0.9, -2.0], seen=[{2}], top=4, sampling=Sampling(temperature=1, top_k=3, repetition_penalty=9)
    )
    assert [token.id for token in found.tokens] == [0, 2, 1, 3]
    penalized = of([2.0, 1.4, 0.1], seen=[{0}], top=1, sampling=Sampling(temperature=1, repetition_penalty=2))
    assert [token.id for token in penalized.tokens] == [1], "the model's own likeliest is drawn less"
    assert [token.rank for token in penalized.tokens] == [2]


def test_by_a_real_model_each_context_is_read_alone(tmp_path: Path) -> None:
    opened = open_source(str(save_chat_model(tmp_path)))
    model = opened.load(Workload(batch=1, seq=9)).model
    contexts = [[5, 6, 7], [9, 7]]
    found = next_tokens(model, contexts, top=5)
    for i, ids in enumerate(contexts):
        p = model(torch.tensor([ids]))[0, -1].double().softmax(-1)
        assert found.contexts[i].ids == tuple(ids)
        assert found.contexts[i].entropy_nats == pytest.approx(float(torch.special.entr(p).sum()), abs=1e-5)
        for row in rows_of(found, "AB"[i]):
            assert row.probability == pytest.approx(float(p[row.id]), abs=1e-6)
        assert set(p.topk(5).indices.tolist()) <= {token.id for token in found.tokens}
    alone = next_tokens(model, contexts[:1], top=5)
    assert alone.contexts[0] == found.contexts[0]
    assert alone.distance is None
    for wrong in ([], [[1], [2], [3]], [[]], [[420]]):
        with pytest.raises(InputError):
            next_tokens(model, wrong)


def test_logits_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(NonFiniteLogitsError):
        of([1.0, math.nan])
