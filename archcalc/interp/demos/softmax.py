"""Logits to probabilities, to a choice: softmax, the logistic function, argmax, sampling, temperature."""

from __future__ import annotations

import torch

from archcalc.interp.demos import Demo
from archcalc.interp.distributions import entropy
from archcalc.run.decoding.sampling import Sampling, distribution, draw

LOGITS = (2.0, 1.0, 0.1)
TEMPERATURES = (0.0, 0.5, 1.0, 2.0, 10.0)
N_DRAWS = 1000

Row = tuple[float, ...]


class Tempered(Demo, frozen=True):
    """The probabilities of the same logits at a temperature; at 0 all is the largest's."""

    temperature: float
    probabilities: Row
    entropy_nats: float


class Logistic(Demo, frozen=True):
    """The softmax of the first two logits, and the logistic function 1 / (1 + exp(−x)) of their difference x."""

    difference: float
    softmax: Row
    logistic: float


class Softmax(Demo, frozen=True):
    """Each stage from logits to draws, a value for each token."""

    logits: Row
    exps: Row
    sum: float
    probabilities: Row
    argmax: Row
    logistic: Logistic
    temperatures: tuple[Tempered, ...]
    seed: int
    n_draws: int
    counts: tuple[int, ...]
    frequencies: Row


def run(seed: int = 0) -> Softmax:
    """Of the logits 2.0, 1.0 and 0.1: 0.659, 0.242, 0.099."""
    z_V = torch.tensor(LOGITS, dtype=torch.float64)
    p_V, counts = _softmax(LOGITS), _counts(seed)
    return Softmax(
        LOGITS,
        tuple(z_V.exp().tolist()),
        float(z_V.exp().sum()),
        p_V,
        _softmax(LOGITS, 0.0),
        Logistic(LOGITS[0] - LOGITS[1], _softmax(LOGITS[:2]), float((z_V[0] - z_V[1]).sigmoid())),
        tuple(_tempered(temperature) for temperature in TEMPERATURES),
        seed,
        N_DRAWS,
        counts,
        tuple(count / N_DRAWS for count in counts),
    )


def _softmax(logits: Row, temperature: float = 1.0) -> Row:
    """As `generate` makes it of a model's logits."""
    return tuple(
        distribution(torch.tensor([logits], dtype=torch.float64), Sampling(temperature=temperature))[0].tolist()
    )


def _tempered(temperature: float) -> Tempered:
    found = _softmax(LOGITS, temperature)
    return Tempered(temperature, found, entropy(torch.tensor(found, dtype=torch.float64)))


def _counts(seed: int) -> tuple[int, ...]:
    """How often each token comes, drawn as `generate` draws: one number of one generator for each."""
    p_BV = torch.tensor([_softmax(LOGITS)], dtype=torch.float64).expand(N_DRAWS, -1)
    die = torch.Generator().manual_seed(seed)
    return tuple(draw(p_BV, [die] * N_DRAWS).bincount(minlength=len(LOGITS)).tolist())
