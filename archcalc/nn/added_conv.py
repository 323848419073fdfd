"""Causal convolutions that are added to what they read, with their last inputs as a state (Inkling).

Axes: B batch, T tokens, C channels, W width of the convolution.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from archcalc.nn.arm_cache import RecurrentState
from archcalc.nn.attention_context import AttentionContext
from archcalc.nn.mixers.context import without_padding
from archcalc.nn.scaling import multiply

# Return the convolution of an input [B, T, C] after its past [B, C, W − 1], and its last inputs.
Convolution = Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor]]


def with_convolutions(
    convolutions: tuple[Convolution, ...],
    inputs: tuple[Tensor, ...],
    state: RecurrentState | None,
    context: AttentionContext,
    scale: float = 1.0,
) -> tuple[Tensor, ...]:
    """Return each input [B, T, C] plus its convolution, times `scale`; the state of them all is read and written."""
    past = state.read(context.past) if state is not None and context.past else (None,) * len(inputs)
    outputs, recent = [], []
    for convolution, x_BTC, past_BCW in zip(convolutions, inputs, past, strict=True):
        y_BTC, last_BCW = convolution(without_padding(x_BTC, context), past_BCW)
        outputs.append(multiply(x_BTC + y_BTC, scale))
        recent.append(last_BCW)
    if state is not None:
        state.write(*recent)
    return tuple(outputs)
