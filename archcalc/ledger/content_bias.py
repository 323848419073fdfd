"""A bias on scores for each distance, which the query's token decides."""

from __future__ import annotations

from archcalc.ledger.attention_core import ContentTensors
from archcalc.ledger.forward_context import ForwardContext
from archcalc.ledger.leaves import Elementwise, Forward, Save, Weight
from archcalc.ledger.length_clip import length_clip
from archcalc.ledger.linear import linear
from archcalc.ledger.symbols import Symbols
from archcalc.ledger.tensor import Tensor
from archcalc.spec.attention import Attention
from archcalc.spec.position import ContentBias


def content_bias(
    part: Attention, d: Symbols, x: Tensor, temperatures: Tensor | None, ctx: ForwardContext
) -> Forward[ContentTensors | None]:
    """Yield the leaves of the numbers by which queries mix the profiles; None if there is no such bias."""
    if not isinstance(part.position, ContentBias):
        return None
    flat = yield from linear("content.r", x, d.n_heads * d.d_rel, "attention", bias=False)
    yield Weight("content.profiles", (d.d_rel, d.n_distances), "position")
    shares = flat.view(*x.axes[:-1], d.n_heads, d.d_rel)
    if part.position.clip is not None:
        shares = yield from length_clip("content.r", shares, (d.n_heads, d.d_rel))
    if temperatures is not None:
        yield Elementwise("content", shares.axes, "attention", "product")
        yield Save("content", temperatures, "position")
        shares = shares.new("content.r")
    return ContentTensors(part.position, shares, d.d_rel, d.n_distances)
