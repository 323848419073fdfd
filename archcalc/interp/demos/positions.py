"""Without positions attention is a sum over a set: swapped tokens give the same result at the last token.

Axes: B batch, T tokens, V vocab.
"""

from __future__ import annotations

from typing import Any

import torch

from archcalc.interp.demos import Demo
from archcalc.interp.demos.made import model
from archcalc.spec.document import Document

IN_ORDER, SWAPPED = (1, 2, 3), (2, 1, 3)

Row = tuple[float, ...]
_ROPE, _LEARNED = {"kind": "rope", "theta": 10000.0}, {"kind": "learned"}


class Case(Demo, frozen=True):
    """A model, and the logits after the last token of both orders.

    `difference` is the largest between them; `same` whether it is no more than sums round to, of float64.
    """

    name: str
    family: str
    positions: str
    n_layers: int
    in_order: Row
    swapped: Row
    difference: float
    same: bool


class Positions(Demo, frozen=True):
    """The same tokens in two orders, the last one the same, through models that differ in one thing."""

    in_order: tuple[int, ...]
    swapped: tuple[int, ...]
    seed: int
    rounding: float
    cases: tuple[Case, ...]


# Sums in another order differ in their last bits, of 53.
ROUNDING = 2.0**-40

# Name → (stack, layers, positions beside the embedding, positions in attention).
_CASES: dict[str, tuple[str, int, Document | None, Document | None]] = {
    "none": ("decoder", 1, None, None),
    "learned": ("decoder", 1, _LEARNED, None),
    "rope": ("decoder", 1, None, _ROPE),
    "encoder": ("encoder", 2, None, None),
    "mask": ("decoder", 2, None, None),
}


def run(seed: int = 0) -> Positions:
    """Each case, with the weights of one seed."""
    return Positions(IN_ORDER, SWAPPED, seed, ROUNDING, tuple(_case(name, seed) for name in _CASES))


def document(name: str) -> Document:
    """The architecture of a case."""
    stack, n_layers, beside, inside = _CASES[name]
    attention = {"kind": "gqa", "n_heads": 2} | ({"position": inside} if inside else {})
    layer = {
        "norm": {"kind": "layernorm"}, "placement": "pre", "attention": attention,
        "ffn": {"kind": "plain", "d_ff": 16, "activation": "gelu"},
    }  # fmt: skip
    stacked = {"n_layers": n_layers, "runs": [{"pattern": [layer]}]} | ({"position": beside} if beside else {})
    return {"name": name, "vocab_size": 6, "n_ctx": 4, "d_model": 8, stack: stacked}


def _case(name: str, seed: int) -> Case:
    stack, n_layers, beside, inside = _CASES[name]
    made = model(document(name), seed)
    in_order, swapped = _last(made, IN_ORDER), _last(made, SWAPPED)
    difference = max(abs(a - b) for a, b in zip(in_order, swapped, strict=True))
    kind = (beside or inside or {"kind": "none"})["kind"]
    return Case(name, stack, kind, n_layers, in_order, swapped, difference, difference <= ROUNDING)


@torch.no_grad()
def _last(made: Any, ids: tuple[int, ...]) -> Row:
    """The logits after the last token."""
    return tuple(made(torch.tensor([ids]))[0, -1].tolist())
