"""Padding of a batch's shorter rows, and the positions of its tokens.

Axes: B batch, T tokens, S all tokens so far.
"""

from __future__ import annotations

import torch
from torch import Tensor

from archcalc.errors import InputError
from archcalc.words import msg


def check_padding(padding_BT: Tensor | None, ids_BT: Tensor, where: str = "padding") -> Tensor | None:
    """Return the padding, or None if there is none; on meta its values are not checked.

    Raises InputError for a shape or a dtype that does not match the ids', and for padding between a row's tokens, which
    would change their distances.
    """
    if padding_BT is None:
        return None
    if padding_BT.shape != ids_BT.shape or padding_BT.dtype != torch.bool:
        found = msg("found {shape} of {dtype}", shape=list(padding_BT.shape), dtype=padding_BT.dtype)
        raise InputError(found, where=where, allowed=msg("{shape} of torch.bool", shape=list(ids_BT.shape)))
    if padding_BT.is_meta:
        return padding_BT
    if not padding_BT.any():
        return None
    if bool((_run_starts(padding_BT).sum(1) > 1).any()):
        raise InputError(
            msg("padding stands between tokens of a row"), where=where, allowed=msg("before or after them")
        )
    return padding_BT


def check_left_padding(padding_BS: Tensor) -> None:
    """Raise InputError if padding follows a token where more tokens may come."""
    if not padding_BS.is_meta and bool((padding_BS[:, 1:] & ~padding_BS[:, :-1]).any()):
        raise InputError(
            msg("padding stands after tokens of a row"), where="padding", allowed=msg("before them (on the left)")
        )


def check_source_padding(padding_BS: Tensor | None) -> None:
    """Raise InputError if a row is padding alone: there would be nothing to attend to."""
    if padding_BS is not None and not padding_BS.is_meta and bool(padding_BS.all(1).any()):
        raise InputError(
            msg("a row is padding alone"), where="source_padding", allowed=msg("at least one token in each row")
        )


def token_positions(padding_BS: Tensor) -> Tensor:
    """Return each token's position in its own row [B, S]; left padding is at 0, as the first token."""
    return ((~padding_BS).cumsum(1) - 1).clamp(min=0)


def extend_padding(
    past_padding_BS: Tensor | None, past: int, padding_BT: Tensor | None, ids_BT: Tensor
) -> Tensor | None:
    """Return the padding of the `past` tokens and of the new ones; None if there is none."""
    if padding_BT is None and (past_padding_BS is None or past == 0):
        return None
    no_padding_BT = torch.zeros_like(ids_BT, dtype=torch.bool)
    past_padding_BS = (
        no_padding_BT.new_zeros(len(ids_BT), past) if past_padding_BS is None else past_padding_BS[:, :past]
    )
    return torch.cat((past_padding_BS, no_padding_BT if padding_BT is None else padding_BT), 1)


def _run_starts(padding_BT: Tensor) -> Tensor:
    """Return True where a run of tokens begins."""
    return ~padding_BT & torch.nn.functional.pad(padding_BT[:, :-1], (1, 0), value=True)
