"""Resolve attention by experts: fill in the head's width and the rotation, and refuse contradictions."""

from __future__ import annotations

import msgspec.structs

from archcalc.errors import InputError
from archcalc.spec.model import Spec
from archcalc.spec.resolve_parts import head_width, plain_rope
from archcalc.spec.routed import RoutedAttention
from archcalc.words import msg


def routed(part: RoutedAttention, spec: Spec, where: str) -> RoutedAttention:
    """Return the attention with d_head and d_rotary."""
    if part.n_active > part.n_experts:
        raise InputError(
            msg("{n_active} of {n_experts} experts", n_active=part.n_active, n_experts=part.n_experts),
            where=f"{where}.n_active",
            allowed=msg("1 to {n_experts}", n_experts=part.n_experts),
        )
    d_head = head_width(part.d_head, part.n_kv_heads, spec, where)
    unsupported = msg("attention by experts does not support it")
    position = plain_rope(part.position, d_head, f"{where}.position", unsupported)
    return msgspec.structs.replace(part, d_head=d_head, position=position)
