"""Dense feed-forward networks."""

from __future__ import annotations

import msgspec

from archcalc.ledger import norm
from archcalc.ledger.activation import activation, gated_activation
from archcalc.ledger.algebra import ONE, Poly
from archcalc.ledger.forward_context import ForwardContext, dropout, save
from archcalc.ledger.leaves import Elementwise, Forward, Matmul, Save, Weight
from archcalc.ledger.linear import linear
from archcalc.ledger.low_rank import beside
from archcalc.ledger.symbols import Symbols
from archcalc.ledger.tensor import Tensor
from archcalc.spec.activation import AnyActivation
from archcalc.spec.ffn import Adapters, Gated, Plain, StateProjection, has_down_bias
from archcalc.spec.low_rank import LowRank
from archcalc.spec.norm import Norm


class FfnOptions(msgspec.Struct, frozen=True):
    """Which optional tensors a feed-forward has beside its matrices."""

    is_gated: bool
    bias: bool
    down_bias: bool
    down_norm: Norm | None = None
    scales_gate: bool = False
    is_sparse: bool = False
    low_rank: LowRank | None = None
    up_block: Poly | None = None
    down_block: Poly | None = None


def plain(part: Plain, d: Symbols, x: Tensor, ctx: ForwardContext) -> Forward[Tensor]:
    """Yield the leaves of the up and down projections."""
    options = FfnOptions(
        False,
        part.bias,
        has_down_bias(part),
        part.down_norm,
        up_block=None if part.up_block is None else d.up_block,
        down_block=None if part.down_block is None else d.down_block,
    )
    return dense(part.activation, d.d_ff, x, ctx, options)


def gated(part: Gated, d: Symbols, x: Tensor, ctx: ForwardContext) -> Forward[Tensor]:
    """Yield the leaves of the gate, up and down projections."""
    is_sparse, scales_gate = part.sparsity is not None, part.gate_scale != 1.0
    options = FfnOptions(True, part.bias, has_down_bias(part), part.down_norm, scales_gate, is_sparse, part.low_rank)
    y = yield from dense(part.activation, d.d_ff, x, ctx, options, d)
    if part.out_scale:
        yield Weight("out_scale", (ONE,), "ffn")
        yield Elementwise("out_scale", y.axes, "ffn", "product")
        yield Save("out_scale", y, "ffn")
        y = y.new("scaled")
    return y


def dense(
    function: AnyActivation,
    width: Poly,
    x: Tensor,
    ctx: ForwardContext,
    options: FfnOptions,
    d: Symbols | None = None,
) -> Forward[Tensor]:
    """Yield the leaves of a feed-forward of this hidden width. `d` are the sizes of its low-rank pairs, if any."""
    if options.is_gated:
        gate = yield from linear("gate", x, width, "ffn", bias=options.bias)
        if options.low_rank is not None and d is not None:
            gate = yield from beside(options.low_rank, "gate_up_pairs", x, gate, width + width, d, "ffn")
        gate = gate.new("scaled gate") if options.scales_gate else gate
        if options.is_sparse:
            gate = yield from _sparse(gate)
        up = yield from linear("up", x, width, "ffn", bias=options.bias)
        up = up if options.low_rank is None else up.new("up with its pair")
        hidden = yield from gated_activation(function, "activation", "ffn", gate, up)
    else:
        up = yield from linear("up", x, width, "ffn", bias=options.bias, block=options.up_block)
        hidden = yield from activation(function, "activation", "ffn", up)
    hidden = yield from dropout(hidden, ctx.dropout.ffn, ctx, "ffn", "activation")
    if options.down_norm is not None:
        hidden = yield from norm.leaves(options.down_norm, "down_norm", hidden, ctx)
    return (yield from linear("down", hidden, x.axes[-1], "ffn", bias=options.down_bias, block=options.down_block))


def _sparse(gate: Tensor) -> Forward[Tensor]:
    """Yield the leaves of a deviation over the width, and of what exceeds a threshold."""
    yield from save("gate", "ffn", gate, gate.new("deviation", *gate.axes[:-1], ONE))
    yield Elementwise("gate", gate.axes, "ffn", "relu")
    kept = gate.new("above the threshold")
    yield Save("gate", kept, "ffn")
    return kept


def adapters(part: Adapters, d: Symbols, x: Tensor, ctx: ForwardContext) -> Forward[Tensor]:
    """Yield the leaves of all adapters' weights, stacked, and of the products of one."""
    up = yield from _adapter_linear(part, "experts.up", x, d.d_adapter, d)
    hidden = yield from activation(part.activation, "activation", "ffn", up)
    hidden = yield from dropout(hidden, ctx.dropout.ffn, ctx, "ffn", "activation")
    return (yield from _adapter_linear(part, "experts.down", hidden, x.axes[-1], d))


def _adapter_linear(part: Adapters, name: str, x: Tensor, out: Poly, d: Symbols) -> Forward[Tensor]:
    yield Weight(f"{name}.weight", (d.n_adapters, out, x.axes[-1]), "ffn", active_axes=(out, x.axes[-1]))
    if part.bias:
        yield Weight(f"{name}.bias", (d.n_adapters, out), "ffn", active_axes=(out,))
    yield Save(name, x, "ffn")
    yield Matmul(name, (*x.axes, out), "ffn")
    return x.new(name, *x.axes[:-1], out)


def projection(part: StateProjection, d: Symbols, x: Tensor, ctx: ForwardContext) -> Forward[Tensor]:
    """Yield the leaves of a matrix from the model's width to the same width."""
    return (yield from linear("project", x, x.axes[-1], "ffn", bias=part.bias))
