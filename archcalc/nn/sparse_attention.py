"""Attention of an encoder whose queries read some of the keys.

Axes: B batch, T tokens, S keys (tokens, then summaries), D model, N heads, H head width, g global tokens, G summaries.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from archcalc.nn.attention_context import AttentionContext
from archcalc.nn.global_rows import GlobalRows
from archcalc.nn.global_tokens import read_by_all
from archcalc.nn.linear import Linear
from archcalc.nn.norm import norm
from archcalc.nn.softmax import Bias, SoftmaxConfig, attend
from archcalc.nn.taps.points import tap
from archcalc.nn.text_places import TextPlaces
from archcalc.spec import Spec
from archcalc.spec import sparse as spec
from archcalc.spec.execution import Execution


class SparseAttention(nn.Module):
    """Multi-head attention with a pattern: windows with global tokens, block summaries, or blocks (Longformer …)."""

    def __init__(self, part: spec.SparseAttention, model: Spec) -> None:
        super().__init__()
        assert part.d_head is not None, "the spec is resolved"
        self.part, self.execution, self.d_head = part, Execution(), part.d_head
        self.softmax = SoftmaxConfig(
            n_heads=part.n_heads,
            scale=part.score_scale,
            dropout=model.dropout.attention,
            bias=_BIASES[type(part.pattern)](part.pattern),
            is_eager=True,
        )
        width, biases = part.n_heads * part.d_head, {"q": part.q_bias, "k": part.k_bias, "v": part.v_bias}
        prefixes = ("", "global_") if isinstance(part.pattern, spec.GlobalWindow) else ("",)
        for prefix in prefixes:
            for name, bias in biases.items():
                self.add_module(f"{prefix}{name}", Linear(model.d_model, width, bias=bias))
        self.out = Linear(width, model.d_model, bias=part.out_bias)
        summaries = part.summaries
        self.summary_norm = norm(summaries.norm, model.d_model) if summaries and summaries.norm else None

    def forward(self, x_BTD: Tensor, context: AttentionContext) -> Tensor:
        """Map states [B, T, D] to states [B, T, D]."""
        pattern = self.part.pattern
        states_BGD = self.summaries(x_BTD, self.part.summaries, context) if self.part.summaries else None
        context = context.with_pattern(lambda places: self.unread(places, context.n_global), pattern.mask_key)
        q_BNTH = tap("q", self.heads("q", x_BTD))
        k_BNSH, v_BNSH = (tap(name, self.followed(name, x_BTD, states_BGD), context) for name in "kv")
        rows = self.global_rows(x_BTD, context) if self.part.n_global else None
        y_BNTH = attend(
            self.softmax, q_BNTH, k_BNSH, v_BNSH, context, self.execution, rows=rows, training=self.training
        )
        y_BTD: Tensor = self.out(tap("values", y_BNTH).transpose(1, 2).flatten(2))
        return y_BTD

    def unread(self, places: TextPlaces, n_global: int) -> Tensor:
        """Return where a query does not read a key; `n_global` global tokens of the stack follow those of the text."""
        pattern = self.part.pattern
        return read_by_all(_UNREAD[type(pattern)](pattern, places), n_global, places)

    def dots(self, x_BTD: Tensor, context: AttentionContext) -> Tensor:
        """Return the products of queries and keys [B, N, T, S] before scale, bias and mask."""
        states_BGD = self.summaries(x_BTD, self.part.summaries, context) if self.part.summaries else None
        dots_BNTS = self.heads("q", x_BTD) @ self.followed("k", x_BTD, states_BGD).transpose(-1, -2)
        return self.global_rows(x_BTD, context).scores(dots_BNTS, 1.0) if self.part.n_global else dots_BNTS

    def heads(self, name: str, x_BTD: Tensor) -> Tensor:
        """Return queries, keys or values [B, N, T, H] of states."""
        y_BTZ: Tensor = self.get_submodule(name)(x_BTD)
        return y_BTZ.view(*y_BTZ.shape[:-1], self.part.n_heads, self.d_head).transpose(1, 2)

    def followed(self, name: str, x_BTD: Tensor, summaries_BGD: Tensor | None) -> Tensor:
        """Return the keys or values of the tokens, then those of the summaries."""
        x_BNTH = self.heads(name, x_BTD)
        return x_BNTH if summaries_BGD is None else torch.cat((x_BNTH, self.heads(name, summaries_BGD)), 2)

    def summaries(self, x_BTD: Tensor, part: spec.BlockSummaries, context: AttentionContext) -> Tensor:
        """Return the normalized sum of the states of each block [B, G, D]."""
        key, places = ("blocks", part.n_block, x_BTD.dtype), context.places
        members_GT = context.memo(key, lambda: places.block_members(part.n_block, x_BTD.dtype))
        sums_BGD: Tensor = members_GT @ x_BTD
        return sums_BGD if self.summary_norm is None else self.summary_norm(sums_BGD)

    def global_rows(self, x_BTD: Tensor, context: AttentionContext) -> GlobalRows:
        """Return the queries of the first tokens of each text, and their keys and values."""
        n, padding_BT = min(self.part.n_global, x_BTD.shape[1]), context.padding
        if padding_BT is None:
            indices_Bg, first_BgD = None, x_BTD[:, :n].clone(memory_format=torch.contiguous_format)
        else:
            start_B1 = padding_BT.int().argmin(1, keepdim=True)
            indices_Bg = (start_B1 + torch.arange(n, device=x_BTD.device)).clamp(max=x_BTD.shape[1] - 1)
            first_BgD = x_BTD.gather(1, indices_Bg.unsqueeze(-1).expand(-1, -1, x_BTD.shape[2]))
        q_BNgH = tap("global_q", self.heads("global_q", first_BgD))
        k_BNTH, v_BNTH = (tap(name, self.heads(name, x_BTD)) for name in ("global_k", "global_v"))
        return GlobalRows(q_BNgH, k_BNTH, v_BNTH, indices_Bg)


def _summary_biases(pattern: spec.BlockSummaries) -> Bias | None:
    """Return the biases of tokens, then those of summaries."""
    if pattern.position is None:
        return None

    def bias(context: AttentionContext, n_heads: int) -> Tensor:
        tokens_NTS, summaries_NTG = context.stack_bias(), context.stack_summary_bias()
        return torch.cat((tokens_NTS.expand(*summaries_NTG.shape[:-1], -1), summaries_NTG), -1)

    return bias


def _block_repeats(pattern: spec.RandomBlocks) -> Bias | None:
    """Return the logarithm of how often each query reads each key."""
    return lambda context, n_heads: context.memo(
        ("repeats", pattern.mask_key), lambda: _log_repeats(pattern, context.places)
    ).expand(*[-1] * (context.padding is not None), n_heads, -1, -1)


def _log_repeats(pattern: spec.RandomBlocks, places: TextPlaces) -> Tensor:
    """Return ln(1 + n_random) where an inner block of a long text reads the first: [1, T, T], padded [B, 1, T, T]."""
    blocks, is_outer = _outer_blocks(pattern, places)
    repeated = ~is_outer.unsqueeze(-1) & (blocks == 0).unsqueeze(-2) & _is_long(pattern, places).unsqueeze(-1)
    return (repeated * math.log(1 + pattern.n_random)).unsqueeze(-3)


def _is_long(pattern: spec.RandomBlocks, places: TextPlaces) -> Tensor:
    """Return whether each text has more blocks than are read, [1] or [B, 1]."""
    return places.lengths > (5 + 2 * pattern.n_random) * pattern.n_block


def _outer_blocks(pattern: spec.RandomBlocks, places: TextPlaces) -> tuple[Tensor, Tensor]:
    """Return the block of each token, and whether it is the first or the last."""
    blocks = places.places // pattern.n_block
    last = (places.lengths - 1) // pattern.n_block
    return blocks, (blocks == 0) | (blocks == last)


def _outside_window(pattern: spec.GlobalWindow, places: TextPlaces) -> Tensor:
    """Hide what is not in the window, but nothing from global tokens, and no global tokens."""
    is_local = places.places >= pattern.n_global
    far = places.distances().abs() >= pattern.window
    return places.unread(far & is_local.unsqueeze(-1) & is_local.unsqueeze(-2))


def _outside_summaries(pattern: spec.BlockSummaries, places: TextPlaces) -> Tensor:
    """Hide what is not in the window, and no summaries of the text."""
    hidden = places.unread(places.distances().abs() >= pattern.window)
    missing = places.block_numbers(pattern.n_block) >= places.whole_blocks(pattern.n_block)
    if places.hidden is not None:
        missing = missing[:, None, None]
    return torch.cat((hidden, missing.expand(*hidden.shape[:-1], -1)), -1)


def _outside_blocks(pattern: spec.RandomBlocks, places: TextPlaces) -> Tensor:
    """Hide the blocks that are neither neighbors nor the first or the last."""
    blocks, is_outer = _outer_blocks(pattern, places)
    far = (blocks.unsqueeze(-1) - blocks.unsqueeze(-2)).abs() > 1
    is_long = _is_long(pattern, places).unsqueeze(-1)
    return places.unread(far & ~is_outer.unsqueeze(-1) & ~is_outer.unsqueeze(-2) & is_long)


def _other_blocks(pattern: spec.LocalBlocks, places: TextPlaces) -> Tensor:
    """Hide the tokens of other blocks."""
    shift = pattern.n_block // 2 if pattern.staggered else 0
    blocks = (places.places + shift) // pattern.n_block
    return places.unread(blocks.unsqueeze(-1) != blocks.unsqueeze(-2))


# By the kind of a pattern: where a query does not read a key, [T, S] or [B, 1, T, S], and the bias of the scores.
_UNREAD: dict[type, Callable[[Any, TextPlaces], Tensor]] = {
    spec.GlobalWindow: _outside_window,
    spec.BlockSummaries: _outside_summaries,
    spec.RandomBlocks: _outside_blocks,
    spec.LocalBlocks: _other_blocks,
}
_BIASES: dict[type, Callable[[Any], Bias | None]] = {
    spec.GlobalWindow: lambda pattern: None,
    spec.BlockSummaries: _summary_biases,
    spec.RandomBlocks: _block_repeats,
    spec.LocalBlocks: lambda pattern: None,
}
