"""Grouped-query attention, with MHA and MQA as its ends; as self-attention and as cross-attention."""

from __future__ import annotations

from archcalc.ledger import norm
from archcalc.ledger.algebra import Poly
from archcalc.ledger.core import Heads, core
from archcalc.ledger.forward import Pair, Pass, saved
from archcalc.ledger.leaves import Cache, Elementwise, Forward, Saved, Weight
from archcalc.ledger.linear import linear
from archcalc.ledger.rope import rotated
from archcalc.ledger.symbols import Symbols
from archcalc.ledger.tensors import Tensor
from archcalc.ledger.tokens import BATCH
from archcalc.spec.attention import Attention, Gate, QkNorm
from archcalc.spec.position import Alibi, RelativeBias, Rope


def leaves(part: Attention, d: Symbols, x: Tensor, here: Pass) -> Forward[Tensor]:
    """Projections, biases, q/k norms, sinks, gate; scores and weighted values. Shared keys and values are there."""
    span, states = here.span, _states(part, d, x, here)
    window = d.window if part.window else None
    d_value = d.d_head if part.d_value is None else d.d_value
    q = yield from _queries(part, d, x, here)
    k, v = here.shared.get(here.arm) or (yield from _keys_values(part, d, d_value, states, here))
    lends, shares = here.arm in here.lent, here.arm in here.shared
    if lends:
        here.lent[here.arm] = k, v
    if part.sinks:
        yield Weight("sinks", (d.n_heads,), "attention")
    if _own_table(part):
        yield Weight("relative_bias.weight", (d.n_buckets, d.n_heads), "position")
    if (cached := span.cached(window)) and not shares:
        yield Cache("keys", (d.n_kv_heads, cached, d.d_head))
        yield Cache("values", (d.n_kv_heads, cached, d_value))
    heads = Heads(
        n_heads=d.n_heads,
        width=d.d_head,
        v_width=d_value,
        window=window,
        shown=part.window,
        bias=type(part.position) if isinstance(part.position, Alibi | RelativeBias) else None,
        n_biased=part.n_heads if isinstance(part.position, Alibi | RelativeBias) else None,
        own_table=_own_table(part),
        softcap=part.softcap is not None,
        sinks=part.sinks,
        uneven=part.d_value is not None,
        as_it_is=(lends or shares) and part.has_key_for_each,
    )
    y = yield from core(heads, q, k, v, here)
    if part.gate:
        y = yield from _gated(part.gate, d, d_value, x, y, here)
    if part.out_norm:
        y = yield from norm.leaves(part.out_norm, "out_norm", y, here)
    return (yield from linear("out", y, d.d_model, "attention", bias=part.out_bias))


def _keys_values(part: Attention, d: Symbols, d_value: Poly, states: Tensor, here: Pass) -> Forward[Pair]:
    """What a cache of the layer holds, and what later layers may read."""
    k = yield from _turned(part, "k", d.n_kv_heads, part.k_bias, d, states, here)
    v = yield from _values(part, d, d_value, states, here)
    return k, v


def _states(part: Attention, d: Symbols, x: Tensor, here: Pass) -> Tensor:
    """What keys and values are made of: the source's states, or its own; or those of a source that is missed."""
    if here.source is None and part.d_source:
        return x.new("source states", *x.axes[:-1], d.d_source)
    return here.source or x


def _own_table(part: Attention) -> RelativeBias | None:
    """The relative bias that no other layer shares."""
    position = part.position
    return position if isinstance(position, RelativeBias) and position.shared == "layer" else None


def _queries(part: Attention, d: Symbols, x: Tensor, here: Pass) -> Forward[Tensor]:
    """Queries, turned and at their position's temperature, which is kept once for all layers alike."""
    q = yield from _turned(part, "q", d.n_heads, part.q_bias, d, x, here)
    if part.temperature is None:
        return q
    yield Elementwise("q", q.axes, "attention", "product")
    key = (here.span, part.temperature)
    yield Saved("q", here.once(key, lambda: q.new("temperatures", q.axes[2])), "position")
    return q.new("q")


def _turned(
    part: Attention, name: str, n_heads: Poly, bias: bool, d: Symbols, x: Tensor, here: Pass
) -> Forward[Tensor]:
    """Queries or keys: projected, normed over each head or all, clamped, turned; or normed then."""
    flat = yield from linear(name, x, n_heads * d.d_head, "attention", bias=bias)
    y = flat.view(BATCH, n_heads, x.axes[1], d.d_head)
    normed = part.qk_norm
    if normed and normed.over == "full":
        flat = yield from norm.leaves(normed.norm, f"{name}_norm", flat, here)
        y = flat.view(*y.axes)
    elif normed and normed.when == "before":
        y = yield from _head_norm(normed, name, n_heads, y, here)
    y = yield from _clamped(part, name, y)
    if isinstance(part.position, Rope):
        y = yield from rotated(part.position, name, y, d, here)
    if normed and normed.when == "after":
        y = yield from _head_norm(normed, name, n_heads, y, here)
    return y


def _head_norm(part: QkNorm, name: str, n_heads: Poly, x: Tensor, here: Pass) -> Forward[Tensor]:
    """A norm over each head's width, with one weight for all heads or one for each."""
    if part.over == "head":
        return (yield from norm.leaves(part.norm, f"{name}_norm", x, here))
    return (yield from norm.each(part.norm, f"{name}_norm", n_heads, x, here))


def _values(part: Attention, d: Symbols, d_value: Poly, x: Tensor, here: Pass) -> Forward[Tensor]:
    flat = yield from linear("v", x, d.n_kv_heads * d_value, "attention", bias=part.v_bias)
    v = yield from _clamped(part, "v", flat.view(BATCH, d.n_kv_heads, x.axes[1], d_value))
    if part.value_scale is not None:
        yield Elementwise("v", v.axes, "attention", "product")
        v = v.new("v")
    if isinstance(part.position, Rope) and part.position.values:
        v = yield from rotated(part.position, "v", v, d, here)
    return v


def _clamped(part: Attention, name: str, x: Tensor) -> Forward[Tensor]:
    """It keeps what it clamps, by which gradients know what was within."""
    if part.clip is None:
        return x
    yield Elementwise(name, x.axes, "attention", "clamp")
    yield Saved(name, x, "attention")
    return x.new(name)


def _gated(part: Gate, d: Symbols, d_value: Poly, x: Tensor, y: Tensor, here: Pass) -> Forward[Tensor]:
    """The product keeps both of its factors; a softplus, in float32, what it reads."""
    width = {"head": d.n_heads, "channel": d.n_heads * d_value}[part.over]
    gate = yield from linear("gate", x, width, "attention", bias=False)
    if part.bias:
        yield Weight("gate_bias", (d.n_heads,), "attention")
        gate = gate.new("gate")
    yield Elementwise("gate", gate.axes, "attention", part.activation)
    if part.activation == "softplus":
        wide = gate.as_dtype("fp32")
        yield Saved("gate", wide, "attention")
        gate = wide.new("softplus").as_dtype(gate.dtype)
    else:
        gate = gate.new("sigmoid")
    yield from saved("gate", "attention", y, gate)
    yield Elementwise("gate", y.axes, "attention", "gate")
    return y.new("gated")
