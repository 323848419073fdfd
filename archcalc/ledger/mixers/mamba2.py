"""Mamba-2: a selective state space with one decay for each head, in chunks (Dao & Gu 2024, listing 1)."""

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
from archcalc.spec.mixer import Mamba2


def leaves(part: Mamba2, d: Symbols, x: Tensor, ctx: ForwardContext) -> Forward[Tensor]:
    """Yield the leaves of a Mamba-2 mixer: all between the convolution and the output projection is in float32."""
    tokens, d_inner = x.axes[1], d.n_heads * d.d_head
    d_conv = d_inner + 2 * d.n_state_groups * d.d_state
    projected = yield from linear("in", x, d_inner + d_conv + d.n_heads, "mixer", bias=part.bias)
    if part.multipliers is not None:
        yield Elementwise("in", projected.axes, "mixer", "product")
        yield Save("in", projected.new("multipliers", projected.axes[-1]), "mixer")
        projected = projected.new("multiplied")
    u = yield from causal_conv("conv", projected.view(BATCH, tokens, d_conv), d.d_conv, bias=part.conv_bias)
    u = yield from activation("silu", "conv", "mixer", u)
    v = u.new("u").view(BATCH, tokens, d.n_heads, d.d_head, label="v").as_dtype("fp32")
    yield from _drive(part, d, v)
    yield Weight("D", (d.n_heads,), "mixer")
    yield State("state", (d.n_heads, d.d_head, d.d_state), "fp32")
    yield from _chunked(d, v)
    yield Elementwise("D", v.axes, "mixer", "product")
    if ctx.execution.dtype != "fp32":
        yield Save("D", v.new("D", d.n_heads), "mixer")
    gate = yield from activation(
        "silu", "gate", "mixer", projected.view(BATCH, tokens, d_inner, label="z").as_dtype("fp32")
    )
    y = yield from _gated(part, d, v.new("scan", *gate.axes), gate)
    return (yield from linear("out", y.as_dtype(x.dtype), d.d_model, "mixer", bias=bool(part.out_bias)))


def _drive(part: Mamba2, d: Symbols, v: Tensor) -> Forward[None]:
    """Yield the leaves of the steps Δ, of the decays −Δ·exp(A_log), and of Δ·v."""
    yield Weight("dt_bias", (d.n_heads,), "mixer")
    yield Weight("A_log", (d.n_heads,), "mixer")
    delta = v.new("Δ + dt_bias", *v.axes[:2], d.n_heads)
    yield Elementwise("delta", delta.axes, "mixer", "softplus")
    yield Save("delta", delta, "mixer")
    if part.step_min is not None or part.step_max is not None:
        yield Elementwise("delta", delta.axes, "mixer", "clamp")
        yield Save("delta", delta.new("softplus"), "mixer")
    yield from save("delta", "mixer", delta.new("Δ"), delta.new("exp(A_log)", d.n_heads), v)
    yield Elementwise("delta", v.axes, "mixer", "product")


def _gated(part: Mamba2, d: Symbols, y: Tensor, gate: Tensor) -> Forward[Tensor]:
    """Yield the leaves of the gate and of the norm, in their order."""
    if part.norm_when == "before":
        y = yield from norm.grouped(part.norm, "norm", d.n_state_groups, y)
    yield from save("gate", "mixer", y, gate)
    yield Elementwise("gate", y.axes, "mixer", "gate")
    y = y.new("gated")
    if part.norm_when == "after":
        y = yield from norm.grouped(part.norm, "norm", d.n_state_groups, y)
    return y


def _chunked(d: Symbols, v: Tensor) -> Forward[None]:
    """Yield the leaves of the states, n chunks of c tokens at once, or of one step of the recurrence."""
    n, c, values, width = chunks(d.chunk), d.chunk, d.d_head, d.d_state
    # One before each chunk, and the last.
    n_states, n_steps = 2 * n - later_chunks(d.chunk), ONE - n + later_chunks(d.chunk)
    heads = (BATCH, d.n_heads)

    def tensor(label: str, *axes: Poly) -> Tensor:
        return v.new(label, *heads, *axes)

    in_b, in_c, in_v = tensor("b", n, c, width), tensor("c", n, c, width), tensor("Δ · v", n, c, values)
    yield from save("scan", "mixer", *_masks("tokens", v, c), tensor("decays", n, c, c), in_c, in_b)
    yield Matmul("c · b", (*heads, n, c, c, width), "mixer")
    yield from save("scan", "mixer", tensor("c · b", n, c, c), tensor("scores", n, c, c), in_v)
    yield Matmul("scores · v", (*heads, n, c, c, values), "mixer")
    yield from save("scan", "mixer", tensor("rest of decays", n, c), tensor("decayed b", n, c, width))
    yield Matmul("v · b", (*heads, n, values, c, width), "mixer")
    yield from save("scan", "mixer", *_masks("chunks", v, n_states), tensor("decays of chunks", n_states, n_states))
    yield Save("scan", tensor("written states", n_states, values, width), "mixer")
    yield Matmul("decays · states", (*heads, n_states, n_states, values, width), "mixer")
    yield from save("scan", "mixer", tensor("sum of decays", n, c), tensor("decayed c", n, c, width))
    yield Save("scan", tensor("states", n, values, width), "mixer")
    yield Matmul("c · states", (*heads, n, c, values, width), "mixer")
    yield Matmul("c · state", (*heads, n_steps, values, width), "mixer")


def _masks(what: str, x: Tensor, n: Poly) -> tuple[Tensor, Tensor]:
    """Return the masks of the sums of n decays: of those that are left out of a sum, and of sums that are not used."""
    return x.new(f"earlier {what}", n, n, dtype="bool"), x.new(f"later {what}", n, n, dtype="bool")
