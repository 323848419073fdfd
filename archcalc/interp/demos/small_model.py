"""Small float64 models for demonstrations, with weights large enough to have a visible effect.

Axes: B batch, T tokens, V vocab.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from archcalc.nn import build
from archcalc.sources import load
from archcalc.spec.document import Document

STANDARD_DEVIATION = 0.5


def small_model(document: Document | str, seed: int) -> Any:
    """Return the model of a document or a preset with random matrices; the global generator is left unchanged."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build(load(document), "cpu", torch.float64)
        _randomize(model)
    return model.eval()


@torch.no_grad()
def _randomize(model: nn.Module) -> None:
    """Draw matrices with a large deviation, since the usual initial weights are too small to have a visible effect."""
    for weight in model.parameters():
        if weight.ndim > 1:
            weight.normal_(std=STANDARD_DEVIATION)
