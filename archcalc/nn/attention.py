"""Grouped-query attention, to oneself or to a source.

Axes: B batch, T query tokens, S key tokens, D model, N heads, K kv heads, H head width, U value width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archcalc.nn.bias import RelativeBias as BiasTable
from archcalc.nn.held import Room, Source, Tokens
from archcalc.nn.linear import Linear
from archcalc.nn.norm import HeadNorm, norm
from archcalc.nn.quantised import Store
from archcalc.nn.rope import rotate
from archcalc.nn.sight import Penalty, Sight
from archcalc.nn.softmax import Attend, Bias, Softmax, attend
from archcalc.nn.taps.points import tap
from archcalc.nn.wide import widened
from archcalc.spec import Spec
from archcalc.spec import attention as spec
from archcalc.spec.execution import Execution
from archcalc.spec.position import Alibi, RelativeBias, Rope

# What each kind of position adds to the scores, [N, T, S], if these are scaled so.
_BIASES: dict[type, Callable[[Any, float], Bias | None]] = {
    type(None): lambda position, scale: None,
    Rope: lambda position, scale: None,
    Alibi: lambda position, scale: Penalty(scale if position.scaled else 1.0, position.max_bias),
    RelativeBias: lambda position, scale: _relative,
}

_GATES: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": torch.sigmoid,
    "softplus": lambda x: F.softplus(widened(x)).to(x.dtype),
}


class Attention(nn.Module):
    """Multi-head, grouped-query or multi-query attention (Vaswani et al. 2017; Ainslie et al. 2023)."""

    sinks: nn.Parameter | None
    gate: Linear | None
    gate_bias: nn.Parameter | None
    relative_bias: BiasTable | None
    attend: Attend
    makes_keys: ClassVar[bool] = True

    def __init__(self, part: spec.Attention, model: Spec) -> None:
        super().__init__()
        assert part.n_kv_heads is not None and part.d_head is not None, "the spec is resolved"  # noqa: PT018
        self.part, self.how = part, Execution()
        self.n_heads, self.n_kv_heads, self.d_head = part.n_heads, part.n_kv_heads, part.d_head
        self.d_value = part.d_head if part.d_value is None else part.d_value
        self.relative_bias = None
        self.attend = attend  # a function of its own, so that a packed model may put a faster one in its place
        scale = part.d_head**-0.5 if part.scale is None else part.scale
        self.softmax = Softmax(
            n_heads=part.n_heads,
            scale=scale,
            dropout=model.dropout.attention,
            window=part.window,
            softcap=part.softcap,
            bias=_BIASES[type(part.position)](part.position, scale),
            learned=isinstance(part.position, RelativeBias),
            uneven=part.d_value is not None,
        )
        if isinstance(part.position, RelativeBias) and part.position.shared == "layer":
            self.relative_bias = BiasTable(part.position, part.n_heads)
            self.softmax = replace(self.softmax, bias=self._own_bias)
        self.q = Linear(model.d_model, self.n_heads * self.d_head, bias=part.q_bias)
        if self.makes_keys:
            d_source = part.d_source or model.d_model
            self.k = Linear(d_source, self.n_kv_heads * self.d_head, bias=part.k_bias)
            self.v = Linear(d_source, self.n_kv_heads * self.d_value, bias=part.v_bias)
        self.out = Linear(self.n_heads * self.d_value, model.d_model, bias=part.out_bias)
        self.q_norm = self._qk_norm(self.n_heads)
        self.k_norm = self._qk_norm(self.n_kv_heads) if self.makes_keys else None
        self.sinks = nn.Parameter(torch.empty(self.n_heads)) if part.sinks else None
        self.gate = self.gate_bias = None
        if part.gate is not None:
            width = 1 if part.gate.over == "head" else self.d_value
            self.gate = Linear(model.d_model, self.n_heads * width, bias=False)
            self.gate_bias = nn.Parameter(torch.empty(self.n_heads)) if part.gate.bias else None
        self.out_norm = norm(part.out_norm, self.n_heads * self.d_value) if part.out_norm else None

    def forward(self, x_BTD: Tensor, sight: Sight) -> Tensor:
        """States [B, T, D] to states [B, T, D], by what `sight` lets them see."""
        q_BNTH = self.queries(x_BTD, sight)
        # As a view, of which keys' and values' gradients are summed before those of other layers: so are FSDP's.
        states_BSD = x_BTD if sight.states is None else sight.states.view_as(sight.states)
        k_BKSH, v_BKSU = sight.joined(lambda: self.keys_values(states_BSD, sight))
        sight = sight.of_last(k_BKSH.shape[2])
        y_BNTU = self.attend(
            self.softmax, q_BNTH, k_BKSH, v_BKSU, sight, self.how, sinks_N=self.sinks, training=self.training
        )
        return self.output(y_BNTU, x_BTD)

    def queries(self, x_BTD: Tensor, sight: Sight) -> Tensor:
        """Queries [B, N, T, H], normed, turned and at their position's temperature."""
        q_BNTH = self._turned(self.q(x_BTD), self.q_norm, sight)
        if self.part.temperature is not None:
            q_BNTH = q_BNTH * sight.temperatures(self.part.temperature, q_BNTH.dtype)
        return tap("q", q_BNTH)

    def keys_values(self, states_BSD: Tensor, sight: Sight) -> tuple[Tensor, Tensor]:
        """Keys [B, K, S, H], normed and turned, and values [B, K, S, U]: what a cache of this layer holds."""
        k_BKSH = self._turned(self.k(states_BSD), self.k_norm, sight)
        v_BKSU = self._clamped(self._split(self.v(states_BSD), self.d_value))
        if self.part.value_scale is not None:
            v_BKSU = v_BKSU * self.part.value_scale
        if isinstance(self.part.position, Rope) and self.part.position.values:
            v_BKSU = self._rotated(v_BKSU, sight)
        return tap("k", k_BKSH, sight), tap("v", v_BKSU, sight)

    def output(self, y_BNTU: Tensor, x_BTD: Tensor) -> Tensor:
        """What the layer adds [B, T, D], of its heads' values: gated by what it read, normed, projected."""
        y_BNTU = tap("values", y_BNTU)
        if self.gate is not None:
            y_BNTU = y_BNTU * tap("gate", self._gate(self.gate(x_BTD)))
        y_BTZ = y_BNTU.transpose(1, 2).flatten(2)
        y_BTD: Tensor = self.out(y_BTZ if self.out_norm is None else self.out_norm(y_BTZ))
        return y_BTD

    def of_source(self, states_BSD: Tensor, sight: Sight) -> tuple[Tensor, Tensor]:
        """`keys_values` of a source, for a cache that is filled before any forward pass: an entry of its own."""
        return self.keys_values(states_BSD, sight)

    def _qk_norm(self, n_heads: int) -> nn.Module | None:
        if self.part.qk_norm is None:
            return None
        if self.part.qk_norm.over == "each":
            return HeadNorm(self.part.qk_norm.norm, n_heads, self.d_head)
        over = {"head": self.d_head, "full": n_heads * self.d_head}
        return norm(self.part.qk_norm.norm, over[self.part.qk_norm.over])

    def _turned(self, x_BTZ: Tensor, normed: nn.Module | None, sight: Sight) -> Tensor:
        """Queries or keys [B, heads, T, H] of their projection: normed, clamped and turned, or normed after that."""
        x_BNTH = self._normed(x_BTZ, normed) if self._norms("before") else self._split(x_BTZ, self.d_head)
        x_BNTH = self._clamped(x_BNTH)
        if isinstance(self.part.position, Rope):
            x_BNTH = self._rotated(x_BNTH, sight)
        if normed is not None and self._norms("after"):
            x_BNTH = normed(x_BNTH)
        return x_BNTH

    def _norms(self, when: str) -> bool:
        return self.part.qk_norm is not None and self.part.qk_norm.when == when

    def _normed(self, x_BTZ: Tensor, normed: nn.Module | None) -> Tensor:
        """[B, T, heads · H] to [B, heads, T, H], normed over all heads before or over each after."""
        assert self.part.qk_norm is not None and normed is not None, "there is a norm"  # noqa: PT018
        if self.part.qk_norm.over == "full":
            return self._split(normed(x_BTZ), self.d_head)
        x_BNTH: Tensor = normed(self._split(x_BTZ, self.d_head))
        return x_BNTH

    def _rotated(self, x_BNTH: Tensor, sight: Sight) -> Tensor:
        position = self.part.position
        assert isinstance(position, Rope), "asked for only where there is one"
        return rotate(x_BNTH, sight.turns(position, x_BNTH.dtype), position.interleaved)

    def _clamped(self, x: Tensor) -> Tensor:
        return x if self.part.clip is None else x.clamp(-self.part.clip, self.part.clip)

    def _gate(self, x_BTZ: Tensor) -> Tensor:
        """Gates [B, N, T, U], or [B, N, T, 1] of whole heads."""
        assert self.part.gate is not None, "asked for only where there is one"
        x_BNTU = self._split(x_BTZ, x_BTZ.shape[-1] // self.n_heads)
        if self.gate_bias is not None:
            x_BNTU = x_BNTU + self.gate_bias.view(-1, 1, 1)
        return _GATES[self.part.gate.activation](x_BNTU)

    def _own_bias(self, sight: Sight, n_heads: int) -> Tensor:
        assert self.relative_bias is not None, "asked for only where there is one"
        return sight.bias_of(self.relative_bias)

    @staticmethod
    def _split(x_BTZ: Tensor, width: int) -> Tensor:
        """[B, T, heads · width] to [B, heads, T, width]."""
        return x_BTZ.view(*x_BTZ.shape[:-1], -1, width).transpose(1, 2)


class QueryAttention(Attention):
    """The same without keys and values of its own: it reads those that an earlier layer has made."""

    makes_keys = False


def _relative(sight: Sight, n_heads: int) -> Tensor:
    return sight.relative()


def own_cache(part: spec.Attention, room: Room) -> Tokens:
    """Room for keys [B, K, S, H] and values [B, K, S, U]: of all tokens, or of as many as the window shows."""
    return Tokens(*_keys_values(part, room, min(room.capacity, part.window or room.capacity)))


def source_cache(part: spec.Attention, room: Room) -> Source:
    """Room for the keys [B, K, S, H] and values [B, K, S, U] of a source."""
    return Source(*_keys_values(part, room, room.source))


def _keys_values(part: spec.Attention, room: Room, n_tokens: int) -> tuple[Store, Store]:
    assert part.n_kv_heads is not None and part.d_head is not None, "the spec is resolved"  # noqa: PT018
    widths = part.d_head, part.d_head if part.d_value is None else part.d_value
    keys, values = (room.zeros(part.n_kv_heads, n_tokens, width) for width in widths)
    return keys, values
