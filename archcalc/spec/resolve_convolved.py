"""Resolve attention with convolutions or projected positions: fill in the head's width and refuse contradictions."""

from __future__ import annotations

import msgspec.structs

from archcalc.errors import InputError
from archcalc.spec.convolved import ConvolvedAttention
from archcalc.spec.model import Spec
from archcalc.spec.resolve_parts import head_width
from archcalc.spec.xl import XlAttention
from archcalc.words import msg


def xl(part: XlAttention, spec: Spec, where: str) -> XlAttention:
    """Return the attention with d_head. Raises InputError for an odd width, which has no pairs of sinusoids."""
    if spec.d_model % 2:
        raise InputError(
            msg("sinusoids need an even width, not {width}", width=spec.d_model),
            where=where,
            allowed=msg("an even d_model"),
        )
    return msgspec.structs.replace(part, d_head=head_width(part.d_head, part.n_heads, spec, where))


def convolved(part: ConvolvedAttention, spec: Spec, where: str) -> ConvolvedAttention:
    """Return the attention with d_head. Raises InputError for an even number of tokens: none is in the middle."""
    for field in ("d_value_conv", "d_span_conv"):
        width = getattr(part, field)
        if width is not None and width % 2 == 0:
            raise InputError(msg("found {found}", found=width), where=f"{where}.{field}", allowed=msg("an odd number"))
    if part.n_hashes is not None and part.scale is not None:
        raise InputError(msg("angles are not scaled"), where=f"{where}.scale", allowed="null")
    return msgspec.structs.replace(part, d_head=head_width(part.d_head, part.n_heads, spec, where))
