"""The output gate of an attention."""

from __future__ import annotations

from archcalc.ledger.algebra import Poly
from archcalc.ledger.forward_context import save
from archcalc.ledger.leaves import Elementwise, Forward, Save, Weight
from archcalc.ledger.linear import linear
from archcalc.ledger.symbols import Symbols
from archcalc.ledger.tensor import Tensor
from archcalc.spec.attention import Gate


def output_gate(part: Gate, d: Symbols, d_value: Poly, x: Tensor, y: Tensor) -> Forward[Tensor]:
    """Yield the leaves of the output gate: the product saves both factors, a softplus its input in float32."""
    width = {"head": d.n_heads, "channel": d.n_heads * d_value}[part.over]
    gate = yield from linear("gate", x, width, "attention", bias=part.projection_bias)
    if part.bias:
        yield Weight("gate_bias", (d.n_heads,), "attention")
        gate = gate.new("gate")
    yield Elementwise("gate", gate.axes, "attention", part.activation)
    if part.activation == "softplus":
        gate_fp32 = gate.as_dtype("fp32")
        yield Save("gate", gate_fp32, "attention")
        gate = gate_fp32.new("softplus").as_dtype(gate.dtype)
    else:
        gate = gate.new("sigmoid")
    yield from save("gate", "attention", y, gate)
    yield Elementwise("gate", y.axes, "attention", "gate")
    return y.new("gated")
