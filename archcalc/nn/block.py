"""A layer: its parts, and the norms about them.

Axes: B batch, T tokens, D model.
"""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from archcalc.nn.norm import norm
from archcalc.nn.parts import module
from archcalc.nn.sight import View
from archcalc.nn.taps.points import tap, within
from archcalc.spec import Spec
from archcalc.spec.execution import Execution
from archcalc.spec.layer import Layer, Placement
from archcalc.spec.sites import MIDS

_SLOTS = {"attn": "attention", "cross": "cross", "ffn": "ffn"}

# What a part's name is followed by in the names of its norms, for each placement.
_NORMS: dict[Placement, tuple[str, ...]] = {
    "pre": ("_norm",),
    "post": ("_norm",),
    "sandwich": ("_norm", "_out_norm"),
    "output": ("_out_norm",),
    "parallel": ("_norm",),
    "parallel_two": ("_norm",),
}


class Block(nn.Module):
    """One layer of a stack; `archcalc.spec.layer.Layer` says what each placement computes."""

    def __init__(self, layer: Layer, model: Spec) -> None:
        super().__init__()
        self.placement, self.dropout, self.how = layer.placement, model.dropout.residual, Execution()
        parts = {slot: getattr(layer, field) for slot, field in _SLOTS.items()}
        self.slots = [slot for slot, part in parts.items() if part is not None]
        for slot in self.slots:
            self.add_module(slot, module(parts[slot], model))
        for name in self._norm_names():
            self.add_module(name, norm(layer.norm, model.d_model))

    def forward(self, x_BTD: Tensor, view: View) -> Tensor:
        """States [B, T, D] to states [B, T, D]."""
        y_BTD = _PLACEMENTS[self.placement](self, tap("resid_pre", x_BTD), view)
        return tap("resid_post", y_BTD)

    def part(self, slot: str, x_BTD: Tensor, view: View) -> Tensor:
        """What one part makes of the states [B, T, D], before any residual."""
        sights = {"attn": (view.own,), "cross": (view.source,), "ffn": ()}
        y_BTD: Tensor = within(slot, self.get_submodule(slot), x_BTD, *sights[slot])
        return tap(f"{slot}.out", y_BTD)

    def normed(self, name: str, x_BTD: Tensor) -> Tensor:
        """The states through the norm of this name."""
        y_BTD: Tensor = self.get_submodule(name)(x_BTD)
        return tap(name, y_BTD)

    def dropped(self, y_BTD: Tensor) -> Tensor:
        """What is about to join the residual stream, some of it dropped in training."""
        return F.dropout(y_BTD, self.dropout, self.training and self.how.dropout)

    def after(self, slot: str, x_BTD: Tensor) -> Tensor:
        """The residual stream after a part: a point of its own, if another part follows."""
        return x_BTD if slot == self.slots[-1] else tap(MIDS[slot], x_BTD)

    def _norm_names(self) -> list[str]:
        """One norm serves both parts of a parallel layer; else each part has its own."""
        slots = ["attn"] if self.placement == "parallel" else self.slots
        return [slot + suffix for slot in slots for suffix in _NORMS[self.placement]]


def _pre(block: Block, x_BTD: Tensor, view: View) -> Tensor:
    for slot in block.slots:
        y_BTD = block.part(slot, block.normed(f"{slot}_norm", x_BTD), view)
        x_BTD = block.after(slot, x_BTD + block.dropped(y_BTD))
    return x_BTD


def _post(block: Block, x_BTD: Tensor, view: View) -> Tensor:
    for slot in block.slots:
        sum_BTD = tap(f"{slot}_sum", x_BTD + block.dropped(block.part(slot, x_BTD, view)))
        x_BTD = block.after(slot, block.normed(f"{slot}_norm", sum_BTD))
    return x_BTD


def _sandwich(block: Block, x_BTD: Tensor, view: View) -> Tensor:
    for slot in block.slots:
        y_BTD = block.part(slot, block.normed(f"{slot}_norm", x_BTD), view)
        x_BTD = block.after(slot, x_BTD + block.dropped(block.normed(f"{slot}_out_norm", y_BTD)))
    return x_BTD


def _output(block: Block, x_BTD: Tensor, view: View) -> Tensor:
    for slot in block.slots:
        y_BTD = block.normed(f"{slot}_out_norm", block.part(slot, x_BTD, view))
        x_BTD = block.after(slot, x_BTD + block.dropped(y_BTD))
    return x_BTD


def _parallel(block: Block, x_BTD: Tensor, view: View) -> Tensor:
    normed_BTD = block.normed("attn_norm", x_BTD)
    attended_BTD, fed_BTD = (block.dropped(block.part(slot, normed_BTD, view)) for slot in ("attn", "ffn"))
    return x_BTD + attended_BTD + fed_BTD


def _parallel_two(block: Block, x_BTD: Tensor, view: View) -> Tensor:
    attended_BTD, fed_BTD = (
        block.dropped(block.part(slot, block.normed(f"{slot}_norm", x_BTD), view)) for slot in ("attn", "ffn")
    )
    return x_BTD + attended_BTD + fed_BTD


_PLACEMENTS: dict[Placement, Callable[[Block, Tensor, View], Tensor]] = {
    "pre": _pre,
    "post": _post,
    "sandwich": _sandwich,
    "output": _output,
    "parallel": _parallel,
    "parallel_two": _parallel_two,
}
