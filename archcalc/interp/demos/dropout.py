"""Dropout in training and at inference (Srivastava et al. 2014): one vector through a layer's dropout.

Axes: B draws, T tokens (one), D model.
"""

from __future__ import annotations

from typing import Any

import torch

from archcalc.interp.demos.results import DropoutDemo, DropoutEntry
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


@torch.no_grad()
def run(seed: int = 0) -> DropoutDemo:
    """Return one vector at inference, and many draws of it in training."""
    model = small_model(LAYER, seed)
    block, x_BTD = model.layers["0"], model.embed(torch.tensor([[1]]))
    y_BTD = block.run_arm(block.arms[-1], block.apply_norm("ffn_norm", x_BTD), model.layer_context(torch.arange(1)))
    inference_BTD = block.eval().apply_dropout(y_BTD)
    draws_BTD = _training_draws(block, y_BTD.expand(N_DRAWS, -1, -1), seed)
    training_rows = zip(*draws_BTD[:N_EXAMPLES].flatten(1).tolist(), strict=True)
    deviation_BTD = y_BTD.abs() * (P / (1 - P) / N_DRAWS) ** 0.5
    entries = zip(_row(inference_BTD), training_rows, _row(draws_BTD.mean(0)), _row(deviation_BTD), strict=True)
    return DropoutDemo(
        name="dropout",
        p=P,
        scale=1 / (1 - P),
        seed=seed,
        n_draws=N_DRAWS,
        entries=tuple(
            DropoutEntry(
                entry=i,
                inference=inference,
                training={str(n): value + 0.0 for n, value in enumerate(training, 1)},
                mean=mean,
                deviation=deviation,
            )
            for i, (inference, training, mean, deviation) in enumerate(entries, 1)
        ),
        share_dropped=float((draws_BTD == 0).double().mean()),
    )


def _training_draws(block: Any, x_BTD: torch.Tensor, seed: int) -> torch.Tensor:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        y_BTD: torch.Tensor = block.train().apply_dropout(x_BTD)
    return y_BTD


def _row(x: torch.Tensor) -> Row:
    return tuple((x + 0.0).flatten().tolist())  # turns −0 into 0
