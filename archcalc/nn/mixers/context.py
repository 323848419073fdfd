"""What mixers read of the context of a pass: their state, and which tokens are padding."""

from __future__ import annotations

from torch import Tensor

from archcalc.nn.arm_cache import RecurrentState
from archcalc.nn.attention_context import AttentionContext


def read_state(context: AttentionContext) -> tuple[Tensor, ...] | None:
    """Return the state after the earlier tokens; None where a text begins."""
    if isinstance(context.cache, RecurrentState) and context.past:
        return context.cache.read(context.past)
    return None


def write_state(context: AttentionContext, *states: Tensor) -> None:
    """Store the state after this pass's tokens, if there is a cache."""
    if isinstance(context.cache, RecurrentState):
        context.cache.write(*states)


def without_padding(x_BTC: Tensor, context: AttentionContext) -> Tensor:
    """Return the input with zeros at padding, so that none enters a state."""
    padding_BT = context.query_padding
    return x_BTC if padding_BT is None else x_BTC.masked_fill(padding_BT.unsqueeze(-1), 0.0)
