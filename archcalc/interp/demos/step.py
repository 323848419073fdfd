"""One training step by hand: loss, gradient, new weights, new loss, each beside what autograd and the module give.

Axes: B batch, T tokens, V vocab, D model.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from archcalc.interp.demos import Demo
from archcalc.interp.demos.made import model

PRESET = "happy"
TOKENS = ("<SOS>", "我", "很", "开心", "<EOS>")
PROMPT, TARGET = (0, 1, 2), 3
LEARNING_RATE = 0.5

Row = tuple[float, ...]


class Gradients(Demo, frozen=True):
    """The largest difference between the gradients by hand and autograd's, of each tensor."""

    logits: float
    weight: float
    bias: float
    state: float


class Step(Demo, frozen=True):
    """A step of gradient descent on the head's matrix W and bias b, worked out from the last state h.

    z = W·h + b, p = softmax(z), loss = −ln p[target]; ∂loss/∂z = p − y, y the target's one-hot vector; ∂loss/∂W =
    (p − y)·hᵀ, ∂loss/∂b = p − y. Both losses are worked out by hand, and told by the module, before the step and after
    it; `expected_change` is −learning_rate · |gradient|², what the loss would change by if it were a straight line.
    """

    tokens: tuple[str, ...]
    prompt: tuple[int, ...]
    target: int
    seed: int
    learning_rate: float
    state: Row
    logits: Row
    probabilities: Row
    loss: float
    module_loss: float
    gradient: Row
    autograd: Row
    differences: Gradients
    new_logits: Row
    new_probabilities: Row
    new_loss: float
    new_module_loss: float
    expected_change: float


def run(seed: int = 0) -> Step:
    """A decoder of one layer learns that 开心 follows <SOS> 我 很."""
    made = model(PRESET, seed)
    head, (h_D, z_V, loss, autograd) = made.head, _read(made)
    w_VD, b_V = head.weight.detach().clone(), head.bias.detach().clone()
    p_V = z_V.softmax(-1)
    g_V = p_V - F.one_hot(torch.tensor(TARGET), len(TOKENS))
    by_hand = {"logits": g_V, "weight": g_V.outer(h_D), "bias": g_V, "state": w_VD.T @ g_V}
    new_z_V = (w_VD - LEARNING_RATE * by_hand["weight"]) @ h_D + b_V - LEARNING_RATE * by_hand["bias"]
    squares = sum(float((by_hand[name] ** 2).sum()) for name in ("weight", "bias"))
    with torch.no_grad():
        head.weight -= LEARNING_RATE * autograd["weight"]
        head.bias -= LEARNING_RATE * autograd["bias"]
    return Step(
        TOKENS,
        PROMPT,
        TARGET,
        seed,
        LEARNING_RATE,
        state=_row(h_D),
        logits=_row(z_V),
        probabilities=_row(p_V),
        loss=float(-p_V[TARGET].log()),
        module_loss=loss,
        gradient=_row(g_V),
        autograd=_row(autograd["logits"]),
        differences=Gradients(**{name: _apart(by_hand[name], autograd[name]) for name in by_hand}),
        new_logits=_row(new_z_V),
        new_probabilities=_row(new_z_V.softmax(-1)),
        new_loss=float(-new_z_V.log_softmax(-1)[TARGET]),
        new_module_loss=_read(made)[2],
        expected_change=-LEARNING_RATE * squares,
    )


def _read(made: Any) -> tuple[Tensor, Tensor, float, dict[str, Tensor]]:
    """After the prompt: the last state, its logits, the loss, and autograd's gradients of it by name."""
    states: list[Tensor] = []
    made.requires_grad_(True)
    hook = made.head.register_forward_pre_hook(lambda _, given: states.append(given[0]))
    logits_BTV = made(torch.tensor([PROMPT]), n_logits=1)
    hook.remove()
    loss = F.cross_entropy(logits_BTV[0, -1], torch.tensor(TARGET))
    watched = {"logits": logits_BTV, "weight": made.head.weight, "bias": made.head.bias, "state": states[0]}
    found = dict(zip(watched, torch.autograd.grad(loss, list(watched.values())), strict=True))
    found |= {name: found[name][0, -1] for name in ("logits", "state")}
    return states[0].detach()[0, -1], logits_BTV.detach()[0, -1], float(loss.detach()), found


def _apart(by_hand: Tensor, found: Tensor) -> float:
    return float((by_hand - found).abs().max())


def _row(x: Tensor) -> Row:
    return tuple(x.detach().flatten().tolist())
