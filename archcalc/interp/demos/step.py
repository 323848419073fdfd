"""One training step by hand: loss, gradient, new weights, new loss, compared with autograd and the module.

Axes: B batch, T tokens, V vocab, D model.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from archcalc.interp.demos.results import GradientDifferences, StepToken, TrainingStepDemo
from archcalc.interp.demos.small_model import small_model

PRESET = "happy"
TOKENS = ("<SOS>", "我", "很", "开心", "<EOS>")
PROMPT, TARGET = (0, 1, 2), 3
LEARNING_RATE = 0.5

Row = tuple[float, ...]


def run(seed: int = 0) -> TrainingStepDemo:
    """Return the step in which a one-layer decoder learns that 开心 follows <SOS> 我 很."""
    model = small_model(PRESET, seed)
    head, (h_D, z_V, loss, autograd) = model.head, _forward_backward(model)
    w_VD, b_V = head.weight.detach().clone(), head.bias.detach().clone()
    p_V = z_V.softmax(-1)
    g_V = p_V - F.one_hot(torch.tensor(TARGET), len(TOKENS))
    by_hand = {"logits": g_V, "weight": g_V.outer(h_D), "bias": g_V, "state": w_VD.T @ g_V}
    new_z_V = (w_VD - LEARNING_RATE * by_hand["weight"]) @ h_D + b_V - LEARNING_RATE * by_hand["bias"]
    squares = sum(float((by_hand[name] ** 2).sum()) for name in ("weight", "bias"))
    with torch.no_grad():
        head.weight -= LEARNING_RATE * autograd["weight"]
        head.bias -= LEARNING_RATE * autograd["bias"]
    y_V, new_p_V = [float(token == TARGET) for token in range(len(TOKENS))], new_z_V.softmax(-1)
    columns = TOKENS, _row(z_V), _row(p_V), y_V, _row(g_V), _row(autograd["logits"]), _row(new_z_V), _row(new_p_V)
    return TrainingStepDemo(
        name="step",
        tokens=tuple(StepToken(*row) for row in zip(*columns, strict=True)),
        prompt=PROMPT,
        target=TARGET,
        seed=seed,
        learning_rate=LEARNING_RATE,
        state=_row(h_D),
        loss=float(-p_V[TARGET].log()),
        module_loss=loss,
        differences=GradientDifferences(
            **{name: _largest_difference(by_hand[name], autograd[name]) for name in by_hand}
        ),
        new_loss=float(-new_z_V.log_softmax(-1)[TARGET]),
        new_module_loss=_forward_backward(model)[2],
        expected_change=-LEARNING_RATE * squares,
    )


def _forward_backward(model: Any) -> tuple[Tensor, Tensor, float, dict[str, Tensor]]:
    """Return the state after the prompt [D], its logits [V], the loss, and the gradients of autograd by name."""
    states: list[Tensor] = []
    model.requires_grad_(True)
    hook = model.head.register_forward_pre_hook(lambda _, inputs: states.append(inputs[0]))
    logits_BTV = model(torch.tensor([PROMPT]), n_logits=1)
    hook.remove()
    loss = F.cross_entropy(logits_BTV[0, -1], torch.tensor(TARGET))
    tensors = {"logits": logits_BTV, "weight": model.head.weight, "bias": model.head.bias, "state": states[0]}
    gradients = dict(zip(tensors, torch.autograd.grad(loss, list(tensors.values())), strict=True))
    gradients |= {name: gradients[name][0, -1] for name in ("logits", "state")}
    return states[0].detach()[0, -1], logits_BTV.detach()[0, -1], float(loss.detach()), gradients


def _largest_difference(by_hand: Tensor, autograd: Tensor) -> float:
    return float((by_hand - autograd).abs().max())


def _row(x: Tensor) -> Row:
    return tuple(x.detach().flatten().tolist())
