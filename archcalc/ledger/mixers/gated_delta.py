"""The gated delta rule, in chunks (Yang et al. 2025, section 3.3)."""

from __future__ import annotations

from archcalc.ledger import norm
from archcalc.ledger.activation import activation
from archcalc.ledger.algebra import ONE, Poly
from archcalc.ledger.forward_context import ForwardContext, save
from archcalc.ledger.leaves import Elementwise, Forward, Matmul, Save, State, Weight
from archcalc.ledger.linear import linear
from archcalc.ledger.mixers.conv import causal_conv
from archcalc.ledger.symbols import Symbols
from archcalc.ledger.tensor import Tensor
from archcalc.ledger.tokens import BATCH, chunks, later_chunks
from archcalc.spec.mixer import GatedDelta


def leaves(part: GatedDelta, d: Symbols, x: Tensor, ctx: ForwardContext) -> Forward[Tensor]:
    """Yield the leaves of a gated delta rule: everything between the convolutions and the norm is in float32."""
    tokens = x.axes[1]
    keys = yield from _convolved("q", x, d.n_key_heads * d.d_key, d)
    yield from _unit_length("q", keys, d)
    keys = yield from _convolved("k", x, d.n_key_heads * d.d_key, d)
    yield from _unit_length("k", keys, d)
    yield from _convolved("v", x, d.n_heads * d.d_value, d)
    beta = yield from linear("beta", x, d.n_heads, "mixer", bias=False)
    yield from activation("sigmoid", "beta", "mixer", beta)
    yield from _decay(part, x, d)
    yield State("state", (d.n_heads, d.d_key, d.d_value), "fp32")
    yield from _chunked(part, x, d)
    y = x.new("mixed", BATCH, tokens, d.n_heads, d.d_value)
    y = yield from norm.leaves(part.norm, "norm", y, ctx)
    gate = yield from _projected("gate", x, d.gate_rank if part.gate_rank else None, d.n_heads * d.d_value)
    gate = yield from activation(part.gate_activation, "gate", "mixer", gate.as_dtype("fp32"))
    yield from save("gate", "mixer", y, gate)
    yield Elementwise("gate", gate.axes, "mixer", "gate")
    return (yield from linear("out", x.new("gated", *gate.axes), d.d_model, "mixer", bias=False))


def _convolved(name: str, x: Tensor, width: Poly, d: Symbols) -> Forward[Tensor]:
    """Yield the leaves of a projection, its convolution and its activation."""
    y = yield from linear(name, x, width, "mixer", bias=False)
    y = yield from causal_conv(f"{name}_conv", y, d.d_conv, bias=False)
    y = yield from activation("silu", f"{name}_conv", "mixer", y)
    return y.new(name)


def _unit_length(name: str, x: Tensor, d: Symbols) -> Forward[None]:
    """Yield the leaves of a division by the length of each head's vector: as of an RMS norm without a weight."""
    x_fp32 = x.as_dtype("fp32")
    yield Elementwise(name, x.axes, "mixer", "rmsnorm")
    yield from save(name, "mixer", x_fp32, x_fp32.new("1/length", *x.axes[:-1], d.n_key_heads, ONE))


def _projected(name: str, x: Tensor, rank: Poly | None, width: Poly) -> Forward[Tensor]:
    """Yield the leaves of a projection, through `rank` dimensions if there is one."""
    if rank is None:
        return (yield from linear(name, x, width, "mixer", bias=False))
    low = yield from linear(f"{name}_down", x, rank, "mixer", bias=False)
    return (yield from linear(f"{name}_up", low, width, "mixer", bias=False))


def _decay(part: GatedDelta, x: Tensor, d: Symbols) -> Forward[None]:
    """Yield the leaves of the decay's logarithm, in float32.

    −exp(decay_log) · softplus(g), or −bound · σ(exp(decay_log) · g), of g = decay(x) + decay_bias.
    """
    width = d.n_heads if part.decay_over == "head" else d.n_heads * d.d_key
    g = yield from _projected("decay", x, d.decay_rank if part.decay_rank else None, width)
    yield Weight("decay_log", (d.n_heads,), "mixer")
    yield Weight("decay_bias", (width,), "mixer")
    g = g.new("decay", dtype="fp32")
    rates = g.new("exp(decay_log)", d.n_heads)
    if part.decay_bound is None:
        yield Elementwise("decay", g.axes, "mixer", "softplus")
        yield from save("decay", "mixer", rates, g, rates.new("−exp(decay_log)"), g.new("softplus"))
    else:
        yield Elementwise("decay", g.axes, "mixer", "product")
        yield from save("decay", "mixer", rates, g)
        yield from activation("sigmoid", "decay", "mixer", g.new("decay · rates"))


def _chunked(part: GatedDelta, x: Tensor, d: Symbols) -> Forward[None]:
    """Yield the leaves of the rule, n chunks of c tokens at once, then the states one chunk after another.

    The first state has no gradient, and the last one is not part of the output. If each channel of a head decays by
    itself, the decays are part of the products of keys and queries with keys, before these are summed.
    """
    n, later, c, keys, values = chunks(d.chunk), later_chunks(d.chunk), d.chunk, d.d_key, d.d_value
    heads = (BATCH, d.n_heads)
    channels = () if part.decay_over == "head" else (keys,)

    def tensor(label: str, *axes: Poly) -> Tensor:
        return x.new(label, *heads, *axes, dtype="fp32")

    decays, q, k, v, beta = (
        tensor("decays", n, c, c, *channels),
        tensor("q", n, c, keys),
        tensor("k", n, c, keys),
        tensor("v", n, c, values),
        tensor("beta", n, c),
    )
    yield from save("core", "mixer", x.new("mask", c, c, dtype="bool"), decays)
    for label in ("exp(sum of decays)", "exp(rest of decays)"):
        yield Save("core", tensor(label, n, c, *channels), "mixer")
    yield Save("core", tensor("decay of a chunk", n, *channels), "mixer")
    yield from save("core", "mixer", k, beta, v)
    yield Elementwise("core", k.axes, "mixer", "product")
    yield Elementwise("core", v.axes, "mixer", "product")
    products: tuple[Poly, ...] = (*heads, n, c, c)
    yield from save("core", "mixer", tensor("beta · k", n, c, keys))
    yield Matmul("keys · keys", (*products, keys), "mixer")
    yield Matmul("queries · keys", (*products, keys), "mixer")
    if channels:
        yield Save("core", tensor("keys · decays", n, c, c, *channels), "mixer")
    else:
        yield from save("core", "mixer", tensor("keys · keys", n, c, c), tensor("queries · keys", n, c, c))
    yield from save("core", "mixer", q, tensor("decayed keys · keys", n, c, c))
    yield from save("core", "mixer", tensor("new values, decayed keys", n, c, values + keys))
    yield Matmul("triangular solve", (*products, values + keys), "mixer", forward=0, backward=1)
    yield from save("core", "mixer", tensor("states", n, keys, values), tensor("decayed queries", later, c, keys))
    for name in ("keys · state", "queries · state"):
        yield Matmul(name, (*heads, later, c, keys, values), "mixer")
        yield Matmul(name, (*heads, n - later, c, keys, values), "mixer", backward=1)
    yield from save("core", "mixer", tensor("decayed queries · keys", n, c, c), tensor("written values", n, c, values))
    yield Matmul("scores · values", (*products, values), "mixer")
    yield Save("core", tensor("decayed keys", later, c, keys), "mixer")
    yield Matmul("new state", (*heads, later, keys, c, values), "mixer")
    yield Matmul("new state", (*heads, n - later, keys, c, values), "mixer", backward=0)
