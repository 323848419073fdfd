"""The bottleneck of a layer: projections into the width of its branches, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import structs

from archcalc.ledger import norm
from archcalc.ledger.algebra import Poly
from archcalc.ledger.forward_context import ForwardContext, dropout
from archcalc.ledger.leaves import Component, Forward, only_weights, with_prefix
from archcalc.ledger.linear import linear
from archcalc.ledger.tensor import Tensor
from archcalc.spec.bottleneck import Bottleneck

# What queries, keys (None: as queries) and values of an arm are projected from.
Split = tuple[Tensor, Tensor | None, Tensor]
# The leaves of the branches, given their stream, the inputs of an arm that reads two, and the context.
Branches = Callable[[Tensor, Mapping[str, Split], ForwardContext], Forward[Tensor]]


def leaves(
    part: Bottleneck, first_arm: str, width: Poly, x: Tensor, ctx: ForwardContext, branches: Branches
) -> Forward[Tensor]:
    """Yield the leaves of a layer whose branches are `width` wide; return its output states."""
    split: dict[str, Split] = {}
    if part.has_keys:
        projection = _normed(part, "keys", x, width, ctx, "attention")
        keys = yield from projection if part.splits_attention else only_weights(projection)
        split = {first_arm: (keys, None, x)} if part.splits_attention else {}
    stream = yield from _normed(part, "down", x, width, ctx, "ffn")
    # Within a bottleneck it is what leaves that is dropped out.
    inside = structs.replace(ctx, dropout=structs.replace(ctx.dropout, residual=0.0))
    stream = yield from branches(stream.new("states"), split, inside)
    prefix = f"{ctx.prefix}bottleneck."
    y = yield from with_prefix(prefix, linear("up", stream, x.axes[-1], "ffn", bias=True))
    yield from dropout(y, ctx.dropout.residual, ctx, "ffn", f"{prefix}dropout")
    return (yield from norm.leaves(part.norm, f"{prefix}up_norm", x.new("states"), ctx))


def _normed(
    part: Bottleneck, name: str, x: Tensor, width: Poly, ctx: ForwardContext, component: Component
) -> Forward[Tensor]:
    """Yield the leaves of a projection into the bottleneck and its norm."""
    prefix = f"{ctx.prefix}bottleneck."
    y = yield from with_prefix(prefix, linear(name, x, width, component, bias=True))
    return (yield from norm.leaves(part.norm, f"{prefix}{name}_norm", y, ctx))
