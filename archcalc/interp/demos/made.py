"""Small models to show something on: in float64, with weights large enough to see what they do.

Axes: B batch, T tokens, V vocab.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from archcalc.nn import build
from archcalc.sources import load
from archcalc.spec.document import Document

DEVIATION = 0.5


def model(document: Document | str, seed: int) -> Any:
    """The model of a document or a preset, its matrices drawn by a seed; torch's own generator stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = build(load(document), "cpu", torch.float64)
        _enlarge(made)
    return made.eval()


@torch.no_grad()
def _enlarge(made: nn.Module) -> None:
    """Matrices with a deviation of a half: first values as small as training begins with would show nothing."""
    for weight in made.parameters():
        if weight.ndim > 1:
            weight.normal_(std=DEVIATION)
