"""A real-gated linear recurrent unit, as a scan of one token after another (De et al. 2024, section 2.4)."""

from __future__ import annotations

from archcalc.ledger.activation import activation
from archcalc.ledger.forward_context import ForwardContext, save
from archcalc.ledger.leaves import Elementwise, Forward, Matmul, Save, State, Weight
from archcalc.ledger.linear import linear
from archcalc.ledger.mixers.conv import causal_conv
from archcalc.ledger.symbols import Symbols
from archcalc.ledger.tensor import Tensor
from archcalc.ledger.tokens import BATCH
from archcalc.spec.mixer import RgLru


def leaves(part: RgLru, d: Symbols, x: Tensor, ctx: ForwardContext) -> Forward[Tensor]:
    """Yield the leaves of the recurrent block."""
    inner = d.n_blocks * d.d_block
    gate = yield from linear("gate", x, inner, "mixer", bias=True)
    gate = yield from activation(part.activation, "gate", "mixer", gate)
    u = yield from linear("in", x, inner, "mixer", bias=True)
    u = yield from causal_conv("conv", u, d.d_conv, bias=True)
    u = u.new("u", BATCH, x.axes[1], inner)
    input_gate = yield from _gate("input_gate", u, d)
    decay_gate = yield from _gate("decay_gate", u, d)
    y = yield from _scan(u, input_gate, decay_gate, ctx)
    yield from save("gate", "mixer", y, gate)
    yield Elementwise("gate", y.axes, "mixer", "gate")
    return (yield from linear("out", y.new("gated"), d.d_model, "mixer", bias=True))


def _gate(name: str, u: Tensor, d: Symbols) -> Forward[Tensor]:
    """Yield the leaves of a sigmoid of u times a block-diagonal matrix."""
    yield Weight(name, (d.n_blocks, d.d_block, d.d_block), "mixer")
    yield Weight(f"{name}_bias", (d.n_blocks, d.d_block), "mixer")
    yield Save(name, u, "mixer")
    yield Matmul(name, (*u.axes[:2], d.n_blocks, d.d_block, d.d_block), "mixer")
    return (yield from activation("sigmoid", name, "mixer", u.new(name)))


def _scan(u: Tensor, input_gate: Tensor, decay_gate: Tensor, ctx: ForwardContext) -> Forward[Tensor]:
    """Yield the leaves of the scan, in float32: every state is saved, and the decay of every state."""
    _, tokens, inner = u.axes
    yield Weight("decay_rate", (inner,), "mixer")
    yield State("scan_state", (inner,), "fp32")
    decays = decay_gate.as_dtype("fp32")
    rates = decays.new("rates", inner)
    yield Elementwise("scan", u.axes, "mixer", "scan")
    if ctx.execution.dtype != "fp32":
        yield Save("scan", rates.new("decay_rate"), "mixer")
    yield from save("scan", "mixer", rates, decays, decays.new("decays"), decays.new("expm1"), decays.new("√(1 − a²)"))
    yield Save("scan", u.new("is first", tokens, dtype="bool"), "mixer")
    yield from save("scan", "mixer", u, input_gate, u.new("i · u").as_dtype("fp32"), decays.new("factors"))
    yield Save("scan", decays.new("states"), "mixer")
    return u.new("scan")
