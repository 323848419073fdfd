"""Mamba: a selective state space, as a scan of one token after another."""

from __future__ import annotations

from archcalc.ledger import norm
from archcalc.ledger.activation import activation
from archcalc.ledger.algebra import ONE
from archcalc.ledger.forward_context import ForwardContext, save
from archcalc.ledger.leaves import Elementwise, Forward, Matmul, Save, State, Weight
from archcalc.ledger.linear import linear
from archcalc.ledger.mixers.conv import causal_conv
from archcalc.ledger.symbols import Symbols
from archcalc.ledger.tensor import Tensor
from archcalc.ledger.tokens import BATCH
from archcalc.spec.mixer import Mamba1


def leaves(part: Mamba1, d: Symbols, x: Tensor, ctx: ForwardContext) -> Forward[Tensor]:
    """Yield the leaves of a Mamba mixer."""
    tokens = x.axes[1]
    inner = BATCH, tokens, d.d_inner
    projected = yield from linear("in", x, 2 * d.d_inner, "mixer", bias=part.bias)
    convolved = yield from causal_conv("conv", projected.view(*inner), d.d_conv, bias=part.conv_bias)
    u = yield from activation("silu", "conv", "mixer", convolved)
    u = u.new("u", *inner)
    heads = () if part.n_heads is None else (d.n_heads,)
    n, block = (ONE, None) if part.n_heads is None else (d.n_heads, d.d_head)
    selected = yield from linear("x", u, n * (d.dt_rank + 2 * d.d_state), "mixer", bias=False, block=block)
    widths = {"Δ": d.dt_rank, "B": d.d_state, "C": d.d_state}
    low, b, c = (selected.view(BATCH, tokens, *heads, width, label=label) for label, width in widths.items())
    if part.norm:
        low = yield from norm.leaves(part.norm, "dt_norm", low, ctx)
        b = yield from norm.leaves(part.norm, "b_norm", b, ctx)
        c = yield from norm.leaves(part.norm, "c_norm", c, ctx)
    if part.n_heads is not None:  # a copy of each, in which heads lie one after another
        low, c, block = low.new("Δ by head", BATCH, tokens, n * d.dt_rank), c.new("C by head", dtype="fp32"), d.dt_rank
    delta = yield from linear("dt", low, d.d_inner, "mixer", bias=True, block=block)
    y = yield from _scan(d, u, delta, b, c, ctx)
    gate = yield from activation("silu", "gate", "mixer", projected.view(*inner))
    yield Elementwise("gate", inner, "mixer", "gate")
    yield from save("gate", "mixer", y, gate.new("gate"))
    return (yield from linear("out", y.new("gated"), d.d_model, "mixer", bias=part.bias))


def _scan(d: Symbols, u: Tensor, delta: Tensor, b: Tensor, c: Tensor, ctx: ForwardContext) -> Forward[Tensor]:
    """Yield the leaves of the scan, in float32: every state is saved, and the decay of every state."""
    batch, tokens, d_inner = u.axes
    states = batch, tokens, d_inner, d.d_state
    yield Weight("A_log", (d_inner, d.d_state), "mixer")
    yield Weight("D", (d_inner,), "mixer")
    yield State("scan_state", (d_inner, d.d_state))
    u_fp32, delta_fp32, b_fp32, c_fp32 = (x.as_dtype("fp32") for x in (u, delta, b, c))
    yield Elementwise("dt", u.axes, "mixer", "softplus")
    yield Save("dt", delta_fp32, "mixer")
    step, rate = delta_fp32.new("Δ"), delta_fp32.new("rate", d_inner, d.d_state)
    yield from save("scan", "mixer", rate, step, delta_fp32.new("decays", *states))
    yield from save("scan", "mixer", u_fp32, step.new("Δ · u"), b_fp32)
    yield from save("scan", "mixer", step.new("states", batch, tokens + ONE, d_inner, d.d_state), c_fp32)
    yield Elementwise("scan", states, "mixer", "scan")
    yield Matmul("scan", (*states,), "mixer")
    if ctx.execution.dtype != "fp32":
        yield Save("scan", u_fp32.new("D", d_inner), "mixer")
    return u.new("scan")
