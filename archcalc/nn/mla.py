"""Multi-head latent attention.

Axes: B batch, T query tokens, S key tokens, D model, N heads, C latent of keys and values, H width without position, R
width with position, U value width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from archcalc.nn.arm_cache import CacheConfig, IndexedCache, TokenCache
from archcalc.nn.attention_context import AttentionContext
from archcalc.nn.indexer import Indexer
from archcalc.nn.linear import Linear
from archcalc.nn.norm import norm
from archcalc.nn.output_gate import gate_weights, gates
from archcalc.nn.rope import rotate, softmax_scale
from archcalc.nn.softmax import SoftmaxConfig, attend
from archcalc.nn.taps.points import tap
from archcalc.spec import Spec
from archcalc.spec import attention as spec
from archcalc.spec.execution import Execution


class LatentAttention(nn.Module):
    """Keys and values from one latent, positions in separate dimensions (DeepSeek-V2, Liu et al. 2024, section 2.1)."""

    def __init__(self, part: spec.LatentAttention, model: Spec) -> None:
        super().__init__()
        self.part, self.execution, self.d_model = part, Execution(), model.d_model
        self.softmax = SoftmaxConfig(
            n_heads=part.n_heads,
            scale=latent_scale(part),
            dropout=model.dropout.attention,
            window=part.window,
            has_value_width=True,
        )
        d_query = part.n_heads * (part.d_nope + part.d_rope)
        if part.q_rank is None:
            self.q = Linear(model.d_model, d_query, bias=False)
        else:
            self.q_down = Linear(model.d_model, part.q_rank, bias=part.down_bias)
            self.q_down_norm = norm(part.norm, part.q_rank)
            self.q_up = Linear(2 * part.q_rank if part.raw_latent else part.q_rank, d_query, bias=False)
        self.kv_down = Linear(model.d_model, part.kv_rank + part.d_rope, bias=part.down_bias)
        self.kv_down_norm = norm(part.norm, part.kv_rank)
        self.key_norm = norm(part.key_norm, part.d_rope) if part.key_norm else None
        self.kv_up = Linear(part.kv_rank, part.n_heads * (part.d_nope + part.d_v), bias=False)
        d_gate = 2 * part.q_rank if part.raw_latent and part.q_rank else model.d_model
        self.gate, self.gate_bias = gate_weights(part.gate, d_gate, part.n_heads, part.d_v)
        self.out = Linear(part.n_heads * part.d_v, model.d_model, bias=part.out_bias)
        self.sinks = nn.Parameter(torch.empty(part.n_heads)) if part.sinks else None
        self.indexer = Indexer(part, part.indexer, model) if isinstance(part.indexer, spec.Indexer) else None

    def forward(self, x_BTD: Tensor, context: AttentionContext) -> Tensor:
        """Map states [B, T, D] to states [B, T, D]."""
        latent_BSC, k_B1SR = context.keys_values(lambda: self.latent(x_BTD, context))
        of_all_keys, context = context, context.last_keys(latent_BSC.shape[1])
        k_BNSQ, v_BNSU = self.keys_values(latent_BSC, k_B1SR)
        k_BNSQ, v_BNSU = tap("k", k_BNSQ, context), tap("v", v_BNSU, context)
        q_latent, q_input = self.query_inputs(x_BTD)
        q_BNTQ = self.queries(q_input, of_all_keys)  # padding before the window counts in positions
        if self.indexer is not None:
            context = context.with_selection(self.indexer(x_BTD, q_latent, context))
        y_BNTU = attend(
            self.softmax,
            q_BNTQ,
            k_BNSQ,
            v_BNSU,
            context,
            self.execution,
            sinks_N=self.sinks,
            training=self.training,
        )
        y_BNTU = tap("values", y_BNTU)
        if self.part.gate is not None and self.gate is not None:
            projected = self.gate(q_input if self.part.raw_latent else x_BTD)
            y_BNTU = y_BNTU * tap("gate", gates(self.part.gate, projected, self.part.n_heads, self.gate_bias))
        y_BTD: Tensor = self.out(y_BNTU.transpose(1, 2).flatten(2))
        return y_BTD

    def query_inputs(self, x_BTD: Tensor) -> tuple[Tensor, Tensor]:
        """Return the normed latent of queries, and what these are projected from; without a latent the states."""
        if self.part.q_rank is None:
            return x_BTD, x_BTD
        down = self.q_down(x_BTD)
        latent = self._scaled(self.q_down_norm(down))
        return latent, torch.cat((latent, down), -1) if self.part.raw_latent else latent

    def queries(self, q_input: Tensor, context: AttentionContext) -> Tensor:
        """Return queries [B, N, T, H + R] of their input, their last R rotated."""
        part = self.part
        q = self.q(q_input) if part.q_rank is None else self.q_up(q_input)
        q_BNTQ = q.unflatten(-1, (part.n_heads, -1)).transpose(1, 2)
        q_BNTH, q_BNTR = q_BNTQ.split((part.d_nope, part.d_rope), dim=-1)
        return tap("q", torch.cat((q_BNTH, self._rotate(q_BNTR, context)), -1))

    def latent(self, x_BSD: Tensor, context: AttentionContext) -> tuple[Tensor, Tensor]:
        """Return the latent [B, S, C] and the rotated key of all heads [B, 1, S, R], as a cache stores them."""
        part = self.part
        latent_BSC, k_BSR = self.kv_down(x_BSD).split((part.kv_rank, part.d_rope), dim=-1)
        k_BSR = k_BSR if self.key_norm is None else self.key_norm(k_BSR)
        rotated_B1SR = self._rotate(k_BSR.unsqueeze(1), context)
        return tap("latent", self._scaled(self.kv_down_norm(latent_BSC))), tap("k_shared", rotated_B1SR)

    def _scaled(self, latent: Tensor) -> Tensor:
        """Return a latent [..., rank], times √(D / rank) if the part says so."""
        return latent * math.sqrt(self.d_model / latent.shape[-1]) if self.part.scale_latents else latent

    def _rotate(self, x: Tensor, context: AttentionContext) -> Tensor:
        """Return the part with position, rotated if there is one."""
        rope = self.part.position
        return x if rope is None else rotate(x, context.rotary_tables(rope, x.dtype), rope.interleaved)

    def keys_values(self, latent_BSC: Tensor, k_B1SR: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys [B, N, S, H + R] and values [B, N, S, U] of the latent."""
        part = self.part
        kv_BNSZ = self.kv_up(latent_BSC).unflatten(-1, (part.n_heads, -1)).transpose(1, 2)
        k_BNSH, v_BNSU = kv_BNSZ.split((part.d_nope, part.d_v), dim=-1)
        # Copied: as a view, values would keep the memory of the keys alive for the backward pass.
        v_BNSU = v_BNSU.clone(memory_format=torch.contiguous_format)
        return torch.cat((k_BNSH, k_B1SR.expand(-1, part.n_heads, -1, -1)), -1), v_BNSU


def token_cache(part: spec.LatentAttention, config: CacheConfig) -> TokenCache:
    """Return a cache of latents [B, S, C] and shared keys [B, 1, S, R]; heads are recomputed at each step.

    It keeps all tokens, or those of one window. With an indexer it also keeps that one's keys [B, S, d_index].
    """
    n_tokens = min(config.capacity, part.window or config.capacity)
    stores = config.empty_store(n_tokens, part.kv_rank), config.empty_store(1, n_tokens, part.d_rope)
    if not isinstance(part.indexer, spec.Indexer):
        return TokenCache(*stores)
    return IndexedCache(*stores, config.empty_store(config.capacity, part.indexer.d_index))


def latent_scale(part: spec.LatentAttention) -> float:
    """Return the factor of the scores: the stated scale, or 1/√(H + R) times YaRN's factor."""
    if part.scale is not None:
        return part.scale
    factor = 1.0 if part.position is None else softmax_scale(part.position)
    return factor / math.sqrt(part.d_nope + part.d_rope)
