"""Dropout in training and at inference (Srivastava et al. 2014): the same vector through a layer's own dropout.

Axes: B draws, T tokens (one), D model.
"""

from __future__ import annotations

from typing import Any

import torch

from archcalc.interp.demos import Demo
from archcalc.interp.demos.made import model
from archcalc.spec.document import Document

P = 0.25
N_SHOWN, N_DRAWS = 3, 10_000

Row = tuple[float, ...]

LAYER: Document = {
    "name": "dropout", "vocab_size": 8, "n_ctx": 4, "d_model": 8, "dropout": {"residual": P},
    "decoder": {"n_layers": 1, "runs": [{"pattern": [{
        "norm": {"kind": "layernorm"}, "placement": "pre", "attention": {"kind": "gqa", "n_heads": 2},
        "ffn": {"kind": "plain", "d_ff": 16, "activation": "relu"}}]}]},
}  # fmt: skip


class Dropout(Demo, frozen=True):
    """What a feed-forward network gives to the residual stream, at inference and in training.

    In training each value is dropped with probability `p`, and what stays is multiplied with `scale` = 1 / (1 − p).
    `mean` is that of `n_draws` draws, `deviation` the standard deviation that theory gives it, a value for each entry.
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
def run(seed: int = 0) -> Dropout:
    """The same vector: once as it is, and often with some of it dropped."""
    made = model(LAYER, seed)
    block, x_BTD = made.layers["0"], made.embed(torch.tensor([[1]]))
    fed_BTD = block.run_arm(block.arms[-1], block.apply_norm("ffn_norm", x_BTD), made.layer_context(torch.arange(1)))
    at_inference_BTD = block.eval().apply_dropout(fed_BTD)
    draws_BTD = _drawn(block, fed_BTD.expand(N_DRAWS, -1, -1), seed)
    return Dropout(
        P,
        1 / (1 - P),
        seed,
        _row(at_inference_BTD),
        tuple(map(_row, draws_BTD[:N_SHOWN])),
        N_DRAWS,
        _row(draws_BTD.mean(0)),
        _row(fed_BTD.abs() * (P / (1 - P) / N_DRAWS) ** 0.5),
        float((draws_BTD == 0).double().mean()),
    )


def _drawn(block: Any, x_BTD: torch.Tensor, seed: int) -> torch.Tensor:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        y_BTD: torch.Tensor = block.train().apply_dropout(x_BTD)
    return y_BTD


def _row(x: torch.Tensor) -> Row:
    return tuple((x + 0.0).flatten().tolist())  # what is dropped is 0, never −0
