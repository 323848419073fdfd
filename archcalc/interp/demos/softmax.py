"""From logits to a token: softmax, the logistic function, argmax, sampling, temperature."""

from __future__ import annotations

import torch

from archcalc.interp.demos.results import Logistic, SoftmaxDemo, SoftmaxTemperature, SoftmaxToken
from archcalc.interp.distributions import entropy
from archcalc.run.decoding.sampling import distribution, draw
from archcalc.run.decoding.sampling_options import Sampling

LOGITS = (2.0, 1.0, 0.1)
TEMPERATURES = (0.0, 0.5, 1.0, 2.0, 10.0)
N_DRAWS = 1000

Row = tuple[float, ...]


def run(seed: int = 0) -> SoftmaxDemo:
    """Return each stage for the logits 2.0, 1.0 and 0.1, whose softmax is 0.659, 0.242, 0.099."""
    exps = torch.tensor(LOGITS, dtype=torch.float64).exp().tolist()
    stages = zip(LOGITS, exps, _softmax(LOGITS), _softmax(LOGITS, 0.0), _counts(seed), strict=True)
    difference = LOGITS[0] - LOGITS[1]
    first, second = _softmax(LOGITS[:2])
    return SoftmaxDemo(
        name="softmax",
        tokens=tuple(
            SoftmaxToken(token=i, logit=z, exp=exp, probability=p, argmax=int(largest), draws=n, frequency=n / N_DRAWS)
            for i, (z, exp, p, largest, n) in enumerate(stages, 1)
        ),
        sum=float(torch.tensor(exps, dtype=torch.float64).sum()),
        logistic=Logistic(
            difference=difference,
            softmax=(first, second),
            logistic=float(torch.tensor(difference, dtype=torch.float64).sigmoid()),
        ),
        temperatures=tuple(map(_temperature_row, TEMPERATURES)),
        seed=seed,
        n_draws=N_DRAWS,
    )


def _softmax(logits: Row, temperature: float = 1.0) -> Row:
    """Return the softmax, computed as in `generate`."""
    return tuple(
        distribution(torch.tensor([logits], dtype=torch.float64), Sampling(temperature=temperature))[0].tolist()
    )


def _temperature_row(temperature: float) -> SoftmaxTemperature:
    probabilities = _softmax(LOGITS, temperature)
    return SoftmaxTemperature(
        temperature=temperature,
        probabilities={str(i): p for i, p in enumerate(probabilities, 1)},
        entropy_nats=entropy(torch.tensor(probabilities, dtype=torch.float64)),
    )


def _counts(seed: int) -> tuple[int, ...]:
    """Return how often each token is sampled, with one generator, as in `generate`."""
    p_BV = torch.tensor([_softmax(LOGITS)], dtype=torch.float64).expand(N_DRAWS, -1)
    generator = torch.Generator().manual_seed(seed)
    return tuple(draw(p_BV, [generator] * N_DRAWS).bincount(minlength=len(LOGITS)).tolist())
