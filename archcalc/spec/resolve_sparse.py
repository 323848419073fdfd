"""Resolve sparse attention: fill in the head's width and refuse contradictions."""

from __future__ import annotations

import msgspec.structs

from archcalc.errors import InputError
from archcalc.spec.model import Spec
from archcalc.spec.resolve_parts import head_width
from archcalc.spec.sparse import SparseAttention, summary_bias
from archcalc.words import msg


def sparse(part: SparseAttention, spec: Spec, where: str) -> SparseAttention:
    """Return the attention with d_head."""
    d_head = head_width(part.d_head, part.n_heads, spec, where)
    bias = summary_bias(part)
    if bias is not None and bias.shared != "stack":
        raise InputError(
            msg("found {found}", found=repr(bias.shared)), where=f"{where}.pattern.position.shared", allowed="stack"
        )
    return msgspec.structs.replace(part, d_head=d_head)
