"""Grouped-query attention, with MHA and MQA as special cases; self-attention and cross-attention."""

from __future__ import annotations

from archcalc.ledger import norm
from archcalc.ledger.algebra import Poly
from archcalc.ledger.attention_core import CoreOptions, RelativeTensors, core
from archcalc.ledger.content_bias import content_bias
from archcalc.ledger.differential import differences
from archcalc.ledger.forward_context import ForwardContext, Lent
from archcalc.ledger.key_bias import key_bias
from archcalc.ledger.leaves import CachedTensor, Elementwise, Forward, Matmul, Save, Weight
from archcalc.ledger.length_clip import length_clip
from archcalc.ledger.linear import linear
from archcalc.ledger.low_rank import beside
from archcalc.ledger.mixers.conv import causal_conv
from archcalc.ledger.output_gate import output_gate
from archcalc.ledger.rope import rotary
from archcalc.ledger.symbols import Symbols
from archcalc.ledger.tensor import Tensor
from archcalc.ledger.token_conv import token_conv
from archcalc.ledger.tokens import BATCH
from archcalc.spec.attention import Attention, QkNorm
from archcalc.spec.position import Alibi, Disentangled, RelativeBias, Rope

_ROLES = {"k": "keys", "q": "queries"}


def leaves(part: Attention, d: Symbols, x: Tensor, ctx: ForwardContext) -> Forward[Tensor]:
    """Yield the leaves of an attention; keys and values shared by an earlier layer are not computed again."""
    span, kv_input = ctx.span, _key_value_input(part, d, x, ctx)
    window = d.window if part.window else None
    d_value = d.d_head if part.d_value is None else d.d_value
    q = yield from _queries(part, d, x, ctx)
    is_lender, is_sharer = ctx.arm in ctx.lent_out, ctx.arm in ctx.lent_in
    k, v = ctx.lent_in[ctx.arm] if is_sharer else (yield from _keys_values(part, d, d_value, kv_input, ctx))
    if is_lender:
        ctx.lent_out[ctx.arm] = k, v
    if part.sinks:
        yield Weight("sinks", (d.n_heads,), "attention")
    if _layer_bias(part):
        yield Weight("relative_bias.weight", (d.n_buckets, d.n_heads), "position")
    if (cache_tokens := span.cached(window)) and not is_sharer:
        yield CachedTensor("keys", (d.n_kv_heads, cache_tokens, d.d_head))
        yield CachedTensor("values", (d.n_kv_heads, cache_tokens, d_value))
    relative = (
        (yield from _relative_heads(part, part.position, d, ctx)) if isinstance(part.position, Disentangled) else None
    )
    biases = yield from key_bias(part, d, d_value, window, v, ctx)
    content = yield from content_bias(part, d, x, _temperatures(part, q, ctx), ctx)
    sinks = (yield from linear("sink", x, d.n_heads, "attention", bias=False)) if part.token_sinks else None
    options = CoreOptions(
        n_heads=d.n_heads,
        has_one_head=part.has_one_head,
        width=d.d_head,
        v_width=d_value,
        window=window,
        n_window=part.window,
        is_chunked=part.is_chunked,
        bias=type(part.position) if isinstance(part.position, Alibi | RelativeBias) else None,
        n_bias_heads=part.n_heads if isinstance(part.position, Alibi | RelativeBias) else None,
        bias_table=_layer_bias(part),
        softcap=part.softcap is not None,
        sinks=part.sinks or part.token_sinks,
        token_sinks=sinks,
        has_own_value_width=part.d_value is not None,
        is_copy_free=(is_lender or is_sharer) and part.has_key_per_head,
        relative=relative,
        key_bias=biases,
        content=content,
        n_selected=d.n_kept if part.keeps_fewest else None,
    )
    if part.differential:
        y = yield from differences(part.differential, d, options, (q, k, v), ctx)
    else:
        y = yield from core(options, q, k, v, ctx)
    if part.gate:
        y = yield from output_gate(part.gate, d, d_value, x, y)
    if part.out_norm:
        y = yield from norm.leaves(part.out_norm, "out_norm", y, ctx)
    return (
        yield from linear(
            "out", y, d.d_model, "attention", bias=part.out_bias, block=None if part.out_block is None else d.out_block
        )
    )


def _keys_values(part: Attention, d: Symbols, d_value: Poly, kv_input: Tensor, ctx: ForwardContext) -> Forward[Lent]:
    """Yield the leaves of keys and values, which the cache holds and later layers may share."""
    block = None if part.k_block is None else d.k_block
    keys = yield from linear("k", kv_input, d.n_kv_heads * d.d_head, "attention", bias=part.k_bias, block=block)
    keys = yield from beside(part.low_rank, "k_pairs", kv_input, keys, keys.axes[-1], d, "attention")
    values = (
        keys if part.value_is_key else (yield from _projected_values(part, d, d_value, ctx.value_states or kv_input))
    )
    if part.d_conv is not None:
        keys = (yield from _convolved(part, "k_conv", d, keys, kv_input)).new("k")
        values = (yield from _convolved(part, "v_conv", d, values, ctx.value_states or kv_input)).new("v")
    k = yield from _heads(part, "k", d.n_kv_heads, d, keys, ctx)
    v = yield from _values(part, d, d_value, values, ctx)
    return k, v


def _convolved(part: Attention, name: str, d: Symbols, x: Tensor, read: Tensor) -> Forward[Tensor]:
    """Yield the leaves of a convolution that is added to `x`, projected from `read`; the sum saves nothing."""
    if part.conv_by_token:
        yield from token_conv(name, d.n_kv_heads, x, d.d_conv, read)
    else:
        yield from causal_conv(name, x, d.d_conv, bias=False, component="attention")
    return x


def _projected_values(part: Attention, d: Symbols, d_value: Poly, x: Tensor) -> Forward[Tensor]:
    """Yield the leaves of the projection of values."""
    block = None if part.v_block is None else d.v_block
    flat = yield from linear("v", x, d.n_kv_heads * d_value, "attention", bias=part.v_bias, block=block)
    return (yield from beside(part.low_rank, "v_pairs", x, flat, flat.axes[-1], d, "attention"))


def _key_value_input(part: Attention, d: Symbols, x: Tensor, ctx: ForwardContext) -> Tensor:
    """Return the input of the key and value projections: the source's states (even if idle), else `x`."""
    if ctx.source is None and part.d_source:
        return x.new("source states", *x.axes[:-1], d.d_source)
    return ctx.source or ctx.key_states or x


def _layer_bias(part: Attention) -> RelativeBias | None:
    """Return the relative bias that belongs to this layer alone, None if there is none."""
    position = part.position
    return position if isinstance(position, RelativeBias) and position.shared == "layer" else None


def _relative_heads(
    attention: Attention, part: Disentangled, d: Symbols, ctx: ForwardContext
) -> Forward[RelativeTensors]:
    """Yield the leaves of relative positions as keys and queries, by the layer's own matrices or those of contents."""
    assert ctx.distances is not None, "the stack has a table"
    n = ctx.span.nearest_rows(d.n_distances) if part.rows == "near" else d.n_distances
    rows = n + n
    heads: dict[str, Tensor | None] = {"k": None, "q": None}
    for name, is_read, bias, block in (
        ("k", part.content_to_position, part.key_bias, None if attention.k_block is None else d.k_block),
        ("q", part.position_to_content, part.query_bias, None if attention.q_block is None else d.q_block),
    ):
        if is_read:
            width = d.d_model if block is None or not part.shares_projections else block
            heads[name] = yield from _project_rows(part, name, bias, rows, width, d, ctx)
    return RelativeTensors(part, rows, heads["k"], heads["q"])


def _project_rows(
    part: Disentangled, name: str, bias: bool, rows: Poly, into: Poly, d: Symbols, ctx: ForwardContext
) -> Forward[Tensor]:
    """Yield the leaves of one projection of the rows that are read, whose outputs read `into` channels each."""
    table, width = ctx.distances, d.n_heads * d.d_head
    assert table is not None, "the stack has a table"
    if not part.shares_projections:
        yield Weight(f"relative.{name}.weight", (width, d.d_model), "attention")
        if bias:
            yield Weight(f"relative.{name}.bias", (width,), "attention")
    yield Save(f"relative.{name}", table, "position")
    passes = () if ctx.span.passes is None else (ctx.span.passes,)
    yield Matmul(f"relative.{name}", (*passes, rows, into, width), "attention")
    return table.new(f"relative {_ROLES[name]}", *passes, d.n_heads, rows, d.d_head)


def _queries(part: Attention, d: Symbols, x: Tensor, ctx: ForwardContext) -> Forward[Tensor]:
    """Yield the leaves of the queries, with the temperature of their position, which all layers share."""
    block = None if part.q_block is None else d.q_block
    flat = yield from linear("q", x, d.n_heads * d.d_head, "attention", bias=part.q_bias, block=block)
    flat = yield from beside(part.low_rank, "q_pairs", x, flat, flat.axes[-1], d, "attention")
    q = yield from _heads(part, "q", d.n_heads, d, flat, ctx)
    if part.temperature is None:
        return q
    yield Elementwise("q", q.axes, "attention", "product")
    temperatures = _temperatures(part, q, ctx)
    assert temperatures is not None, "there is a temperature"
    yield Save("q", temperatures, "position")
    return q.new("q")


def _temperatures(part: Attention, q: Tensor, ctx: ForwardContext) -> Tensor | None:
    """Return the temperature of each position, which all layers share; None without one."""
    if part.temperature is None:
        return None
    return ctx.position_tensor((ctx.span, part.temperature), lambda: q.new("temperatures", q.axes[2]))


def _heads(part: Attention, name: str, n_heads: Poly, d: Symbols, flat: Tensor, ctx: ForwardContext) -> Forward[Tensor]:
    """Yield the leaves of projected queries or keys: norm, clamp, rotation; or the norm last."""
    y = flat.view(BATCH, n_heads, flat.axes[1], d.d_head)
    qk_norm = part.qk_norm
    if qk_norm and qk_norm.over == "full":
        flat = yield from norm.leaves(qk_norm.norm, f"{name}_norm", flat, ctx)
        y = flat.view(*y.axes)
    elif qk_norm and qk_norm.when == "before":
        y = yield from _head_norm(qk_norm, name, n_heads, y, ctx)
    y = yield from _clamp(part, name, y)
    if part.qk_clip is not None:
        y = yield from length_clip(name, y, (d.n_heads, d.d_head) if name == "q" else ())
    if isinstance(part.position, Rope):
        y = yield from rotary(part.position, name, y, d, ctx)
    if qk_norm and qk_norm.when == "after":
        y = yield from _head_norm(qk_norm, name, n_heads, y, ctx)
    return y


def _head_norm(part: QkNorm, name: str, n_heads: Poly, x: Tensor, ctx: ForwardContext) -> Forward[Tensor]:
    """Yield the leaves of a norm over each head's width, with one weight for all heads or one for each."""
    if part.over == "head":
        return (yield from norm.leaves(part.norm, f"{name}_norm", x, ctx))
    return (yield from norm.per_head(part.norm, f"{name}_norm", n_heads, x, ctx))


def _values(part: Attention, d: Symbols, d_value: Poly, flat: Tensor, ctx: ForwardContext) -> Forward[Tensor]:
    """Yield the leaves of the values, from what is projected to them."""
    v = flat.view(BATCH, d.n_kv_heads, flat.axes[1], d_value)
    if part.v_norm is not None:
        v = yield from norm.leaves(part.v_norm, "v_norm", v, ctx)
    v = yield from _clamp(part, "v", v)
    if part.value_scale is not None:
        yield Elementwise("v", v.axes, "attention", "product")
        v = v.new("v")
    if isinstance(part.position, Rope) and part.position.values:
        v = yield from rotary(part.position, "v", v, d, ctx)
    return v


def _clamp(part: Attention, name: str, x: Tensor) -> Forward[Tensor]:
    """Yield the leaves of a clamp, whose gradient needs its input."""
    if part.clip is None:
        return x
    yield Elementwise(name, x.axes, "attention", "clamp")
    yield Save(name, x, "attention")
    return x.new(name)
