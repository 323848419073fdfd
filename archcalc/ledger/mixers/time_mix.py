"""RWKV's time mixing, as a scan of one token after another (Peng et al. 2023, section 3.1)."""

from __future__ import annotations

from archcalc.ledger.activation import activation
from archcalc.ledger.forward_context import ForwardContext, save
from archcalc.ledger.leaves import Elementwise, Forward, Save, State, Weight
from archcalc.ledger.linear import linear
from archcalc.ledger.mixers.token_shift import shifted_projections
from archcalc.ledger.symbols import Symbols
from archcalc.ledger.tensor import Tensor
from archcalc.spec.mixer import TimeMix


def leaves(part: TimeMix, d: Symbols, x: Tensor, ctx: ForwardContext) -> Forward[Tensor]:
    """Yield the leaves of time mixing."""
    _, v, r = yield from shifted_projections(x, [(name, d.d_inner) for name in ("k", "v", "r")], "mixer")
    r = yield from activation("sigmoid", "r", "mixer", r)
    y = yield from _scan(v, d)
    yield from save("gate", "mixer", y, r)
    yield Elementwise("gate", y.axes, "mixer", "gate")
    return (yield from linear("out", y.new("gated"), d.d_model, "mixer", bias=False))


def _scan(v: Tensor, d: Symbols) -> Forward[Tensor]:
    """Yield the leaves of the scan, in float32: both sums are saved after each token, and the decay of each.

    The maxima that keep exponents small have no gradient.
    """
    for name in ("decay", "bonus"):
        yield Weight(name, (d.d_inner,), "mixer")
    for name in ("numerator", "denominator", "maximum"):
        yield State(name, (d.d_inner,), "fp32")
    v_fp32 = v.as_dtype("fp32")
    yield Elementwise("scan", v.axes, "mixer", "scan")
    yield Save("scan", v_fp32.new("exp(decay)", d.d_inner), "mixer")
    for label in ("decays", "weights", "own weights", "weights of earlier tokens", "numerators", "denominators"):
        yield Save("scan", v_fp32.new(label), "mixer")
    yield from save("scan", "mixer", v_fp32, v_fp32.new("numerator sums"), v_fp32.new("denominator sums"))
    return v.new("scan")
