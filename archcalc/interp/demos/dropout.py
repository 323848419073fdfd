"""Dropout in training and at inference (Srivastava et al. 2014): one vector through a layer's dropout.

Axes: B draws, T tokens (one), D model.
"""

from __future__ import annotations

from typing import Any

import torch

from archcalc.interp.demos import Demo
from archcalc.interp.demos.small_model import small_model
from archcalc.spec.document import Document

P = 0.25
N_EXAMPLES, N_DRAWS = 3, 10_000

Row = tuple[float, ...]

LAYER: Document = {
    "name": "dropout", "vocab_size": 8, "n_ctx": 4, "d_model": 8, "dropout": {"residual": P},
    "decoder": {"n_layers": 1, "runs": [{"pattern": [{
        "norm": {"kind": "layernorm"}, "placement": "pre", "attention": {"kind": "gqa", "n_heads": 2},
        "ffn": {"kind": "plain", "d_ff": 16, "activation": "relu"}}]}]},
}  # fmt: skip


class DropoutDemo(Demo, frozen=True):
    """The output of a feed-forward network after dropout, at inference and in training.

    In training each value is dropped with probability `p`, and the others are multiplied by `scale` = 1 / (1 − p).
    `mean` is over `n_draws` draws, `deviation` its standard deviation in theory; both have a value for each entry.
    """

    p: float
    scale: float
    seed: int
    inference: Row
    training: tuple[Row, ...]
    n_draws: int
    mean: Row
    deviation: Row
    share_dropped: float


@torch.no_grad()
def run(seed: int = 0) -> DropoutDemo:
    """Return one vector at inference, and many draws of it in training."""
    model = small_model(LAYER, seed)
    block, x_BTD = model.layers["0"], model.embed(torch.tensor([[1]]))
    y_BTD = block.run_arm(block.arms[-1], block.apply_norm("ffn_norm", x_BTD), model.layer_context(torch.arange(1)))
    inference_BTD = block.eval().apply_dropout(y_BTD)
    draws_BTD = _training_draws(block, y_BTD.expand(N_DRAWS, -1, -1), seed)
    return DropoutDemo(
        P,
        1 / (1 - P),
        seed,
        _row(inference_BTD),
        tuple(map(_row, draws_BTD[:N_EXAMPLES])),
        N_DRAWS,
        _row(draws_BTD.mean(0)),
        _row(y_BTD.abs() * (P / (1 - P) / N_DRAWS) ** 0.5),
        float((draws_BTD == 0).double().mean()),
    )


def _training_draws(block: Any, x_BTD: torch.Tensor, seed: int) -> torch.Tensor:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        y_BTD: torch.Tensor = block.train().apply_dropout(x_BTD)
    return y_BTD


def _row(x: torch.Tensor) -> Row:
    return tuple((x + 0.0).flatten().tolist())  # turns −0 into 0
