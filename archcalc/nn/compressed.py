"""Attention to a window of tokens and to entries that stand for several earlier tokens each.

Axes: B batch, T query tokens, S key tokens, G entries, P tokens of an entry, D model, N heads, H head width, Q latent
of queries, X heads of an indexer, J their width, Z what a token gives to entries.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from msgspec import structs
from torch import Tensor, nn

from archcalc.errors import InputError
from archcalc.nn import rope
from archcalc.nn.attention_context import AttentionContext
from archcalc.nn.compressed_cache import CompressedCache, PoolCache
from archcalc.nn.linear import Linear
from archcalc.nn.norm import norm
from archcalc.nn.rope import rotate
from archcalc.nn.softmax import SoftmaxConfig, attend
from archcalc.nn.taps.points import tap
from archcalc.nn.upcast import upcast, upcast_dtype
from archcalc.spec import Spec
from archcalc.spec import compressed as spec
from archcalc.spec.execution import Execution
from archcalc.words import msg

Tables = tuple[Tensor, Tensor]


class CompressedAttention(nn.Module):
    """Attention to the last tokens and to compressed earlier ones (DeepSeek-V4, section 2.3)."""

    def __init__(self, part: spec.CompressedAttention, model: Spec) -> None:
        super().__init__()
        self.part, self.execution = part, Execution()
        self.softmax = SoftmaxConfig(
            n_heads=part.n_heads, scale=part.score_scale, dropout=model.dropout.attention, window=part.window
        )
        self.q_down = Linear(model.d_model, part.q_rank, bias=False)
        self.q_down_norm = norm(part.norm, part.q_rank)
        self.q_up = Linear(part.q_rank, part.n_heads * part.d_head, bias=False)
        self.q_norm = norm(structs.replace(part.norm, weight=False, unit_offset=False), part.d_head)
        self.kv = Linear(model.d_model, part.d_head, bias=False)
        self.kv_norm = norm(part.norm, part.d_head)
        self.sinks = nn.Parameter(torch.empty(part.n_heads))
        self.pool = self.indexer = None
        if part.compression is not None:
            self.pool = Pool(part, part.compression, part.d_head, model)
            if part.compression.indexer is not None:
                self.indexer = EntryIndexer(part, part.compression, part.compression.indexer, model)
        self.out_down = OutputGroups(part.n_out_groups, part.n_heads * part.d_head // part.n_out_groups, part.out_rank)
        self.out = Linear(part.n_out_groups * part.out_rank, model.d_model, bias=False)

    def forward(self, x_BTD: Tensor, context: AttentionContext) -> Tensor:
        """Map states [B, T, D] to states [B, T, D]. Raises InputError for padding."""
        if context.padding is not None:
            problem = msg("compressed attention has no place for padding")
            raise InputError(problem, where="padding", allowed=msg("texts of one length"))
        tables = context.rotary_tables(self.part.position, x_BTD.dtype)
        latent_BTQ = self.q_down_norm(self.q_down(x_BTD))
        q_BNTH = self.q_norm(self.q_up(latent_BTQ).unflatten(-1, (self.part.n_heads, -1)).transpose(1, 2))
        q_BNTH = tap("q", rotate_last(q_BNTH, tables, self.part))
        k_B1TH = rotate_last(self.kv_norm(self.kv(x_BTD)).unsqueeze(1), tables, self.part)
        cache = context.cache if isinstance(context.cache, CompressedCache) else None
        k_B1SH = k_B1TH if cache is None else cache.keys(k_B1TH, context.past)
        own = context.last_keys(k_B1SH.shape[2])
        if self.pool is not None:
            entries_BGH = tap("entries", self.pool(x_BTD, context, cache.pools[0] if cache else None))
            k_B1SH = torch.cat((k_B1SH, entries_BGH.unsqueeze(1)), 2)
            own = self._with_entries(x_BTD, latent_BTQ, own, context, entries_BGH.shape[1])
        k_B1SH = tap("k", k_B1SH, own)
        y_BNTH = attend(
            self.softmax, q_BNTH, k_B1SH, k_B1SH, own, self.execution, sinks_N=self.sinks, training=self.training
        )
        y_BNTH = rotate_last(tap("values", y_BNTH), tables, self.part, back=True)
        y_BTD: Tensor = self.out(self.out_down(y_BNTH.transpose(1, 2).flatten(2)))
        return y_BTD

    def _with_entries(
        self, x_BTD: Tensor, latent_BTQ: Tensor, own: AttentionContext, context: AttentionContext, n_entries: int
    ) -> AttentionContext:
        """Return the context of the last tokens and the entries: those of later tokens, or not selected, are hidden."""
        compression, n_keys = self.part.compression, len(own.key_positions)
        assert compression is not None, "called only where there is one"
        hidden_TG = hidden_entries(context, compression.n_pool, n_entries)
        if self.indexer is None:
            key = ("compressed", self.part.window, compression.n_pool, n_keys)
            mask = context.memo(key, lambda: torch.cat((self._hidden_tokens(own), hidden_TG), -1))
        else:
            cache = context.cache.pools[1] if isinstance(context.cache, CompressedCache) else None
            unselected_B1TG = self.indexer(x_BTD, latent_BTQ, context, hidden_TG, cache)
            tokens_B1TS = self._hidden_tokens(own).expand(*unselected_B1TG.shape[:3], -1)
            mask = torch.cat((tokens_B1TS, unselected_B1TG), -1)
        return replace(own, unselected=mask, n_summaries=n_entries)

    def _hidden_tokens(self, own: AttentionContext) -> Tensor:
        """Return True [T, S] where a token is beyond the window, or later."""
        hidden_TS = own.hidden_mask(self.part.window)
        assert hidden_TS is not None, "the window hides some"
        return hidden_TS


class Pool(nn.Module):
    """Entries of several tokens each: a softmax over their gates weighs their values, channel by channel."""

    def __init__(self, part: spec.CompressedAttention, own: spec.Compression, width: int, model: Spec) -> None:
        super().__init__()
        self.part, self.own, self.width = part, own, width
        all_series = 2 * width if own.overlap else width
        self.kv = Linear(model.d_model, all_series, bias=False)
        self.gate = Linear(model.d_model, all_series, bias=False)
        self.positions = nn.Parameter(torch.empty(own.n_pool, all_series))
        self.norm = norm(part.norm, width)

    def forward(self, x_BTD: Tensor, context: AttentionContext, cache: PoolCache | None) -> Tensor:
        """Return the entries [B, G, H] of all tokens so far."""
        n_pool, past = self.own.n_pool, 0 if cache is None else context.past
        values, gates = self.kv(x_BTD), self.gate(x_BTD)
        if cache is not None:
            values, gates = cache.with_open(values, gates, past)
        n_new = values.shape[1] // n_pool
        values_BGPZ = values[:, : n_new * n_pool].unflatten(1, (n_new, n_pool))
        gates_BGPZ = gates[:, : n_new * n_pool].unflatten(1, (n_new, n_pool)) + self.positions
        if self.own.overlap:
            values_BGPZ, gates_BGPZ = self._overlapping(values_BGPZ, gates_BGPZ, past, cache)
        weights_BGPH = gates_BGPZ.softmax(2, dtype=upcast_dtype(x_BTD.dtype)).to(x_BTD.dtype)
        pooled_BGH = self.norm((values_BGPZ * weights_BGPH).sum(2))
        new_BGH = rotate_last(pooled_BGH, self._tables(context, past // n_pool, n_new, x_BTD.dtype), self.part)
        return new_BGH if cache is None else cache.extend(new_BGH, past)

    def _overlapping(self, values: Tensor, gates: Tensor, past: int, cache: PoolCache | None) -> tuple[Tensor, Tensor]:
        """Return the first numbers of the tokens of the entry before, then the second of its own [B, G, 2·P, H].

        The first entry has none before it: its gates are −∞.
        """
        firsts, width = (values[..., : self.width], gates[..., : self.width]), self.width
        before = None if cache is None else cache.replace_last(*firsts, past)
        if before is None:
            shape = len(values), self.own.n_pool, width
            before = values.new_zeros(shape), gates.new_full(shape, -torch.inf)
        shifted = (torch.cat((old.unsqueeze(1), new), 1)[:, :-1] for old, new in zip(before, firsts, strict=True))
        seconds = values[..., width:], gates[..., width:]
        joined_values, joined_gates = (torch.cat(pair, 2) for pair in zip(shifted, seconds, strict=True))
        return joined_values, joined_gates

    def _tables(self, context: AttentionContext, first: int, n: int, dtype: torch.dtype) -> Tables:
        """Return (cosines, sines) at the first tokens of entries, which all layers share."""
        part, n_pool, device = self.part.position, self.own.n_pool, context.positions.device

        def compute() -> Tables:
            positions_G = torch.arange(first, first + n, device=device) * n_pool
            return _as_dtype(rope.rotary_tables(part, positions_G), dtype)

        return context.memo(("entries", part, n_pool, dtype), compute)


class EntryIndexer(nn.Module):
    """Selects entries by Σ w·relu(q·k) over its heads; no gradient passes through it."""

    def __init__(
        self, part: spec.CompressedAttention, compression: spec.Compression, own: spec.EntryIndexer, model: Spec
    ) -> None:
        super().__init__()
        self.part, self.own = part, own
        self.q = Linear(part.q_rank, own.n_index_heads * own.d_index, bias=False)
        self.head_weights = Linear(model.d_model, own.n_index_heads, bias=False)
        self.pool = Pool(part, compression, own.d_index, model)

    @torch.no_grad()
    def forward(
        self,
        x_BTD: Tensor,
        latent_BTQ: Tensor,
        context: AttentionContext,
        hidden_TG: Tensor,
        cache: PoolCache | None,
    ) -> Tensor:
        """Return True [B, 1, T, G] where an entry is hidden from a query or not selected for it."""
        own, tables = self.own, context.rotary_tables(self.part.position, x_BTD.dtype)
        q_BXTJ = self.q(latent_BTQ).unflatten(-1, (own.n_index_heads, -1)).transpose(1, 2)
        q_BXTJ = tap("index_q", rotate_last(q_BXTJ, tables, self.part))
        k_BGJ = tap("index_entries", self.pool(x_BTD, context, cache))
        products_BXTG = upcast(q_BXTJ) @ upcast(k_BGJ).unsqueeze(1).transpose(-1, -2)
        weights_BXT1 = upcast(self.head_weights(x_BTD)).transpose(1, 2).unsqueeze(-1) * own.n_index_heads**-0.5
        scores_BTG = (products_BXTG.relu() * own.d_index**-0.5 * weights_BXT1).sum(1)
        scores_BTG = tap("index_scores", scores_BTG.masked_fill(hidden_TG, -torch.inf))
        order_BTG = scores_BTG.sort(dim=-1, descending=True, stable=True).indices
        unselected_BTG = torch.ones_like(scores_BTG, dtype=torch.bool)
        unselected_BTG = unselected_BTG.scatter(-1, order_BTG[..., : own.n_selected], False)
        return (unselected_BTG | hidden_TG).unsqueeze(1)


class OutputGroups(nn.Module):
    """A matrix for each group of the input: weight [groups · out, in of a group]."""

    def __init__(self, n_groups: int, d_in: int, d_out: int) -> None:
        super().__init__()
        self.n_groups = n_groups
        self.weight = nn.Parameter(torch.empty(n_groups * d_out, d_in))

    def forward(self, x_BTi: Tensor) -> Tensor:
        """Map [B, T, groups · in] to [B, T, groups · out]."""
        n_tokens = x_BTi.shape[:2]
        x_gQi = x_BTi.reshape(n_tokens.numel(), self.n_groups, -1).transpose(0, 1)
        weight_gio = self.weight.view(self.n_groups, -1, self.weight.shape[1]).transpose(1, 2)
        return torch.bmm(x_gQi, weight_gio).transpose(0, 1).reshape(*n_tokens, -1)


def rotate_last(x: Tensor, tables: Tables, part: spec.CompressedAttention, *, back: bool = False) -> Tensor:
    """Return `x` [..., tokens, width] with its last d_rope dimensions rotated, or rotated back."""
    n_rest = x.shape[-1] - part.d_rope
    return torch.cat((x[..., :n_rest], rotate(x[..., n_rest:], tables, part.position.interleaved, back=back)), -1)


def hidden_entries(context: AttentionContext, n_pool: int, n_entries: int) -> Tensor:
    """Return True [T, G] where an entry has tokens that a query does not see."""

    def compute() -> Tensor:
        entries_G = torch.arange(n_entries, device=context.positions.device)
        return entries_G >= ((context.positions + 1) // n_pool).unsqueeze(-1)

    hidden_TG: Tensor = context.memo(("hidden entries", n_pool), compute)
    return hidden_TG


def _as_dtype(tables: Tables, dtype: torch.dtype) -> Tables:
    return tables[0].to(dtype), tables[1].to(dtype)
