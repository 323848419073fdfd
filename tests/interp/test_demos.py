"""What demonstrations show is so: computed again by torch, by the ledger, or by a law."""

from __future__ import annotations

import math

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
from archcalc.sources import load
from archcalc.spec.workload import Workload
from archcalc.words import LANGS, translator

SEEDS = range(4)


def double(values: tuple[float, ...]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_softmax_is_that_of_the_logits_and_draws_follow_it() -> None:
    found = run("softmax")
    z = double(found.logits)
    assert found.logits == (2.0, 1.0, 0.1)
    assert [round(e, 3) for e in found.exps] == [7.389, 2.718, 1.105]
    assert [round(p, 3) for p in found.probabilities] == [0.659, 0.242, 0.099]
    assert found.probabilities == pytest.approx([e / found.sum for e in found.exps], abs=1e-15)
    assert found.argmax == (1, 0, 0)
    assert found.logistic.softmax[0] == pytest.approx(1 / (1 + math.exp(-found.logistic.difference)), abs=1e-15)
    assert found.logistic.logistic == pytest.approx(found.logistic.softmax[0], abs=1e-15)
    for one in found.temperatures:
        expected = (z / one.temperature).softmax(-1).tolist() if one.temperature else [1, 0, 0]
        assert one.probabilities == pytest.approx(expected, abs=1e-12)
    entropies = [one.entropy_nats for one in found.temperatures]
    assert entropies == sorted(entropies)
    assert entropies[0] == 0
    assert entropies[-1] < math.log(3)


@pytest.mark.parametrize("seed", SEEDS)
def test_frequencies_are_of_draws_by_the_probabilities(seed: int) -> None:
    found = run("softmax", seed)
    assert sum(found.counts) == found.n_draws == 1000
    assert found.frequencies == tuple(count / 1000 for count in found.counts)
    assert run("softmax", seed) == found
    assert run("softmax", seed + 1).counts != found.counts
    for p, frequency in zip(found.probabilities, found.frequencies, strict=True):
        assert abs(frequency - p) < 5 * math.sqrt(p * (1 - p) / found.n_draws)


@pytest.mark.parametrize("seed", SEEDS)
def test_dropout_drops_and_scales_in_training_alone(seed: int) -> None:
    found = run("dropout", seed)
    assert found.scale == 1 / (1 - found.p)
    for row in found.training:
        for whole, value in zip(found.inference, row, strict=True):
            assert value == 0 or value == pytest.approx(whole * found.scale, rel=1e-14)
    assert any(0 in row for row in found.training)
    assert len(set(found.training)) > 1
    for whole, mean, deviation in zip(found.inference, found.mean, found.deviation, strict=True):
        assert deviation == pytest.approx(abs(whole) * math.sqrt(found.p / (1 - found.p) / found.n_draws), rel=1e-12)
        assert 0 < abs(mean - whole) < 5 * deviation
    assert abs(found.share_dropped - found.p) < 0.01


@pytest.mark.parametrize("seed", SEEDS)
def test_without_positions_swapped_tokens_are_the_same_to_the_last_bit(seed: int) -> None:
    found = run("positions", seed)
    assert sorted(found.in_order) == sorted(found.swapped)
    assert found.in_order != found.swapped
    assert found.in_order[-1] == found.swapped[-1]
    cases = {case.name: case for case in found.cases}
    assert {name for name, case in cases.items() if case.same} == {"none", "encoder"}
    for name, case in cases.items():
        assert case.difference == max(abs(a - b) for a, b in zip(case.in_order, case.swapped, strict=True))
        assert case.difference == 0 if case.same else case.difference > 1e-3, name
    assert (cases["none"].n_layers, cases["none"].positions) == (1, "none")
    assert (cases["mask"].n_layers, cases["mask"].positions) == (2, "none")
    assert (cases["learned"].positions, cases["rope"].positions) == ("learned", "rope")


@pytest.mark.parametrize("seed", SEEDS)
def test_the_step_by_hand_is_autograds(seed: int) -> None:
    found = run("step", seed)
    model = small_model.small_model(step.PRESET, seed).requires_grad_(True)
    ids, right = torch.tensor([found.prompt]), torch.tensor([found.target])
    optimiser = torch.optim.SGD(model.head.parameters(), lr=found.learning_rate)
    loss = F.cross_entropy(model(ids)[:, -1], right)
    loss.backward()
    assert found.loss == pytest.approx(float(loss.detach()), abs=1e-14)
    assert found.module_loss == pytest.approx(found.loss, abs=1e-14)
    assert found.gradient == pytest.approx(model.head.bias.grad.tolist(), abs=1e-14)
    assert found.autograd == pytest.approx(found.gradient, abs=1e-14)
    by_hand = double(found.gradient).outer(double(found.state))
    assert torch.allclose(by_hand, model.head.weight.grad, rtol=0, atol=1e-14)
    assert max(msgspec.structs.astuple(found.differences)) < 1e-14
    squares = sum(float((weight.grad**2).sum()) for weight in model.head.parameters())
    assert found.expected_change == pytest.approx(-found.learning_rate * squares, abs=1e-14)
    optimiser.step()
    with torch.no_grad():
        after = model(ids)[:, -1]
    assert found.new_logits == pytest.approx(after[0].tolist(), abs=1e-13)
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
        assert (point.attention_flops > point.ffn_flops) == (point.tokens >= found.crossing)
    assert found.crossing == 16_385
    causal = [by_component(by_op(ledger, Workload(seq=found.crossing_causal - less))) for less in (0, 1)]
    assert [cost["attention"]["forward_causal"] > cost["ffn"]["forward"] for cost in causal] == [True, False]


@pytest.mark.parametrize("lang", LANGS)
@pytest.mark.parametrize("name", DEMOS)
def test_every_demonstration_fills_one_screen_in_every_language(name: str, lang: str) -> None:
    found, say = run(name), translator(lang)
    page = demos.page(name, found, say)
    lines = as_text(page, 80).splitlines()
    assert len(lines) <= 32
    assert all(table.rows for table in page.blocks if isinstance(table, Table))
    assert sum("─" * 3 in line for line in lines) == {"softmax": 3}.get(name, 1), "no table stands in bands"
    assert "{" not in "".join(lines)
    assert f'lang="{lang}"' in as_html(page)


@pytest.mark.parametrize("name", DEMOS)
def test_data_has_the_same_keys_and_numbers_in_every_language(name: str) -> None:
    found = run(name)
    english, chinese = (demos.data(name, found, translator(lang)) for lang in LANGS)
    told = {"title", "see"}
    assert {key for key in english if english[key] != chinese[key]} == told
    assert list(english) == list(chinese)
    assert english["kind"] == ("exact" if name == "cost" else "measured")
    assert set(english) == {"demo", "kind"} | told | KEYS[name]


KEYS = {
    "softmax": {"logits", "exps", "sum", "probabilities", "argmax", "logistic", "temperatures", "seed", "n_draws",
                "counts", "frequencies"},
    "dropout": {"p", "scale", "seed", "inference", "training", "n_draws", "mean", "deviation", "share_dropped"},
    "positions": {"in_order", "swapped", "seed", "rounding", "cases"},
    "step": {"tokens", "prompt", "target", "seed", "learning_rate", "state", "logits", "probabilities", "loss",
             "module_loss", "gradient", "autograd", "differences", "new_logits", "new_probabilities", "new_loss",
             "new_module_loss", "expected_change"},
    "cost": {"model", "points", "crossing", "crossing_causal"},
}  # fmt: skip


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
