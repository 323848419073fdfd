"""The loop: its schedule, its steps, and what it says of what is held out."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from archcalc import build, report
from archcalc.errors import InputError
from archcalc.run.train.batches import NextTokens
from archcalc.run.train.loop import DivergedError, adamw, loss, train_steps, validate
from archcalc.run.train.settings import Settings, learning_rate, seed_of
from tests.run.train.small_specs import decoder

SETTINGS = Settings(steps=3, batch=2, seq=8, lr=0.01, warmup=1, clip=0.05, seed=4, every=2)


def batches(settings: Settings) -> NextTokens:
    drawn = torch.randint(280, (400,), generator=torch.Generator().manual_seed(0)).tolist()
    return NextTokens(settings, drawn[:300], drawn[300:], 250)


def test_the_rate_rises_and_falls() -> None:
    told = Settings(steps=101, batch=1, seq=1, lr=2.0, last_lr=0.25, warmup=20)
    rates = [learning_rate(told, step) for step in range(101)]
    assert rates[:20] == pytest.approx([2.0 * (step + 1) / 20 for step in range(20)])
    assert rates[20] == pytest.approx(2.0)
    assert rates[60] == pytest.approx((2.0 + 0.5) / 2)
    assert rates[100] == pytest.approx(0.5)
    assert rates[20:] == sorted(rates[20:], reverse=True)


def test_three_steps_by_hand() -> None:
    """AdamW's own formulas (Loshchilov and Hutter 2019, algorithm 2), gradients clipped by their norm over all."""
    spec, told = decoder(), SETTINGS
    torch.manual_seed(1)
    ours, theirs = build(spec, "cpu"), build(spec, "cpu")
    theirs.load_state_dict(ours.state_dict())
    given = batches(told)
    found = list(train_steps(ours, given, adamw(ours, told), told))
    weights = list(theirs.parameters())
    means, squares = ([torch.zeros_like(w) for w in weights] for _ in range(2))
    theirs.train()
    for step in range(told.steps):
        torch.manual_seed(seed_of(told.seed, "dropout", step))
        (ids,), targets = given.batch(step).inputs, given.batch(step).targets_BT
        surprise = F.cross_entropy(theirs(ids).flatten(0, 1), targets.flatten())
        gradients = torch.autograd.grad(surprise, weights)
        norm = torch.cat([g.flatten() for g in gradients]).norm()
        assert found[step].loss == pytest.approx(surprise.item(), rel=1e-6)
        assert found[step].norm == pytest.approx(norm.item(), rel=1e-5)
        assert norm > told.clip
        with torch.no_grad():
            for w, g, m, v in zip(weights, gradients, means, squares, strict=True):
                g = g * told.clip / norm
                w.mul_(1 - learning_rate(told, step) * told.weight_decay * (w.dim() > 1))
                m.mul_(told.beta1).add_(g, alpha=1 - told.beta1)
                v.mul_(told.beta2).add_(g * g, alpha=1 - told.beta2)
                m_hat, v_hat = m / (1 - told.beta1 ** (step + 1)), v / (1 - told.beta2 ** (step + 1))
                w.sub_(learning_rate(told, step) * m_hat / (v_hat.sqrt() + 1e-8))
    for a, b in zip(ours.parameters(), weights, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_a_step_computes_what_the_calculator_says() -> None:
    spec = decoder()
    model = build(spec, "cpu").train()
    with FlopCounterMode(display=False) as counted:
        loss(model, batches(SETTINGS).batch(0)).backward()
    assert counted.get_total_flops() == report(spec, batch=2, seq=8)["flops"]["train_step"]


@torch.no_grad()
def test_held_out_loss_is_the_mean_over_targets_whatever_the_windows() -> None:
    model, given = build(decoder(), "cpu").eval(), batches(SETTINGS)
    nats, right = [], []
    for start in range(0, 99, 8):
        window = given.validation_ids[start : start + 9]
        logits = model(window[None, :-1])[0].log_softmax(-1)
        nats += (-logits.gather(-1, window[1:, None])).flatten().tolist()
        right += (logits.argmax(-1) == window[1:]).tolist()
    found = validate(model, given.validation(), given.n_characters)
    assert found.nats == pytest.approx(sum(nats) / 99, rel=1e-5)
    assert found.nats_per_character == pytest.approx(sum(nats) / 250, rel=1e-5)
    assert found.accuracy == sum(right) / 99


def test_a_loss_that_is_no_number_ends_it_before_the_weights_take_it_in() -> None:
    model = build(decoder(), "cpu")
    with torch.no_grad():
        model.final_norm.weight[0] = math.nan
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    with pytest.raises(DivergedError, match=r"the loss of step 1 is nan: try a lower `lr`, or a longer `warmup`"):
        next(train_steps(model, batches(SETTINGS), adamw(model, SETTINGS), SETTINGS))
    assert all(
        torch.equal(
            w,
            before[n],
        )
        or n == "final_norm.weight"
        for n, w in model.named_parameters()
    )


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"steps": 0}, "steps: found 0; expected 1 or more"),
        ({"lr": 0.0}, "lr: found 0.0; expected above 0"),
        ({"lr": math.nan}, "lr: found nan"),
        ({"clip": -1.0}, "clip: found -1.0; expected above 0"),
        ({"warmup": 11}, "warmup: found 11; expected 0 to the 10 steps"),
    ],
)
def test_settings_that_cannot_be(wrong: dict[str, float], told: str) -> None:
    with pytest.raises(InputError) as caught:
        Settings(**{"steps": 10, "batch": 1, "seq": 1, "warmup": 0} | wrong)  # type: ignore[arg-type]
    assert str(caught.value).startswith(told)
