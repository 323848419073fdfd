"""The mLSTM of xLSTM: whole chunks, then the tokens after them one by one (Beck et al. 2024, section 2.3)."""

from __future__ import annotations

from archcalc.ledger import norm
from archcalc.ledger.activation import activation
from archcalc.ledger.algebra import ONE, Poly
from archcalc.ledger.forward_context import ForwardContext, save
from archcalc.ledger.leaves import Elementwise, Forward, Matmul, Save, State
from archcalc.ledger.linear import linear
from archcalc.ledger.symbols import Symbols
from archcalc.ledger.tensor import Tensor
from archcalc.ledger.tokens import BATCH, whole_chunks
from archcalc.spec.mixer import MLstm


def leaves(part: MLstm, d: Symbols, x: Tensor, ctx: ForwardContext) -> Forward[Tensor]:
    """Yield the leaves of an mLSTM: everything between the projections and the norm is in float32."""
    keys, values = d.n_heads * d.d_key, d.n_heads * d.d_value
    for name, width in (("q", keys), ("k", keys), ("v", values)):
        yield from linear(name, x, width, "mixer", bias=part.bias)
    for name in ("write_gate", "keep_gate"):
        gate = (yield from linear(name, x, d.n_heads, "mixer", bias=True)).new("gate", dtype="fp32")
        if part.gate_cap is not None:
            yield Elementwise(name, gate.axes, "mixer", "softcap")
            yield Save(name, gate.new("tanh of the gate"), "mixer")
    yield Elementwise("keep_gate", gate.axes, "mixer", "softplus")
    yield Save("keep_gate", gate.new("gate"), "mixer")
    yield State("matrix", (d.n_heads, d.d_key, d.d_value))
    yield State("sum", (d.n_heads, d.d_key))
    yield State("exponent", (d.n_heads,))
    whole = whole_chunks(d.chunk)
    yield from _chunks(x, whole, d)
    yield from _steps(x, x.axes[1] - whole * d.chunk, d)
    mixed = x.new("mixed", *x.axes[:2], values)
    normed = yield from norm.pieces(part.norm, "norm", d.n_heads, d.d_value, mixed, ctx)
    gate = yield from linear("gate", x, values, "mixer", bias=part.bias)
    gate = yield from activation("sigmoid", "gate", "mixer", gate)
    yield from save("gate", "mixer", normed, gate)
    yield Elementwise("gate", gate.axes, "mixer", "gate")
    return (yield from linear("out", x.new("gated", *gate.axes), d.d_model, "mixer", bias=part.bias))


def _chunks(x: Tensor, n: Poly, d: Symbols) -> Forward[None]:
    """Yield the leaves of n chunks: queries read the memory before their chunk, and earlier keys of the chunk."""
    heads, c = (n, BATCH, d.n_heads), d.chunk
    q = _tensor(x, "queries", *heads, c, d.d_key)
    k, v = yield from _written(x, heads, c, d)
    decays = _tensor(x, "decays of queries and keys", *heads, c, c)
    scores = decays.new("queries · keys")
    yield Matmul("queries · keys", (*heads, c, c, d.d_key), "mixer")
    yield from save("core", "mixer", q, k, decays, scores, decays.new("decayed queries · keys"), v)
    yield Elementwise("core", decays.axes, "mixer", "product")
    yield Matmul("scores · values", (*heads, c, c, d.d_value), "mixer")
    yield from save("core", "mixer", _tensor(x, "decay", *heads, c), q.new("decayed queries"))
    yield from _read(x, heads, c, d)


def _steps(x: Tensor, n: Poly, d: Symbols) -> Forward[None]:
    """Yield the leaves of n tokens, whose queries read the memory after their token."""
    heads = (n, BATCH, d.n_heads)
    yield from _written(x, heads, ONE, d)
    yield Save("core", _tensor(x, "queries", *heads, ONE, d.d_key), "mixer")
    yield from _read(x, heads, ONE, d)


def _written(x: Tensor, heads: tuple[Poly, ...], c: Poly, d: Symbols) -> Forward[tuple[Tensor, Tensor]]:
    """Yield the leaves of the memory after each chunk of c tokens; return keys and values."""
    k, v = _tensor(x, "keys", *heads, c, d.d_key), _tensor(x, "values", *heads, c, d.d_value)
    yield from save("core", "mixer", k, _tensor(x, "weights", *heads, c), k.new("decayed keys"), v)
    yield Elementwise("core", k.axes, "mixer", "product")
    yield Matmul("new state", (*heads, c, d.d_key, d.d_value), "mixer")
    states, sums = _tensor(x, "states", *heads, d.d_key, d.d_value), _tensor(x, "sum", *heads, d.d_key)
    yield from save("core", "mixer", _tensor(x, "decays", *heads), states, sums)
    yield Elementwise("core", states.axes, "mixer", "product")
    return k, v


def _read(x: Tensor, heads: tuple[Poly, ...], c: Poly, d: Symbols) -> Forward[None]:
    """Yield the leaves of what queries read of the memory, divided by what they read of the sums."""
    yield from save(
        "core",
        "mixer",
        _tensor(x, "written states", *heads, d.d_key, d.d_value),
        _tensor(x, "sums of keys", *heads, d.d_key),
    )
    yield Matmul("queries · state", (*heads, c, d.d_key, d.d_value), "mixer")
    yield Matmul("queries · sum", (*heads, c, d.d_key), "mixer")
    read, sums = _tensor(x, "numerators", *heads, c, d.d_value), _tensor(x, "denominators", *heads, c)
    yield from save("core", "mixer", sums, sums.new("magnitudes"), sums.new("factors"), sums.new("divisors"), read)
    yield Elementwise("core", read.axes, "mixer", "product")


def _tensor(x: Tensor, label: str, *axes: Poly) -> Tensor:
    return x.new(label, *axes, dtype="fp32")
