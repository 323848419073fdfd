"""Attention without positions ignores order: swapping earlier tokens does not change the last token's logits.

Axes: B batch, T tokens, V vocab.
"""

from __future__ import annotations

from typing import Any

import torch

from archcalc.interp.demos.results import PositionsCase, PositionsDemo
from archcalc.interp.demos.small_model import small_model
from archcalc.spec.document import Document

IN_ORDER, SWAPPED = (1, 2, 3), (2, 1, 3)

Row = tuple[float, ...]
_ROPE, _LEARNED = {"kind": "rope", "theta": 10000.0}, {"kind": "learned"}


# The order of a sum changes its last bits, of 53.
ROUNDING = 2.0**-40

# Name → (stack, layers, position embedding, positions in attention).
_CASES: dict[str, tuple[str, int, Document | None, Document | None]] = {
    "none": ("decoder", 1, None, None),
    "learned": ("decoder", 1, _LEARNED, None),
    "rope": ("decoder", 1, None, _ROPE),
    "encoder": ("encoder", 2, None, None),
    "mask": ("decoder", 2, None, None),
}


def run(seed: int = 0) -> PositionsDemo:
    """Return the result of each case, with weights drawn from one seed."""
    return PositionsDemo(
        name="positions",
        in_order=IN_ORDER,
        swapped=SWAPPED,
        seed=seed,
        rounding=ROUNDING,
        cases=tuple(_case(name, seed) for name in _CASES),
    )


def document(name: str) -> Document:
    """Return the architecture of a case."""
    stack, n_layers, embedded, in_attention = _CASES[name]
    attention = {"kind": "gqa", "n_heads": 2} | ({"position": in_attention} if in_attention else {})
    layer = {
        "norm": {"kind": "layernorm"}, "placement": "pre", "attention": attention,
        "ffn": {"kind": "plain", "d_ff": 16, "activation": "gelu"},
    }  # fmt: skip
    layers = {"n_layers": n_layers, "runs": [{"pattern": [layer]}]} | ({"position": embedded} if embedded else {})
    return {"name": name, "vocab_size": 6, "n_ctx": 4, "d_model": 8, stack: layers}


def _case(name: str, seed: int) -> PositionsCase:
    stack, n_layers, embedded, in_attention = _CASES[name]
    model = small_model(document(name), seed)
    in_order, swapped = _last_logits(model, IN_ORDER), _last_logits(model, SWAPPED)
    difference = max(abs(a - b) for a, b in zip(in_order, swapped, strict=True))
    kind = (embedded or in_attention or {"kind": "none"})["kind"]
    return PositionsCase(
        name=name,
        family=stack,
        positions=kind,
        layers=n_layers,
        logit=in_order[0],
        swapped_logit=swapped[0],
        in_order=in_order,
        swapped=swapped,
        difference=difference,
        is_same=difference <= ROUNDING,
    )


@torch.no_grad()
def _last_logits(model: Any, ids: tuple[int, ...]) -> Row:
    return tuple(model(torch.tensor([ids]))[0, -1].tolist())
