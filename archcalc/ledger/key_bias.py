"""A bias of each key on its scores, computed from the values."""

from __future__ import annotations

from archcalc.ledger.algebra import Poly
from archcalc.ledger.attention_core import KeyBiasTensors
from archcalc.ledger.forward_context import ForwardContext, save
from archcalc.ledger.leaves import Elementwise, Forward, Matmul, Save, Weight
from archcalc.ledger.symbols import Symbols
from archcalc.ledger.tensor import Tensor
from archcalc.ledger.tokens import BATCH
from archcalc.spec.attention import Attention


def key_bias(
    part: Attention, d: Symbols, d_value: Poly, window: Poly | None, v: Tensor, ctx: ForwardContext
) -> Forward[KeyBiasTensors | None]:
    """Yield the leaves of the biases of all keys, new or cached, with the values `v`; None if there are none."""
    if part.key_bias is None:
        return None
    tokens, width = v.axes[2], d.n_kv_heads * d_value
    flat = v.new("values of all heads", BATCH, tokens, width)
    keys = ctx.span.keys(window)
    yield Weight("key_bias.steps.weight", (d.n_kv_heads, width), "attention")
    if part.key_bias.bias:
        yield Weight("key_bias.steps.bias", (d.n_kv_heads,), "attention")
    yield Save("key_bias.steps", flat, "attention")
    yield Matmul("key_bias.steps", (BATCH, keys, width, d.n_kv_heads), "attention")
    steps = v.new("key_bias.steps", BATCH, tokens, d.n_kv_heads)
    yield Elementwise("key_bias", (BATCH, keys, d.n_kv_heads), "attention", "softplus")
    yield Save("key_bias", steps, "attention")
    yield Weight("key_bias.rate", (d.n_kv_heads,), "attention")
    yield Elementwise("key_bias", (BATCH, keys, d.n_kv_heads), "attention", "product")
    bias = steps.new("bias of each key")
    yield from save("key_bias", "attention", steps.new("softplus"), bias)
    return KeyBiasTensors(part.key_bias, bias)
