"""Resolve sparse attention: fill in the head's width and refuse contradictions."""

from __future__ import annotations

import msgspec.structs

from archcalc.errors import InputError
from archcalc.spec.model import Spec
from archcalc.spec.sparse import SparseAttention, summary_bias
from archcalc.words import msg


def sparse(part: SparseAttention, spec: Spec, where: str) -> SparseAttention:
    """Return the attention with d_head."""
    if part.d_head is None and spec.d_model % part.n_heads:
        raise InputError(
            msg(
                "left out, and d_model {d_model} is not divisible by n_heads {n_heads}",
                d_model=spec.d_model,
                n_heads=part.n_heads,
            ),
            where=f"{where}.d_head",
            allowed=msg("d_head stated, or an n_heads that divides d_model"),
        )
    bias = summary_bias(part)
    if bias is not None and bias.shared != "stack":
        raise InputError(
            msg("found {found}", found=repr(bias.shared)), where=f"{where}.pattern.position.shared", allowed="stack"
        )
    return msgspec.structs.replace(part, d_head=part.d_head or spec.d_model // part.n_heads)
