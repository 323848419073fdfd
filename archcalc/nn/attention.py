"""Grouped-query attention, to its own tokens or to a source.

Axes: B batch, T query tokens, S key tokens, D model, N heads, K kv heads, H head width, U value width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from archcalc.nn.added_conv import Convolution, with_convolutions
from archcalc.nn.arm_cache import CacheConfig, ConvolvedCache, RecurrentState, SourceCache, TokenCache
from archcalc.nn.attention_context import AlibiBias, AttentionContext
from archcalc.nn.bias import RelativeBias as BiasTable
from archcalc.nn.cache_store import Store
from archcalc.nn.content_bias import ContentBias as Content
from archcalc.nn.differential import Differences
from archcalc.nn.key_bias import KeyBias
from archcalc.nn.length_clip import clipped_length
from archcalc.nn.linear import GroupedLinear, Linear, LowRankPairs, linear
from archcalc.nn.mixers.conv import CausalConv
from archcalc.nn.norm import HeadNorm, norm
from archcalc.nn.output_gate import gate_weights, gates
from archcalc.nn.relative import Relative
from archcalc.nn.rope import rotate
from archcalc.nn.score_terms import ScoreTerm
from archcalc.nn.softmax import Attend, Bias, SoftmaxConfig, attend
from archcalc.nn.taps.points import tap
from archcalc.nn.token_conv import TokenConv
from archcalc.nn.token_sinks import SinkTerm
from archcalc.spec import Spec
from archcalc.spec import attention as spec
from archcalc.spec.execution import Execution
from archcalc.spec.position import Alibi, ContentBias, Disentangled, RelativeBias, Rope

# The bias [N, T, S] of each kind of position, given the scale of the scores.
_BIASES: dict[type, Callable[[Any, float], Bias | None]] = {
    type(None): lambda position, scale: None,
    Rope: lambda position, scale: None,
    Alibi: lambda position, scale: AlibiBias(scale if position.scaled else 1.0, position.max_bias),
    RelativeBias: lambda position, scale: _stack_bias,
    Disentangled: lambda position, scale: None,
    ContentBias: lambda position, scale: None,
}


class Attention(nn.Module):
    """Multi-head, grouped-query or multi-query attention (Vaswani et al. 2017; Ainslie et al. 2023)."""

    v: Linear | GroupedLinear | None
    sinks: nn.Parameter | None
    q_scale: nn.Parameter | None
    sink: Linear | None
    relative_bias: BiasTable | None
    attend: Attend
    has_keys: ClassVar[bool] = True

    def __init__(self, part: spec.Attention, model: Spec) -> None:
        super().__init__()
        assert part.n_kv_heads is not None and part.d_head is not None, "the spec is resolved"  # noqa: PT018
        self.part, self.execution = part, Execution()
        self.n_heads, self.n_kv_heads, self.d_head = part.n_heads, part.n_kv_heads, part.d_head
        self.d_value = part.d_head if part.d_value is None else part.d_value
        self.relative_bias = None
        self.attend = attend  # an attribute, which a packed model replaces
        scale = part.score_scale
        self.softmax = SoftmaxConfig(
            n_heads=part.n_heads,
            scale=scale,
            dropout=model.dropout.attention,
            window=part.window,
            is_chunked=part.is_chunked,
            softcap=part.softcap,
            bias=_BIASES[type(part.position)](part.position, scale),
            is_eager=isinstance(part.position, RelativeBias),
            has_value_width=part.d_value is not None,
        )
        if isinstance(part.position, RelativeBias) and part.position.shared == "layer":
            self.relative_bias = BiasTable(part.position, part.n_heads)
            self.softmax = replace(self.softmax, bias=self._layer_bias)
        d_in = model.d_model * (2 if part.reads_embedding else 1)
        self.q = linear(d_in, self.n_heads * self.d_head, bias=part.q_bias, block=part.q_block)
        if self.has_keys:
            d_source = part.d_source or d_in
            self.k = linear(d_source, self.n_kv_heads * self.d_head, bias=part.k_bias, block=part.k_block)
            values = self.n_kv_heads * self.d_value
            d_values = part.d_value_source or d_source
            self.v = None if part.value_is_key else linear(d_values, values, bias=part.v_bias, block=part.v_block)
        self.q_pairs = self._pairs(d_in, self.n_heads * self.d_head)
        self.k_pairs = self._pairs(d_in, self.n_kv_heads * self.d_head) if self.has_keys else None
        self.v_pairs = self._pairs(d_in, self.n_kv_heads * self.d_value) if self.has_keys else None
        self.out = linear(self.n_heads * self.d_value, model.d_model, bias=part.out_bias, block=part.out_block)
        self.relative = Relative(part, model) if isinstance(part.position, Disentangled) else None
        self.content = Content(part.position, self.n_heads, model) if isinstance(part.position, ContentBias) else None
        if part.d_conv is not None and self.has_keys:
            self.k_conv = self._convolution(part.d_conv, self.d_head, d_source)
            self.v_conv = self._convolution(part.d_conv, self.d_value, d_values)
        self.q_scale = None if part.qk_clip is None else nn.Parameter(torch.empty(self.n_heads, self.d_head))
        self.q_norm = self._qk_norm(self.n_heads)
        self.k_norm = self._qk_norm(self.n_kv_heads) if self.has_keys else None
        self.v_norm = norm(part.v_norm, self.d_value) if part.v_norm and self.has_keys else None
        self.sinks = nn.Parameter(torch.empty(self.n_heads)) if part.sinks else None
        self.sink = Linear(d_in, self.n_heads, bias=False) if part.token_sinks else None
        self.gate, self.gate_bias = gate_weights(part.gate, model.d_model, self.n_heads, self.d_value)
        self.key_bias = None
        if part.key_bias:
            self.key_bias = KeyBias(part.key_bias, self.n_heads, self.n_kv_heads, self.d_value)
        self.differences = Differences(part.differential, self.d_head, self.d_value) if part.differential else None
        self.out_norm = norm(part.out_norm, self.n_heads * self.d_value) if part.out_norm else None

    def forward(self, x_BTD: Tensor, context: AttentionContext) -> Tensor:
        """Map states [B, T, D] to states [B, T, D]."""
        q_BNTH = self.queries(x_BTD, context)
        # Through a view, gradients of keys and values are summed before those of other layers, as FSDP sums them.
        own_BTD = x_BTD if context.key_states is None else context.key_states
        states_BSD = own_BTD if context.states is None else context.states.view_as(context.states)
        k_BKSH, v_BKSU = context.keys_values(lambda: self.keys_values(states_BSD, context))
        context = context.last_keys(k_BKSH.shape[2])
        if self.relative is not None:
            # Contiguous, so that autograd saves them once for all products.
            q_BNTH, k_BKSH = q_BNTH.contiguous(), k_BKSH.contiguous()
        terms = self.terms(x_BTD, v_BKSU, context)
        k_BKSH, v_BKSU = context.with_prompt((k_BKSH, v_BKSU))
        attend = partial(
            self.attend,
            self.softmax,
            context=context,
            execution=self.execution,
            sinks_N=self.sinks,
            training=self.training,
            terms=terms,
        )
        if self.differences is None:
            y_BNTU = attend(q_BNTH, k_BKSH, v_BKSU)
        else:
            y_BNTU = self.differences.attended(attend, q_BNTH, k_BKSH, v_BKSU)
        return self.output(y_BNTU, x_BTD)

    def queries(self, x_BTD: Tensor, context: AttentionContext) -> Tensor:
        """Return queries [B, N, T, H]: normed, rotated, and scaled by temperature."""
        q_BTZ = self._with_pair(self.q(x_BTD), self.q_pairs, x_BTD, context)
        q_BNTH = self._project_heads(q_BTZ, self.q_norm, context, self.q_scale)
        if self.part.temperature is not None:
            q_BNTH = q_BNTH * context.temperatures(self.part.temperature, q_BNTH.dtype)
        return tap("q", q_BNTH)

    def keys_values(self, states_BSD: Tensor, context: AttentionContext) -> tuple[Tensor, Tensor]:
        """Return keys [B, K, S, H], normed and rotated, and values [B, K, S, U], as a cache stores them."""
        keys_BSZ = self._with_pair(self.k(states_BSD), self.k_pairs, states_BSD, context)
        read = states_BSD if context.value_states is None else context.value_states
        values_BSZ = keys_BSZ if self.v is None else self._with_pair(self.v(read), self.v_pairs, read, context)
        if self.part.d_conv is not None:
            state = context.cache.state if isinstance(context.cache, ConvolvedCache) else None
            convolutions: tuple[Convolution, ...] = (self.k_conv, self.v_conv)
            if self.part.conv_by_token:
                convolutions = partial(self.k_conv, read_BTD=states_BSD), partial(self.v_conv, read_BTD=read)
            both = convolutions, (keys_BSZ, values_BSZ)
            keys_BSZ, values_BSZ = with_convolutions(*both, state, context, self.part.conv_scale)
        k_BKSH = self._project_heads(keys_BSZ, self.k_norm, context)
        v_BKSU = self._split(values_BSZ, self.d_value)
        v_BKSU = self._clip(v_BKSU if self.v_norm is None else self.v_norm(v_BKSU))
        if self.part.value_scale is not None:
            v_BKSU = v_BKSU * self.part.value_scale
        if isinstance(self.part.position, Rope) and self.part.position.values:
            v_BKSU = self._rotate(v_BKSU, context)
        return tap("k", k_BKSH, context), tap("v", v_BKSU, context)

    def terms(self, x_BTD: Tensor, v_BKSU: Tensor, context: AttentionContext) -> tuple[ScoreTerm, ...]:
        """Return what is added to the scores of queries with these states and keys with these values."""
        relative = None if self.relative is None else self.relative(self.q, self.k, context)
        key_bias = None if self.key_bias is None else self.key_bias(v_BKSU)
        content = None
        if self.content is not None:
            part = self.part.temperature
            content = self.content(x_BTD, None if part is None else context.temperatures(part, x_BTD.dtype))
        sinks = None if self.sink is None else SinkTerm.of(self.sink, x_BTD)
        return tuple(term for term in (relative, key_bias, content, sinks) if term is not None)

    def output(self, y_BNTU: Tensor, x_BTD: Tensor) -> Tensor:
        """Return the output [B, T, D] of the heads' values: gated, normed, projected."""
        y_BNTU = tap("values", y_BNTU)
        if self.differences is not None:
            y_BNTU = tap("difference", self.differences(y_BNTU))
        if self.part.gate is not None and self.gate is not None:
            y_BNTU = y_BNTU * tap("gate", gates(self.part.gate, self.gate(x_BTD), self.n_heads, self.gate_bias))
        y_BTZ = y_BNTU.transpose(1, 2).flatten(2)
        y_BTD: Tensor = self.out(y_BTZ if self.out_norm is None else self.out_norm(y_BTZ))
        return y_BTD

    def source_keys_values(self, states_BSD: Tensor, context: AttentionContext) -> tuple[Tensor, Tensor]:
        """Return `keys_values` of a source; a method of its own, so that FSDP can hook it."""
        return self.keys_values(states_BSD, context)

    def _pairs(self, d_in: int, d_out: int) -> LowRankPairs | None:
        pairs = self.part.low_rank
        return None if pairs is None else LowRankPairs(pairs.n_pairs, d_in, pairs.pair_rank, d_out)

    @staticmethod
    def _with_pair(y_BTZ: Tensor, pairs: LowRankPairs | None, x_BTD: Tensor, context: AttentionContext) -> Tensor:
        """Return a projection of x, with that of the low-rank pair of this use if there is one."""
        if pairs is None:
            return y_BTZ
        sum_BTZ: Tensor = y_BTZ + pairs(x_BTD, context.pair)
        return sum_BTZ

    def _convolution(self, width: int, d_head: int, d_in: int) -> CausalConv | TokenConv:
        """Return a convolution of all heads of a width, projected from `d_in` channels."""
        channels = self.n_kv_heads * d_head
        if self.part.conv_by_token:
            return TokenConv(self.n_kv_heads, channels, width, d_in)
        return CausalConv(channels, width, bias=False)

    def _qk_norm(self, n_heads: int) -> nn.Module | None:
        if self.part.qk_norm is None:
            return None
        if self.part.qk_norm.over == "each":
            return HeadNorm(self.part.qk_norm.norm, n_heads, self.d_head)
        over = {"head": self.d_head, "full": n_heads * self.d_head}
        return norm(self.part.qk_norm.norm, over[self.part.qk_norm.over])

    def _project_heads(
        self, x_BTZ: Tensor, qk_norm: nn.Module | None, context: AttentionContext, scale_NH: Tensor | None = None
    ) -> Tensor:
        """Return queries or keys [B, heads, T, H] of a projection: clipped, and normed before or after rotation.

        `scale_NH` are the numbers that they are multiplied by before their length is clipped.
        """
        x_BNTH = self._apply_qk_norm(x_BTZ, qk_norm) if self._has_qk_norm("before") else self._split(x_BTZ, self.d_head)
        x_BNTH = self._clip(x_BNTH)
        if self.part.qk_clip is not None:
            x_BNTH = clipped_length(x_BNTH, self.part.qk_clip, None if scale_NH is None else scale_NH.unsqueeze(1))
        if isinstance(self.part.position, Rope):
            x_BNTH = self._rotate(x_BNTH, context)
        if qk_norm is not None and self._has_qk_norm("after"):
            x_BNTH = qk_norm(x_BNTH)
        return x_BNTH

    def _has_qk_norm(self, when: str) -> bool:
        return self.part.qk_norm is not None and self.part.qk_norm.when == when

    def _apply_qk_norm(self, x_BTZ: Tensor, qk_norm: nn.Module | None) -> Tensor:
        """Map [B, T, heads · H] to [B, heads, T, H], normed over all heads before the split or over each after."""
        assert self.part.qk_norm is not None and qk_norm is not None, "there is a norm"  # noqa: PT018
        if self.part.qk_norm.over == "full":
            return self._split(qk_norm(x_BTZ), self.d_head)
        x_BNTH: Tensor = qk_norm(self._split(x_BTZ, self.d_head))
        return x_BNTH

    def _rotate(self, x_BNTH: Tensor, context: AttentionContext) -> Tensor:
        position = self.part.position
        assert isinstance(position, Rope), "called only where there is one"
        return rotate(x_BNTH, context.rotary_tables(position, x_BNTH.dtype), position.interleaved)

    def _clip(self, x: Tensor) -> Tensor:
        return x if self.part.clip is None else x.clamp(-self.part.clip, self.part.clip)

    def _layer_bias(self, context: AttentionContext, n_heads: int) -> Tensor:
        assert self.relative_bias is not None, "called only where there is one"
        return context.layer_bias(self.relative_bias)

    @staticmethod
    def _split(x_BTZ: Tensor, width: int) -> Tensor:
        """Map [B, T, heads · width] to [B, heads, T, width]."""
        return x_BTZ.view(*x_BTZ.shape[:-1], -1, width).transpose(1, 2)


class QueryAttention(Attention):
    """Attention without keys and values of its own: it reads those of an earlier layer."""

    has_keys = False


def _stack_bias(context: AttentionContext, n_heads: int) -> Tensor:
    return context.stack_bias()


def token_cache(part: spec.Attention, config: CacheConfig) -> TokenCache:
    """Return a cache of keys [B, K, S, H] and values [B, K, S, U]: of all tokens, or of one window."""
    stores = _stores(part, config, min(config.capacity, part.window or config.capacity))
    if part.d_conv is None:
        return TokenCache(*stores)
    assert part.n_kv_heads is not None and part.d_head is not None, "the spec is resolved"  # noqa: PT018
    widths = part.d_head, part.d_head if part.d_value is None else part.d_value
    states = (config.zero_state(part.n_kv_heads * width, part.d_conv - 1) for width in widths)
    return ConvolvedCache(*stores, RecurrentState(*states))


def source_cache(part: spec.Attention, config: CacheConfig) -> SourceCache:
    """Return a cache of the keys [B, K, S, H] and values [B, K, S, U] of a source."""
    return SourceCache(*_stores(part, config, config.source_capacity))


def _stores(part: spec.Attention, config: CacheConfig, n_tokens: int) -> tuple[Store, Store]:
    assert part.n_kv_heads is not None and part.d_head is not None, "the spec is resolved"  # noqa: PT018
    widths = part.d_head, part.d_head if part.d_value is None else part.d_value
    keys, values = (config.empty_store(part.n_kv_heads, n_tokens, width) for width in widths)
    return keys, values
