"""What demonstrations show is so: computed again by torch, by the ledger, or by a law."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
import torch
import torch.nn.functional as F

from archcalc.analysis.flops import by_component, by_op
from archcalc.errors import InputError
from archcalc.interp.demos import DEMOS, run, small_model, step
from archcalc.ledger.build import build
from archcalc.render import demos
from archcalc.render.html import as_html
from archcalc.render.page import Table
from archcalc.render.terminal import as_text
from archcalc.results import plain
from archcalc.sources import load
from archcalc.spec.workload import Workload
from archcalc.words import LANGS, translator

SEEDS = range(4)


def double(values: tuple[float, ...]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def column(rows: Sequence[Any], field: str) -> tuple[Any, ...]:
    """Return one field of every row."""
    return tuple(getattr(row, field) for row in rows)


def test_softmax_is_that_of_the_logits_and_draws_follow_it() -> None:
    found = run("softmax")
    logits, exps, probabilities = (column(found.tokens, field) for field in ("logit", "exp", "probability"))
    assert logits == (2.0, 1.0, 0.1)
    assert [round(e, 3) for e in exps] == [7.389, 2.718, 1.105]
    assert [round(p, 3) for p in probabilities] == [0.659, 0.242, 0.099]
    assert found.sum == pytest.approx(sum(exps), abs=1e-14)
    assert probabilities == pytest.approx([e / found.sum for e in exps], abs=1e-15)
    assert column(found.tokens, "argmax") == (1, 0, 0)
    assert found.logistic.softmax[0] == pytest.approx(1 / (1 + math.exp(-found.logistic.difference)), abs=1e-15)
    assert found.logistic.logistic == pytest.approx(found.logistic.softmax[0], abs=1e-15)
    for one in found.temperatures:
        expected = (double(logits) / one.temperature).softmax(-1).tolist() if one.temperature else [1, 0, 0]
        assert list(one.probabilities.values()) == pytest.approx(expected, abs=1e-12)
    entropies = [one.entropy_nats for one in found.temperatures]
    assert entropies == sorted(entropies)
    assert entropies[0] == 0
    assert entropies[-1] < math.log(3)


@pytest.mark.parametrize("seed", SEEDS)
def test_frequencies_are_of_draws_by_the_probabilities(seed: int) -> None:
    found = run("softmax", seed)
    assert sum(column(found.tokens, "draws")) == found.n_draws == 1000
    assert run("softmax", seed) == found
    assert column(run("softmax", seed + 1).tokens, "draws") != column(found.tokens, "draws")
    for one in found.tokens:
        assert one.frequency == one.draws / 1000
        p = one.probability
        assert abs(one.frequency - p) < 5 * math.sqrt(p * (1 - p) / found.n_draws)


@pytest.mark.parametrize("seed", SEEDS)
def test_dropout_drops_and_scales_in_training_alone(seed: int) -> None:
    found = run("dropout", seed)
    assert found.scale == 1 / (1 - found.p)
    draws = list(zip(*(one.training.values() for one in found.entries), strict=True))
    assert len(draws) == 3
    for one in found.entries:
        for value in one.training.values():
            assert value == 0 or value == pytest.approx(one.inference * found.scale, rel=1e-14)
        deviation = abs(one.inference) * math.sqrt(found.p / (1 - found.p) / found.n_draws)
        assert one.deviation == pytest.approx(deviation, rel=1e-12)
        assert 0 < abs(one.mean - one.inference) < 5 * one.deviation
    assert any(0 in draw for draw in draws)
    assert len(set(draws)) > 1
    assert abs(found.share_dropped - found.p) < 0.01


@pytest.mark.parametrize("seed", SEEDS)
def test_without_positions_swapped_tokens_are_the_same_to_the_last_bit(seed: int) -> None:
    found = run("positions", seed)
    assert sorted(found.in_order) == sorted(found.swapped)
    assert found.in_order != found.swapped
    assert found.in_order[-1] == found.swapped[-1]
    cases = {case.name: case for case in found.cases}
    assert {name for name, case in cases.items() if case.is_same} == {"none", "encoder"}
    for name, case in cases.items():
        assert (case.logit, case.swapped_logit) == (case.in_order[0], case.swapped[0])
        assert case.difference == max(abs(a - b) for a, b in zip(case.in_order, case.swapped, strict=True))
        assert case.difference == 0 if case.is_same else case.difference > 1e-3, name
    assert (cases["none"].layers, cases["none"].positions) == (1, "none")
    assert (cases["mask"].layers, cases["mask"].positions) == (2, "none")
    assert (cases["learned"].positions, cases["rope"].positions) == ("learned", "rope")


@pytest.mark.parametrize("seed", SEEDS)
def test_the_step_by_hand_is_autograds(seed: int) -> None:
    found = run("step", seed)
    model = small_model.small_model(step.PRESET, seed).requires_grad_(True)
    ids, right = torch.tensor([found.prompt]), torch.tensor([found.target])
    optimizer = torch.optim.SGD(model.head.parameters(), lr=found.learning_rate)
    loss = F.cross_entropy(model(ids)[:, -1], right)
    loss.backward()
    assert found.loss == pytest.approx(float(loss.detach()), abs=1e-14)
    assert found.module_loss == pytest.approx(found.loss, abs=1e-14)
    gradient = column(found.tokens, "gradient")
    assert gradient == pytest.approx(model.head.bias.grad.tolist(), abs=1e-14)
    assert column(found.tokens, "autograd") == pytest.approx(gradient, abs=1e-14)
    assert column(found.tokens, "target") == (0, 0, 0, 1, 0)
    by_hand = double(gradient).outer(double(found.state))
    assert torch.allclose(by_hand, model.head.weight.grad, rtol=0, atol=1e-14)
    assert max(msgspec.structs.astuple(found.differences)) < 1e-14
    squares = sum(float((weight.grad**2).sum()) for weight in model.head.parameters())
    assert found.expected_change == pytest.approx(-found.learning_rate * squares, abs=1e-14)
    optimizer.step()
    with torch.no_grad():
        after = model(ids)[:, -1]
    assert column(found.tokens, "new_logit") == pytest.approx(after[0].tolist(), abs=1e-13)
    assert found.new_loss == pytest.approx(float(F.cross_entropy(after, right)), abs=1e-13)
    assert found.new_module_loss == pytest.approx(found.new_loss, abs=1e-13)
    assert found.new_loss < found.loss
    assert found.expected_change < found.new_loss - found.loss, "the loss is convex in the logits"


def test_cost_is_the_ledgers_and_crosses_where_it_says() -> None:
    found = run("cost")
    ledger = build(load("llama-3-8b"))
    for point in found.points:
        cost = by_component(by_op(ledger, Workload(seq=point.tokens)))
        assert point.attention_flops * point.tokens == cost["attention"]["forward"]
        assert point.ffn_flops * point.tokens == cost["ffn"]["forward"]
        assert point.attention_share == point.attention_flops / (point.attention_flops + point.ffn_flops)
        assert (point.attention_flops > point.ffn_flops) == (point.tokens >= found.crossing)
    assert found.crossing == 16_385
    causal = [by_component(by_op(ledger, Workload(seq=found.crossing_causal - less))) for less in (0, 1)]
    assert [cost["attention"]["forward_causal"] > cost["ffn"]["forward"] for cost in causal] == [True, False]


@pytest.mark.parametrize("lang", LANGS)
@pytest.mark.parametrize("name", DEMOS)
def test_every_demonstration_fills_one_screen_in_every_language(name: str, lang: str) -> None:
    say = translator(lang)
    page = say.within(msgspec.structs.replace(demos.view(run(name)), lang=lang))
    lines = as_text(page, 80).splitlines()
    assert len(lines) <= 32
    assert all(table.rows for table in page.blocks if isinstance(table, Table))
    assert sum("─" * 3 in line for line in lines) == {"softmax": 3}.get(name, 1), "no table stands in bands"
    assert "{" not in "".join(lines)
    assert f'lang="{lang}"' in as_html(page)


@pytest.mark.parametrize("name", DEMOS)
def test_a_result_says_how_sure_it_is(name: str) -> None:
    found = plain(run(name))
    assert found["name"] == name
    assert found["kind"] == ("exact" if name == "cost" else "measured")
    assert ("seed" in found) == DEMOS[name]


def test_what_there_is_not_is_refused() -> None:
    with pytest.raises(InputError, match="did you mean 'softmax'"):
        run("sofmax")
    with pytest.raises(InputError, match=r"^seed: "):
        run("cost", 1)


def test_torchs_own_generator_stays_where_it_was() -> None:
    before = torch.random.get_rng_state()
    for name in DEMOS:
        run(name)
    assert torch.equal(torch.random.get_rng_state(), before)
