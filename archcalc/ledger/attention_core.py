"""The core of attention: softmax(q·kᵀ)·v, and what each kernel saves of it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from archcalc.formats.element_types import ElementName
from archcalc.ledger.algebra import ONE, Poly
from archcalc.ledger.forward_context import ForwardContext, checkpoint, dropout, save
from archcalc.ledger.leaves import Elementwise, Forward, Matmul, Save
from archcalc.ledger.tensor import Tensor
from archcalc.ledger.tokens import BATCH
from archcalc.spec.attention import KeyBias
from archcalc.spec.execution import Kernel
from archcalc.spec.position import Alibi, ContentBias, Disentangled, RelativeBias


class RelativeTensors(msgspec.Struct, frozen=True):
    """Relative positions as keys of contents and as their queries, [n_heads, rows, width] each."""

    part: Disentangled
    rows: Poly
    keys: Tensor | None
    queries: Tensor | None


class KeyBiasTensors(msgspec.Struct, frozen=True):
    """Biases of keys, [BATCH, keys, n_kv_heads]."""

    part: KeyBias
    bias: Tensor


class ContentTensors(msgspec.Struct, frozen=True):
    """The numbers [BATCH, queries, n_heads, d_rel] by which queries mix profiles over `n_distances`."""

    part: ContentBias
    shares: Tensor
    d_rel: Poly
    n_distances: Poly


class GlobalTensors(msgspec.Struct, frozen=True):
    """Queries of global tokens [n_heads, tokens, width], and the keys and values that they read."""

    queries: Tensor
    keys: Tensor
    values: Tensor


class SparsePattern(msgspec.Struct, frozen=True):
    """The keys that each query reads: their mask, the attended pairs, summaries among the keys, global tokens."""

    mask: Tensor
    pairs: Poly
    n_summaries: Poly | None = None
    global_tensors: GlobalTensors | None = None


class CoreOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of one attention that its core depends on.

    `n_window` (tokens in a window), `is_chunked` (it is a chunk) and `n_bias_heads` (heads with a bias) identify a
    mask. `bias_table` is a learned bias of this layer alone. `has_own_value_width`: values are not as wide as keys.
    `is_copy_free`: several layers share the keys and values, and each query head has its own key head, so that no copy
    is made. `is_eager`: no fused kernel computes it. `n_selected` keys are selected for each query; `selection` is the
    mask of the others. `relative` are relative positions as keys and queries, `key_bias` are biases of keys, `pattern`
    are the keys that each query reads, if those are not a window, `token_sinks` the sinks if tokens compute them.
    """

    n_heads: Poly
    width: Poly
    v_width: Poly
    window: Poly | None = None
    n_window: int | None = None
    is_chunked: bool = False
    bias: type[Alibi | RelativeBias] | None = None
    n_bias_heads: int | None = None
    bias_table: RelativeBias | None = None
    softcap: bool = False
    sinks: bool = False
    has_one_head: bool = False
    has_own_value_width: bool = False
    is_copy_free: bool = False
    n_selected: Poly | None = None
    selection: Tensor | None = None
    is_eager: bool = False
    relative: RelativeTensors | None = None
    key_bias: KeyBiasTensors | None = None
    content: ContentTensors | None = None
    token_sinks: Tensor | None = None
    pattern: SparsePattern | None = None

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """Return the tensors that a checkpointed core reads besides queries, keys and values."""
        relative = (self.relative.keys, self.relative.queries) if self.relative else ()
        rows = self.pattern.global_tensors if self.pattern else None
        biases = (self.key_bias.bias,) if self.key_bias else ()
        content = (self.content.shares,) if self.content else ()
        sinks = (self.token_sinks,) if self.token_sinks else ()
        found = (*relative, *biases, *content, *sinks, *((rows.queries, rows.keys, rows.values) if rows else ()))
        return tuple(tensor for tensor in found if tensor is not None)


Core = Callable[[CoreOptions, Tensor, Tensor, Tensor, ForwardContext], Forward[Tensor]]


def core(options: CoreOptions, q: Tensor, k: Tensor, v: Tensor, ctx: ForwardContext) -> Forward[Tensor]:
    """Yield the leaves of the kernel, checkpointed if `ctx` says so; return [BATCH, queries, n_heads · v_width]."""
    k, v = with_prompts(k, v, ctx)
    return (yield from attended(options, q, k, v, ctx))


def with_prompts(k: Tensor, v: Tensor, ctx: ForwardContext) -> tuple[Tensor, Tensor]:
    """Return keys and values after those of the stack's prompts, if it has any."""
    return (k, v) if ctx.n_prompt is None else (_with_prompt(k, ctx.n_prompt), _with_prompt(v, ctx.n_prompt))


def attended(options: CoreOptions, q: Tensor, k: Tensor, v: Tensor, ctx: ForwardContext) -> Forward[Tensor]:
    """Yield the leaves of `core` for keys and values that include prompts."""
    output = KERNELS[kernel(options, ctx)](options, q, k, v, ctx)
    if ctx.execution.recompute == "selective":
        output = checkpoint("core", "attention", output, (q, k, v, *options.inputs))
    return (yield from output)


def kernel(options: CoreOptions, ctx: ForwardContext) -> Kernel:
    """Return the requested kernel, or its replacement if it does not support this attention.

    PyTorch's fused attention has no softcap, no sinks and no sparse patterns, and would copy a learned bias for every
    layer. Flash kernels take no mask of selected keys; the CPU's has no dropout and needs values as wide as keys, and a
    GPU's has no float32.
    """
    requested = ctx.execution.attention
    is_biased = (
        options.bias is RelativeBias or options.relative or options.key_bias or options.content or options.is_eager
    )
    if requested == "eager" or options.softcap or options.sinks or is_biased or options.pattern:
        return "eager"
    has_dropout = ctx.execution.dropout and ctx.dropout.attention > 0
    is_unsupported = {
        "meta": False,
        "cpu": options.has_own_value_width or has_dropout,
        "cuda": ctx.execution.dtype == "fp32",
    }[ctx.execution.device]
    return "math" if is_unsupported or options.selection is not None else requested


def _eager(options: CoreOptions, q: Tensor, k: Tensor, v: Tensor, ctx: ForwardContext) -> Forward[Tensor]:
    """Write out every product, with the softmax in float32."""
    k = k if options.relative else per_query_head(k, options, options.width, ctx)
    yield from save("scores", "attention", q, k)
    yield _product("scores", options, options.width, ctx)
    score_axes = _score_axes(options, ctx)
    if options.softcap:
        yield Save("softcap", q.new("tanh of the scores", *score_axes), "attention")
    if options.bias_table:
        buckets = ctx.position_tensor(
            ("buckets", ctx.span, options.bias_table), lambda: Tensor("buckets", score_axes[2:], "int64")
        )
        yield Save("relative_bias", buckets, "position")
    if options.relative:
        yield from _relative_scores(options, options.relative, q, k, ctx)
    if options.content:
        yield from _content_scores(options, options.content, ctx)
    if options.pattern is not None and options.pattern.global_tensors is not None:
        rows = options.pattern.global_tensors
        yield from save("global_scores", "attention", rows.queries, rows.keys)
        yield _global_product("global_scores", options, options.width, rows, ctx)
    if (mask := _own_mask(options, score_axes)) is not None:
        yield Save("mask", mask, "attention")
    elif ctx.span.is_causal or options.window:
        key = ("mask", ctx.span, options.n_window, options.is_chunked)
        yield Save("mask", ctx.position_tensor(key, lambda: _mask(options, ctx, "bool")), "attention")
    *before, keys = score_axes
    pattern = Tensor("pattern", (*before, keys + ONE) if options.sinks else score_axes, "fp32")
    yield Elementwise("softmax", pattern.axes, "attention", "softmax")
    yield Save("softmax", pattern, "attention")
    weights = pattern.view(*score_axes).as_dtype(ctx.execution.dtype)
    return (yield from _weighted_values(options, weights, v, ctx))


def _own_mask(options: CoreOptions, score_axes: tuple[Poly, ...]) -> Tensor | None:
    """Return the mask of a sparse pattern or of selected keys; None if other layers have the same mask."""
    if options.key_bias and options.key_bias.part.n_kept is not None:
        return Tensor("mask", score_axes, "bool")
    return options.pattern.mask if options.pattern else options.selection


def _relative_scores(
    options: CoreOptions, relative: RelativeTensors, q: Tensor, k: Tensor, ctx: ForwardContext
) -> Forward[None]:
    """Yield the leaves of the products of contents and relative positions, and the row of each distance."""
    *_, queries, keys = _score_axes(options, ctx)
    rows = ctx.position_tensor(
        ("distance rows", ctx.span, relative.part),
        lambda: Tensor("rows of distances", (queries, keys), "int64"),
    )
    for name, content, tokens, heads in (
        ("pos_key", q, queries, relative.keys),
        # An encoder that is done reading has keys, and computes no products of them.
        ("pos_query", k, keys if ctx.span.is_causal else ctx.span.input_tokens, relative.queries),
    ):
        if heads is not None:
            each = heads.new(f"{heads.label} of each text", BATCH, options.n_heads, relative.rows, options.width)
            # A product copies the heads for each text; a single one it reads in place.
            yield from save(name, "attention", content, heads if options.has_one_head else each)
            axes = BATCH, options.n_heads, tokens, relative.rows, options.width
            yield Matmul(f"{name}_scores", axes, "attention")
            products = content.new("scores of all rows", BATCH, options.n_heads, tokens, relative.rows)
            yield from save(name, "attention", products)  # whose shape the gradient of a gather asks for
            yield Save(name, rows, "position")


def _content_scores(options: CoreOptions, content: ContentTensors, ctx: ForwardContext) -> Forward[None]:
    """Yield the leaves of the bias of each distance, and of the distances of all keys."""
    batch, heads, queries, keys = _score_axes(options, ctx)
    yield Save("content", content.shares, "attention")
    axes = batch, queries, heads, content.d_rel, content.n_distances
    yield Matmul("content · profiles", axes, "attention")
    key = ("content", ctx.span, content.part)
    rows = ctx.position_tensor((*key, "rows"), lambda: Tensor("distances", (queries, keys), "int64"))
    beyond = ctx.position_tensor((*key, "beyond"), lambda: Tensor("distances beyond the last", (queries, keys), "bool"))
    biases = content.shares.new("biases of all distances", batch, queries, heads, content.n_distances)
    yield from save("content", "attention", biases)  # whose shape the gradient of a gather asks for
    yield Save("content", rows, "position")
    yield Save("content", beyond, "position")


def _math(options: CoreOptions, q: Tensor, k: Tensor, v: Tensor, ctx: ForwardContext) -> Forward[Tensor]:
    """PyTorch's `_scaled_dot_product_attention_math`: in float32, with scaled copies of queries and keys."""
    for label, x in (("scaled queries", q), ("scaled keys", k)):
        yield Save("scores", Tensor(label, per_query_head_axes(options, options.width, x), "fp32"), "attention")
    yield _product("scores", options, options.width, ctx)
    pattern = Tensor("pattern", _score_axes(options, ctx), "fp32")
    yield Elementwise("softmax", pattern.axes, "attention", "softmax")
    yield Save("softmax", pattern, "attention")
    return (yield from _weighted_values(options, pattern, v.as_dtype("fp32"), ctx))


def _flash(options: CoreOptions, q: Tensor, k: Tensor, v: Tensor, ctx: ForwardContext) -> Forward[Tensor]:
    """A fused kernel: it saves its inputs, its output, and the logarithm of each softmax's sum.

    Full and causal attention need no mask. PyTorch's CPU kernel takes windows and linear biases as a mask in the dtype
    of the queries. A GPU's (FlashAttention-2, Dao 2023) computes both itself and shares keys and values among heads.
    """
    is_cpu = ctx.execution.device == "cpu"
    if is_cpu:
        k, v = per_query_head(k, options, options.width, ctx), per_query_head(v, options, options.v_width, ctx)
    if is_cpu and (options.window or options.bias):
        key = ("added", ctx.span, options.n_window, options.is_chunked, options.bias, options.n_bias_heads)
        yield Save("mask", ctx.position_tensor(key, lambda: _mask(options, ctx, ctx.execution.dtype)), "attention")
    yield from save("core", "attention", q, k, v)
    yield _product("scores", options, options.width, ctx)
    yield Elementwise("softmax", _score_axes(options, ctx), "attention", "softmax")
    yield _product("values", options, options.v_width, ctx)
    y = _result(options, ctx)
    sums = Tensor("log of the sums", (BATCH, options.n_heads, ctx.span.queries), "fp32")
    yield from save("core", "attention", sums, y)
    return y


KERNELS: dict[Kernel, Core] = {"eager": _eager, "math": _math, "flash": _flash}


def _weighted_values(options: CoreOptions, weights: Tensor, v: Tensor, ctx: ForwardContext) -> Forward[Tensor]:
    """Yield the leaves of attention dropout and of the product with the values."""
    weights = yield from dropout(weights, ctx.dropout.attention, ctx, "attention", "softmax")
    yield from save("values", "attention", weights, per_query_head(v, options, options.v_width, ctx))
    yield _product("values", options, options.v_width, ctx)
    if options.pattern is not None and options.pattern.global_tensors is not None:
        rows = options.pattern.global_tensors
        yield from save("global_values", "attention", weights, rows.values)
        yield _global_product("global_values", options, options.v_width, rows, ctx)
    return _result(options, ctx)


def _global_product(name: str, options: CoreOptions, width: Poly, rows: GlobalTensors, ctx: ForwardContext) -> Matmul:
    """Return one of the products of global tokens with all keys."""
    return Matmul(name, (BATCH, options.n_heads, rows.queries.axes[2], _n_keys(options, ctx), width), "attention")


def _product(name: str, options: CoreOptions, width: Poly, ctx: ForwardContext) -> Matmul:
    """Return one of attention's two products: every query with every key that the layer holds, over `width`."""
    pairs = _pairs(options, ctx)
    if ctx.n_prompt is not None:
        pairs += ctx.span.queries * ctx.n_prompt
    return Matmul(name, (*_score_axes(options, ctx), width), "attention", (BATCH, options.n_heads, pairs, width))


def _pairs(options: CoreOptions, ctx: ForwardContext) -> Poly:
    """Return the attended pairs."""
    if options.pattern is not None:
        return options.pattern.pairs
    if options.n_selected is not None:
        return ctx.span.selected_pairs(options.n_selected)
    if options.is_chunked and options.window is not None:
        return ctx.span.chunk_pairs(options.window)
    return ctx.span.pairs(options.window)


def _score_axes(options: CoreOptions, ctx: ForwardContext) -> tuple[Poly, ...]:
    return BATCH, options.n_heads, ctx.span.queries, _n_keys(options, ctx)


def _n_keys(options: CoreOptions, ctx: ForwardContext) -> Poly:
    """Return the keys that scores are computed for, those of prompts and of summaries included."""
    keys = ctx.span.keys(options.window)
    if options.pattern is not None and options.pattern.n_summaries is not None:
        keys += options.pattern.n_summaries
    return keys if ctx.n_prompt is None else keys + ctx.n_prompt


def _with_prompt(x: Tensor, n_prompt: Poly) -> Tensor:
    """Return keys or values [BATCH, heads, tokens, width] after those of the prompt."""
    batch, n_heads, tokens, width = x.axes
    return x.new(f"{x.label} after prompts", batch, n_heads, tokens + n_prompt, width)


def per_query_head_axes(options: CoreOptions, width: Poly, x: Tensor) -> tuple[Poly, ...]:
    """Return the axes of `x` [BATCH, heads, tokens, width] with one head for each query head."""
    return BATCH, options.n_heads, x.axes[2], width


def per_query_head(x: Tensor, options: CoreOptions, width: Poly, ctx: ForwardContext) -> Tensor:
    """Return keys or values with each head repeated for the query heads that share it."""
    if options.is_copy_free:
        return x
    return x.new(f"{x.label} of each head", *per_query_head_axes(options, width, x))


def _mask(options: CoreOptions, ctx: ForwardContext, dtype: ElementName) -> Tensor:
    """Return the attention mask; with a linear bias there is one for each head."""
    score_axes = ctx.span.queries, _n_keys(options, ctx)
    return Tensor("mask", (options.n_heads, *score_axes) if options.bias and dtype != "bool" else score_axes, dtype)


def _result(options: CoreOptions, ctx: ForwardContext) -> Tensor:
    return Tensor("attended", (BATCH, ctx.span.queries, options.n_heads * options.v_width), ctx.execution.dtype)
