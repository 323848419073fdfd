"""Grouped-query attention, to oneself or to a source.

Axes: B batch, T query tokens, S key tokens, D model, N heads, K kv heads, H head width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from archcalc.nn.held import Room, Source, Tokens
from archcalc.nn.linear import Linear
from archcalc.nn.norm import norm
from archcalc.nn.quantised import Store
from archcalc.nn.rope import rotate
from archcalc.nn.sight import Penalty, Sight
from archcalc.nn.softmax import Bias, Softmax, attend
from archcalc.nn.taps.points import tap
from archcalc.spec import Spec
from archcalc.spec import attention as spec
from archcalc.spec.execution import Execution
from archcalc.spec.position import Alibi, RelativeBias, Rope

# What each kind of position adds to the scores, [N, T, S], if these are scaled so.
_BIASES: dict[type, Callable[[Any, float], Bias | None]] = {
    type(None): lambda position, scale: None,
    Rope: lambda position, scale: None,
    Alibi: lambda position, scale: Penalty(scale if position.scaled else 1.0),
    RelativeBias: lambda position, scale: _relative,
}


class Attention(nn.Module):
    """Multi-head, grouped-query or multi-query attention (Vaswani et al. 2017; Ainslie et al. 2023)."""

    sinks: nn.Parameter | None

    def __init__(self, part: spec.Attention, model: Spec) -> None:
        super().__init__()
        assert part.n_kv_heads is not None and part.d_head is not None, "the spec is resolved"  # noqa: PT018
        self.part, self.how = part, Execution()
        self.n_heads, self.n_kv_heads, self.d_head = part.n_heads, part.n_kv_heads, part.d_head
        scale = part.d_head**-0.5 if part.scale is None else part.scale
        self.softmax = Softmax(
            n_heads=part.n_heads,
            scale=scale,
            dropout=model.dropout.attention,
            window=part.window,
            softcap=part.softcap,
            bias=_BIASES[type(part.position)](part.position, scale),
            learned=isinstance(part.position, RelativeBias),
        )
        self.q = Linear(model.d_model, self.n_heads * self.d_head, bias=part.q_bias)
        self.k = Linear(model.d_model, self.n_kv_heads * self.d_head, bias=part.k_bias)
        self.v = Linear(model.d_model, self.n_kv_heads * self.d_head, bias=part.v_bias)
        self.out = Linear(self.n_heads * self.d_head, model.d_model, bias=part.out_bias)
        self.q_norm = self._qk_norm(self.n_heads)
        self.k_norm = self._qk_norm(self.n_kv_heads)
        self.sinks = nn.Parameter(torch.empty(self.n_heads)) if part.sinks else None

    def forward(self, x_BTD: Tensor, sight: Sight) -> Tensor:
        """States [B, T, D] to states [B, T, D], by what `sight` lets them see."""
        q_BNTH = self.queries(x_BTD, sight)
        # As a view, of which keys' and values' gradients are summed before those of other layers: so are FSDP's.
        states_BSD = x_BTD if sight.states is None else sight.states.view_as(sight.states)
        k_BKSH, v_BKSH = sight.joined(lambda: self.keys_values(states_BSD, sight))
        sight = sight.of_last(k_BKSH.shape[2])
        y_BNTH = attend(
            self.softmax, q_BNTH, k_BKSH, v_BKSH, sight, self.how, sinks_N=self.sinks, training=self.training
        )
        y_BTD: Tensor = self.out(tap("values", y_BNTH).transpose(1, 2).flatten(2))
        return y_BTD

    def queries(self, x_BTD: Tensor, sight: Sight) -> Tensor:
        """Queries [B, N, T, H], normed and turned."""
        q_BNTH = self._split(self.q(x_BTD), self.q_norm)
        position = self.part.position
        if isinstance(position, Rope):
            q_BNTH = rotate(q_BNTH, sight.turns(position, q_BNTH.dtype), position.interleaved)
        return tap("q", q_BNTH)

    def keys_values(self, states_BSD: Tensor, sight: Sight) -> tuple[Tensor, Tensor]:
        """Keys and values [B, K, S, H], keys normed and turned: what a cache of this layer holds."""
        k_BKSH, v_BKSH = self._split(self.k(states_BSD), self.k_norm), self._split(self.v(states_BSD), None)
        position = self.part.position
        if isinstance(position, Rope):
            k_BKSH = rotate(k_BKSH, sight.turns(position, k_BKSH.dtype), position.interleaved)
        return tap("k", k_BKSH, sight), tap("v", v_BKSH, sight)

    def of_source(self, states_BSD: Tensor, sight: Sight) -> tuple[Tensor, Tensor]:
        """`keys_values` of a source, for a cache that is filled before any forward pass: an entry of its own."""
        return self.keys_values(states_BSD, sight)

    def _qk_norm(self, n_heads: int) -> nn.Module | None:
        if self.part.qk_norm is None:
            return None
        over = {"head": self.d_head, "full": n_heads * self.d_head}
        return norm(self.part.qk_norm.norm, over[self.part.qk_norm.over])

    def _split(self, x_BTZ: Tensor, normed: nn.Module | None) -> Tensor:
        """[B, T, heads · H] to [B, heads, T, H], normed over all heads before or over each after."""
        if normed is None:
            return x_BTZ.view(*x_BTZ.shape[:-1], -1, self.d_head).transpose(1, 2)
        assert self.part.qk_norm is not None, "there is a norm"
        if self.part.qk_norm.over == "full":
            return self._split(normed(x_BTZ), None)
        x_BNTH: Tensor = normed(self._split(x_BTZ, None))
        return x_BNTH


def _relative(sight: Sight, n_heads: int) -> Tensor:
    return sight.relative()


def own_cache(part: spec.Attention, room: Room) -> Tokens:
    """Room for keys and values [B, K, S, H] each: of all tokens, or of as many as the window shows."""
    return Tokens(*_keys_values(part, room, min(room.capacity, part.window or room.capacity)))


def source_cache(part: spec.Attention, room: Room) -> Source:
    """Room for the keys and values [B, K, S, H] each of a source."""
    return Source(*_keys_values(part, room, room.source))


def _keys_values(part: spec.Attention, room: Room, n_tokens: int) -> tuple[Store, Store]:
    assert part.n_kv_heads is not None and part.d_head is not None, "the spec is resolved"  # noqa: PT018
    shape = (part.n_kv_heads, n_tokens, part.d_head)
    return room.zeros(*shape), room.zeros(*shape)
