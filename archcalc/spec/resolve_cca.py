"""Resolve compressed convolutional attention: fill in its widths and refuse contradictions."""

from __future__ import annotations

import msgspec.structs

from archcalc.errors import InputError
from archcalc.spec.cca import ConvolutionalAttention
from archcalc.spec.model import Spec
from archcalc.spec.resolve_parts import head_width, kv_heads, plain_rope
from archcalc.words import msg


def convolutional(part: ConvolutionalAttention, spec: Spec, where: str) -> ConvolutionalAttention:
    """Return the attention with its numbers of heads and widths."""
    n_kv_heads = kv_heads(part.n_kv_heads, part.n_heads, where)
    d_head = head_width(part.d_head, part.n_heads, spec, where)
    unsupported = msg("compressed convolutional attention does not support it")
    position = plain_rope(part.position, d_head, f"{where}.position", unsupported)
    return msgspec.structs.replace(
        part,
        n_kv_heads=n_kv_heads,
        d_head=d_head,
        d_before=_width_before(part.d_before, n_kv_heads * d_head, f"{where}.d_before"),
        position=position,
    )


def _width_before(stated: int | None, width: int, where: str) -> int:
    """Return how many values are those of the token before: by default half of them."""
    if stated is None and width % 2:
        found = msg("half of {width} values", width=width)
        raise InputError(found, where=where, allowed=msg("1 to {last}", last=width - 1))
    n = width // 2 if stated is None else stated
    if n >= width:
        found = msg("{n} of {width} values", n=n, width=width)
        raise InputError(found, where=where, allowed=msg("1 to {last}", last=width - 1))
    return n
