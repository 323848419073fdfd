"""Attention once queries, keys and values are there: the two products, and what each kernel keeps of them."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from archcalc.formats.element_types import ElementName
from archcalc.ledger.algebra import ONE, Poly
from archcalc.ledger.forward import Pass, dropped, recomputed, saved
from archcalc.ledger.leaves import Elementwise, Forward, Matmul, Saved
from archcalc.ledger.tensors import Tensor
from archcalc.ledger.tokens import BATCH
from archcalc.spec.execution import Kernel
from archcalc.spec.position import Alibi, RelativeBias


class Heads(msgspec.Struct, frozen=True, kw_only=True):
    """What a core must know of its attention. `shown`: how many tokens a window shows, and `n_biased` how many heads
    have a bias: by these a mask is known.

    `own_table`: a learned bias that no other layer shares. `uneven`: values have a width of their own. `as_it_is`: keys
    and values serve several layers, and each head of queries has its own of them, so that there is no copy of them.
    """

    n_heads: Poly
    width: Poly
    v_width: Poly
    window: Poly | None = None
    shown: int | None = None
    bias: type[Alibi | RelativeBias] | None = None
    n_biased: int | None = None
    own_table: RelativeBias | None = None
    softcap: bool = False
    sinks: bool = False
    uneven: bool = False
    as_it_is: bool = False


Core = Callable[[Heads, Tensor, Tensor, Tensor, Pass], Forward[Tensor]]


def core(heads: Heads, q: Tensor, k: Tensor, v: Tensor, here: Pass) -> Forward[Tensor]:
    """The weighted values [BATCH, queries, n_heads · v_width], by the kernel and the recomputation that `here` says."""
    if here.prompt is not None:
        k, v = (x.new(f"{x.label} after prompts", *_longer(x, here.prompt)) for x in (k, v))
    made = KERNELS[kernel(heads, here)](heads, q, k, v, here)
    if here.how.recompute == "selective":
        made = recomputed("core", "attention", made, (q, k, v))
    return (yield from made)


def kernel(heads: Heads, here: Pass) -> Kernel:
    """The kernel asked for, or what takes its place where it cannot do this attention.

    PyTorch's fused attention knows no softcap and no sinks, and a learned bias would be copied for every layer. The
    CPU's flash kernel drops nothing and wants values as wide as keys.
    """
    asked = here.how.attention
    if asked == "eager" or heads.softcap or heads.sinks or heads.bias is RelativeBias:
        return "eager"
    unfit = heads.uneven or (here.how.dropout and here.dropout.attention > 0)
    return "math" if unfit and here.how.device == "cpu" else asked


def _eager(heads: Heads, q: Tensor, k: Tensor, v: Tensor, here: Pass) -> Forward[Tensor]:
    """Every product written out, the softmax in float32."""
    yield from saved("scores", "attention", q, _repeated(k, heads, heads.width, here))
    yield _product("scores", heads, heads.width, here)
    square = _square(heads, here)
    if heads.softcap:
        yield Saved("softcap", q.new("tanh of the scores", *square), "attention")
    if heads.own_table:
        buckets = here.once(("buckets", here.span, heads.own_table), lambda: Tensor("buckets", square[2:], "int64"))
        yield Saved("relative_bias", buckets, "position")
    if here.span.causal or heads.window:
        yield Saved(
            "mask", here.once(("mask", here.span, heads.shown), lambda: _mask(heads, here, "bool")), "attention"
        )
    *before, keys = square
    pattern = Tensor("pattern", (*before, keys + ONE) if heads.sinks else square, "fp32")
    yield Elementwise("softmax", pattern.axes, "attention", "softmax")
    yield Saved("softmax", pattern, "attention")
    weights = pattern.view(*square).as_dtype(here.how.dtype)
    return (yield from _weighted(heads, weights, v, here))


def _math(heads: Heads, q: Tensor, k: Tensor, v: Tensor, here: Pass) -> Forward[Tensor]:
    """PyTorch's `_scaled_dot_product_attention_math`: in float32; queries and keys are scaled, a copy of each."""
    for label, x in (("scaled queries", q), ("scaled keys", k)):
        yield Saved("scores", Tensor(label, _each(heads, heads.width, x), "fp32"), "attention")
    yield _product("scores", heads, heads.width, here)
    pattern = Tensor("pattern", _square(heads, here), "fp32")
    yield Elementwise("softmax", pattern.axes, "attention", "softmax")
    yield Saved("softmax", pattern, "attention")
    return (yield from _weighted(heads, pattern, v.as_dtype("fp32"), here))


def _flash(heads: Heads, q: Tensor, k: Tensor, v: Tensor, here: Pass) -> Forward[Tensor]:
    """A fused kernel: it keeps what it reads, what it gives, and the logarithm of each softmax's sum.

    Queries that see all keys, or all before them, need no mask. PyTorch's CPU kernel takes windows and linear biases as
    a mask in the dtype of the queries. A GPU's (FlashAttention-2, Dao 2023) makes both itself, and shares keys and
    values among heads.
    """
    on_cpu = here.how.device == "cpu"
    if on_cpu:
        k, v = _repeated(k, heads, heads.width, here), _repeated(v, heads, heads.v_width, here)
    if on_cpu and (heads.window or heads.bias):
        key = ("added", here.span, heads.shown, heads.bias, heads.n_biased)
        yield Saved("mask", here.once(key, lambda: _mask(heads, here, here.how.dtype)), "attention")
    yield from saved("core", "attention", q, k, v)
    yield _product("scores", heads, heads.width, here)
    yield Elementwise("softmax", _square(heads, here), "attention", "softmax")
    yield _product("values", heads, heads.v_width, here)
    y = _result(heads, here)
    sums = Tensor("log of the sums", (BATCH, heads.n_heads, here.span.queries), "fp32")
    yield from saved("core", "attention", sums, y)
    return y


KERNELS: dict[Kernel, Core] = {"eager": _eager, "math": _math, "flash": _flash}


def _weighted(heads: Heads, weights: Tensor, v: Tensor, here: Pass) -> Forward[Tensor]:
    """The second product, of what dropout leaves of the weights."""
    weights = yield from dropped(weights, here.dropout.attention, here, "attention", "softmax")
    yield from saved("values", "attention", weights, _repeated(v, heads, heads.v_width, here))
    yield _product("values", heads, heads.v_width, here)
    return _result(heads, here)


def _product(name: str, heads: Heads, width: Poly, here: Pass) -> Matmul:
    """One of attention's two products: every query with every key that the layer holds, over `width`."""
    pairs = here.span.pairs(heads.window)
    if here.prompt is not None:
        pairs += here.span.queries * here.prompt
    return Matmul(name, (*_square(heads, here), width), "attention", (BATCH, heads.n_heads, pairs, width))


def _square(heads: Heads, here: Pass) -> tuple[Poly, ...]:
    return BATCH, heads.n_heads, here.span.queries, _keys(heads, here)


def _keys(heads: Heads, here: Pass) -> Poly:
    """Keys that the scores are computed for, prompts among them."""
    keys = here.span.keys(heads.window)
    return keys if here.prompt is None else keys + here.prompt


def _longer(x: Tensor, prompt: Poly) -> tuple[Poly, ...]:
    batch, n_heads, tokens, width = x.axes
    return batch, n_heads, tokens + prompt, width


def _each(heads: Heads, width: Poly, x: Tensor) -> tuple[Poly, ...]:
    """The axes of a tensor [BATCH, heads, tokens, width] that has a head for each of the queries'."""
    return BATCH, heads.n_heads, x.axes[2], width


def _repeated(x: Tensor, heads: Heads, width: Poly, here: Pass) -> Tensor:
    """Keys or values with each head repeated for the query heads that share it."""
    if heads.as_it_is:
        return x
    return x.new(f"{x.label} of each head", *_each(heads, width, x))


def _mask(heads: Heads, here: Pass, dtype: ElementName) -> Tensor:
    """Who sees whom; with a linear bias, for each head."""
    square = here.span.queries, _keys(heads, here)
    return Tensor("mask", (heads.n_heads, *square) if heads.bias and dtype != "bool" else square, dtype)


def _result(heads: Heads, here: Pass) -> Tensor:
    return Tensor("attended", (BATCH, here.span.queries, heads.n_heads * heads.v_width), here.how.dtype)
