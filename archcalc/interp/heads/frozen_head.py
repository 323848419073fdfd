"""The head of a model as a matrix and a bias, for one state.

A transform before the matrix (BERT) is frozen for the state: an activation f at its input z is z · (f(z) − f(0)) / z +
f(0), with this factor held, and a norm has its scale. So the matrix gives the same logits.

Axes: D model, W width that the head's matrix reads, V vocabulary.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from archcalc.interp.heads.linear_steps import frozen
from archcalc.nn.activation import ACTIVATIONS


class FrozenHead(NamedTuple):
    """Logits are matrix [V, D] · state + bias [V], in float64, before a softcap."""

    matrix: Tensor
    bias: Tensor


def frozen_head(head: Any, tokens_VW: Tensor, state_D: Tensor) -> FrozenHead:
    """Return the head of a model for the state of one position that it reads."""
    matrix = (tokens_VW if head.weight is None else head.weight).double()
    if head.columns is not None:
        matrix = torch.cat((matrix, head.columns.weight.double()), 1)
    bias = matrix.new_zeros(len(matrix))
    for one in (head.bias, head.bias_buffer):
        bias = bias if one is None else bias + one.double().flatten()
    state_D = state_D.double() if head.part.scale is None else state_D.double() * head.part.scale
    if head.project is not None:
        matrix = matrix @ head.project.weight.double()
    elif head.transform is not None:
        matrix, bias = _through_transform(head, matrix, bias, state_D)
    matrix, bias = matrix[: head.part.n_scored], bias[: head.part.n_scored]
    return FrozenHead(matrix if head.part.scale is None else matrix * head.part.scale, bias)


def _through_transform(head: Any, matrix_VW: Tensor, bias_V: Tensor, state_D: Tensor) -> tuple[Tensor, Tensor]:
    """Return the matrix [V, D] and the bias before the transform."""
    act = ACTIVATIONS[head.part.transform.activation]
    linears = [one for one in (head.transform, head.transform_out) if one is not None]
    inputs, x = [], state_D
    for linear in linears:
        inputs.append(x @ linear.weight.double().T + (0.0 if linear.bias is None else linear.bias.double()))
        x = act(inputs[-1])
    if head.norm is not None:
        norm = frozen(head.norm, x)
        bias_V = bias_V if norm.bias is None else bias_V + matrix_VW @ norm.bias
        matrix_VW = norm.pull_back(matrix_VW)
    for linear, z in zip(reversed(linears), reversed(inputs), strict=True):
        at_zero = act(torch.zeros_like(z))
        slope = torch.where(z == 0, 0.0, (act(z) - at_zero) / torch.where(z == 0, 1.0, z))
        bias_V = bias_V + matrix_VW @ at_zero
        matrix_VW = matrix_VW * slope
        bias_V = bias_V if linear.bias is None else bias_V + matrix_VW @ linear.bias.double()
        matrix_VW = matrix_VW @ linear.weight.double()
    return matrix_VW, bias_V
