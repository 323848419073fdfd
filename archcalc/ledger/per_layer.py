"""Per-layer embeddings: a table and a projection with numbers of each layer, and the gates that read them."""

from __future__ import annotations

from archcalc.ledger import norm
from archcalc.ledger.activation import gated_activation
from archcalc.ledger.forward_context import ForwardContext
from archcalc.ledger.leaves import Forward, Save, Weight
from archcalc.ledger.linear import linear
from archcalc.ledger.symbols import Symbols
from archcalc.ledger.tensor import Tensor
from archcalc.spec.ffn import PerLayerGate
from archcalc.spec.layer import PerLayerEmbedding


def leaves(part: PerLayerEmbedding, d: Symbols, x: Tensor, ctx: ForwardContext) -> Forward[Tensor]:
    """Yield the leaves of the table, the projection of `x` and its norm; return the numbers of all layers."""
    width = d.n_layers * d.d_per_layer
    yield Weight("per_layer.table.weight", (d.n_rows, width), "per_layer_embedding")
    yield Save("per_layer.table", Tensor("rows of each token", x.axes[:-1], "int64"), "per_layer_embedding")
    projected = yield from linear("per_layer.project", x, width, "embedding", bias=False)
    each = projected.new("projected", *x.axes[:-1], d.n_layers, d.d_per_layer)
    normed = yield from norm.leaves(part.norm, "per_layer.norm", each, ctx)
    return Tensor("per-layer embeddings", normed.axes, x.dtype, is_shared=True)


def gate(part: PerLayerGate, d: Symbols, x: Tensor, ctx: ForwardContext) -> Forward[Tensor]:
    """Yield the leaves of a gate on the layer's own numbers, and of the projection to the model's width."""
    assert ctx.per_layer is not None, "a stack with such gates has per-layer embeddings"
    gate = yield from linear("gate", x, d.d_per_layer, "ffn", bias=False)
    own = ctx.per_layer.view(*gate.axes)
    hidden = yield from gated_activation(part.activation, "activation", "ffn", gate, own)
    return (yield from linear("down", hidden, x.axes[-1], "ffn", bias=False))
