"""From logits to a token: softmax, the logistic function, argmax, sampling, temperature."""

from __future__ import annotations

import torch

from archcalc.interp.demos import Demo
from archcalc.interp.distributions import entropy
from archcalc.run.decoding.sampling import distribution, draw
from archcalc.run.decoding.sampling_options import Sampling

LOGITS = (2.0, 1.0, 0.1)
TEMPERATURES = (0.0, 0.5, 1.0, 2.0, 10.0)
N_DRAWS = 1000

Row = tuple[float, ...]


class TemperatureRow(Demo, frozen=True):
    """The probabilities at a temperature; at 0 the largest logit has probability 1."""

    temperature: float
    probabilities: Row
    entropy_nats: float


class Logistic(Demo, frozen=True):
    """The softmax of the first two logits, and the logistic function 1 / (1 + exp(−x)) of their difference x."""

    difference: float
    softmax: Row
    logistic: float


class SoftmaxDemo(Demo, frozen=True):
    """Each stage from logits to sampled tokens, with a value for each token."""

    logits: Row
    exps: Row
    sum: float
    probabilities: Row
    argmax: Row
    logistic: Logistic
    temperatures: tuple[TemperatureRow, ...]
    seed: int
    n_draws: int
    counts: tuple[int, ...]
    frequencies: Row


def run(seed: int = 0) -> SoftmaxDemo:
    """Return each stage for the logits 2.0, 1.0 and 0.1, whose softmax is 0.659, 0.242, 0.099."""
    z_V = torch.tensor(LOGITS, dtype=torch.float64)
    p_V, counts = _softmax(LOGITS), _counts(seed)
    return SoftmaxDemo(
        LOGITS,
        tuple(z_V.exp().tolist()),
        float(z_V.exp().sum()),
        p_V,
        _softmax(LOGITS, 0.0),
        Logistic(LOGITS[0] - LOGITS[1], _softmax(LOGITS[:2]), float((z_V[0] - z_V[1]).sigmoid())),
        tuple(_temperature_row(temperature) for temperature in TEMPERATURES),
        seed,
        N_DRAWS,
        counts,
        tuple(count / N_DRAWS for count in counts),
    )


def _softmax(logits: Row, temperature: float = 1.0) -> Row:
    """Return the softmax, computed as in `generate`."""
    return tuple(
        distribution(torch.tensor([logits], dtype=torch.float64), Sampling(temperature=temperature))[0].tolist()
    )


def _temperature_row(temperature: float) -> TemperatureRow:
    probabilities = _softmax(LOGITS, temperature)
    return TemperatureRow(temperature, probabilities, entropy(torch.tensor(probabilities, dtype=torch.float64)))


def _counts(seed: int) -> tuple[int, ...]:
    """Return how often each token is sampled, with one generator, as in `generate`."""
    p_BV = torch.tensor([_softmax(LOGITS)], dtype=torch.float64).expand(N_DRAWS, -1)
    generator = torch.Generator().manual_seed(seed)
    return tuple(draw(p_BV, [generator] * N_DRAWS).bincount(minlength=len(LOGITS)).tolist())
