"""A stack of layers with its embedding, positions and norms.

Axes: B batch, T tokens, S the source's tokens, D model, W the width at which tokens and positions are summed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from itertools import islice
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archcalc.nn.arm_cache import SourceCache
from archcalc.nn.attention_context import AttentionContext, LayerContext
from archcalc.nn.bias import RelativeBias, SummaryBias
from archcalc.nn.block import Block
from archcalc.nn.cache import Cache
from archcalc.nn.cycles import Cycles
from archcalc.nn.embedding import Embedding, summed_width
from archcalc.nn.execution import run_layer
from archcalc.nn.global_tokens import GlobalTokens
from archcalc.nn.mtp import Mtp
from archcalc.nn.norm import norm
from archcalc.nn.per_layer import PerLayerEmbedding
from archcalc.nn.position import POSITIONS
from archcalc.nn.prompts import prompts, prompts_by_layer
from archcalc.nn.relative import DistanceTable
from archcalc.nn.rope import RotaryTable
from archcalc.nn.soft_prompt import SoftPrompt
from archcalc.nn.taps.points import tap, tap_scope
from archcalc.spec import Spec
from archcalc.spec.attention import Attention, disentangled, stack_bias, stored_rope
from archcalc.spec.branches import arms, branches, reads_embedding
from archcalc.spec.cycles import layers_of_run
from archcalc.spec.execution import Execution
from archcalc.spec.ffn import reads_ids
from archcalc.spec.groups import (
    borrowing_arms,
    layers_of,
    lender_indices,
    lending_arms,
    router_links,
    shared_arms,
    weight_indices,
)
from archcalc.spec.layer import Layer
from archcalc.spec.model import ModelStack
from archcalc.spec.soft_prompt import segments
from archcalc.spec.sparse import SparseAttention, summary_bias
from archcalc.spec.stream_variants import stream_implementation


class Layers(nn.Module):
    """A stack, causal or bidirectional.

    If layers share weights, only their owner is a module, and it runs in each of their turns.
    """

    embed: Embedding | None
    relative_bias: RelativeBias | None
    summary_bias: SummaryBias | None
    rotary: RotaryTable | None
    distances: DistanceTable | None
    per_layer: PerLayerEmbedding | None
    streams: Any
    global_tokens: GlobalTokens | None
    cycles: Cycles | None
    soft_prompt: SoftPrompt | None

    def __init__(self, model_stack: ModelStack) -> None:
        super().__init__()
        stack, model = model_stack.stack, model_stack.model
        self.prefix = model_stack.prefix  # of the names of its tensors and sites
        self.is_causal, self.dropout, self.execution = model_stack.is_causal, model.dropout.embedding, Execution()
        self.embed = Embedding(model) if stack.embedding else None
        layers, self.owners = layers_of(stack), [str(owner) for owner in weight_indices(stack)]
        self.lenders, self.lent_arms = lender_indices(stack), lending_arms(stack)
        self.router_links = router_links(stack)
        self.key_readers = [shared_arms(layer) for layer in layers]
        self.borrowing_arms = [borrowing_arms(layer) for layer in layers]
        width = summed_width(model)
        self.positions = POSITIONS[type(stack.position)](stack.position, model, width) if stack.position else None
        self.embed_norm = norm(stack.embed_norm, width) if stack.embed_norm else None
        self.norms_tokens_alone = stack.embed_norm_reads == "tokens"
        self.relative_bias = _relative_bias(layers)
        self.soft_prompt = SoftPrompt(stack.soft_prompt, model) if stack.soft_prompt else None
        self.n_lead, self.segments = stack.n_lead, segments(stack, model.embedding)
        self.summary_bias = _summary_bias(layers)
        self.rotary = _rotary(layers, model)
        self.distances = _distances(layers, model)
        self.layers = nn.ModuleDict(
            {
                owner: Block(layers[int(owner)], model, stack.streams, stack.global_tokens, int(owner))
                for owner in dict.fromkeys(self.owners)
            }
        )
        blocks = {int(owner): cast(Block, block) for owner, block in self.layers.items()}
        for block in blocks.values():
            block.borrow(blocks)
        self.reads_embedding = any(reads_embedding(branch) for layer in layers for branch in branches(layer))
        self.final_norm = norm(stack.final_norm, model.d_model) if stack.final_norm else None
        self.prompts = prompts(stack, model)
        self.streams = stream_implementation(stack.streams, "ends")(stack.streams, model) if stack.streams else None
        self.cycles = None
        if stack.cycles:
            self.cycles = Cycles(stack.cycles, layers_of_run(stack, stack.cycles), model)
        self.detached = [layer.detached for layer in layers]
        self.global_tokens = GlobalTokens(stack.global_tokens, model) if stack.global_tokens else None
        self.per_layer = PerLayerEmbedding(stack.per_layer, len(layers), model) if stack.per_layer else None
        self.reads_ids = any(reads_ids(arm.part) for layer in layers for arm in arms(layer))
        self.mtp = nn.ModuleList(Mtp(stack, model) for _ in range(stack.n_mtp)) if stack.n_mtp else None

    def run(self, x_BTD: Tensor, context: LayerContext, cache: Cache | None = None, *, first_layer: int = 0) -> Tensor:
        """Return states [B, T, D] after every layer, before the final norm; the cache, if any, is extended.

        `x_BTD` are the states before `first_layer`; the layers before it are skipped. With several streams, which begin
        in the first layer, or cycles, none can be skipped. States in the middle of the stack have those of global
        tokens.
        """
        x = x_BTD if self.streams is None else tap(f"{self.prefix}split", self.streams.streams(x_BTD))
        if self.global_tokens is not None and x.shape[1] == len(context.own.positions):
            x = self.global_tokens.after(x)
        turns = enumerate(zip(self.owners, self.layer_contexts(context, cache), strict=True))
        states = None if self.cycles is None else self.cycles.states(x, self.prefix, self.normed)
        for turn, (owner, layer_context) in islice(turns, first_layer, None):
            # Without a graph: no gradient passes through a detached layer.
            with torch.no_grad() if self.detached[turn] else nullcontext():
                x = x if states is None else states.layer_input(turn, x)
                x = tap_scope(
                    f"{self.prefix}layers.{turn}", run_layer, self.layers[owner], x, layer_context, self.execution
                )
                if states is not None:
                    states.update(turn, x)
        if cache is not None:
            cache.past += x_BTD.shape[1]
        if self.global_tokens is not None:
            return tap(f"{self.prefix}text", self.global_tokens.text(x))
        return x if self.streams is None else tap(f"{self.prefix}merged", self.streams.states(x))

    def layer_contexts(self, context: LayerContext, cache: Cache | None = None) -> Iterator[LayerContext]:
        """Yield the context of the layer of each turn; later ones read tensors lent by earlier layers."""
        lent: dict[int, Any] = {turn: dict.fromkeys(names) for turn, names in self.lent_arms.items()}
        prompts = prompts_by_layer(self.prompts, len(self.lenders))
        own = [None] * len(self.lenders) if context.per_layer is None else self._split_per_layer(context.per_layer)
        for turn, lender in enumerate(self.lenders):
            caches = {} if cache is None else cache.layers[turn]
            borrowed = {} if lender is None else {name: lent[lender][name] for name in self.borrowing_arms[turn]}
            if (link := self.router_links[turn]) is not None:
                borrowed[link.arm] = lent[link.lender][link.lending_arm]
            lent_here = lent.get(turn, {})
            yield replace(
                context,
                caches=caches,
                borrowed=borrowed,
                lent=lent_here,
                prompts=prompts[turn],
                per_layer=own[turn],
            )

    def with_tokens(self, context: LayerContext, ids_BT: Tensor, x_BTD: Tensor) -> LayerContext:
        """Return the context with ids, the input of the first layer, and numbers for each layer, if layers read them.

        `x_BTD` is the input of the first layer.
        """
        if self.reads_ids:
            context = replace(context, ids=ids_BT)
        if self.reads_embedding:
            context = replace(context, embedded=x_BTD)
        if self.per_layer is None:
            return context
        return replace(context, per_layer=tap(f"{self.prefix}per_layer", self.per_layer(ids_BT, x_BTD)))

    def _split_per_layer(self, numbers_BTZ: Tensor) -> tuple[Tensor, ...]:
        n_layers = len(self.lenders)
        return numbers_BTZ.view(*numbers_BTZ.shape[:2], n_layers, numbers_BTZ.shape[2] // n_layers).unbind(2)

    def cache_source(self, source_BSD: Tensor, cache: Cache, padding_BS: Tensor | None = None) -> None:
        """Fill the cache with the source's keys and values of every cross-attention, and reset its target."""
        source_positions_S = torch.arange(source_BSD.shape[1], device=source_BSD.device)
        context = AttentionContext(source_positions_S, source_positions_S, False, padding=padding_BS, is_self=False)
        for turn, owner in enumerate(self.owners):
            block = cast(Block, self.layers[owner])
            for arm in block.arms:
                if arm.reads == "source":
                    name, cross = f"{self.prefix}layers.{turn}.{arm.name}", cast(Any, block.part_module(arm.name))
                    cast(SourceCache, cache.layers[turn][arm.name]).fill(
                        tap_scope(name, cross.source_keys_values, source_BSD, context)
                    )
        cache.past, cache.n_source, cache.source_padding = 0, len(source_positions_S), padding_BS

    def input_states(
        self,
        embed: Embedding,
        ids_BT: Tensor,
        types_BT: Tensor | None,
        positions: Tensor,
        rows: Mapping[str, Tensor] | None = None,
        padding_BT: Tensor | None = None,
    ) -> Tensor:
        """Return the first layer's input [B, T, D]: tokens, types and positions, normed, dropped out, at model width.

        `positions` are those of the tokens in their texts, [T] or [B, T]; `rows` are row indices of further tables.
        """
        x_BTW: Tensor = embed(ids_BT, types_BT, rows, padding_BT)
        if self.embed_norm is not None and self.norms_tokens_alone:
            x_BTW = self.embed_norm(x_BTW)
        if self.positions is not None:
            x_BTW = x_BTW + self.positions(positions).to(x_BTW.dtype)
        if self.embed_norm is not None and not self.norms_tokens_alone:
            x_BTW = self.embed_norm(x_BTW)
        x_BTD = embed.to_model_width(F.dropout(x_BTW, self.dropout, self.training and self.execution.dropout))
        return tap(f"{self.prefix}embed", x_BTD)

    def normed(self, x_BTD: Tensor) -> Tensor:
        """Return states after the stack's final norm, if there is one, at the end of a run."""
        if self.final_norm is None:
            return x_BTD
        y_BTD: Tensor = self.final_norm(x_BTD)
        return y_BTD

    def apply_final_norm(self, x_BTD: Tensor) -> Tensor:
        """Return the last layer's states [B, T, D] after the final norm, if there is one."""
        return x_BTD if self.final_norm is None else tap(f"{self.prefix}final_norm", self.final_norm(x_BTD))

    def layer_context(
        self,
        positions_T: Tensor,
        source_BSD: Tensor | None = None,
        *,
        is_in_order: bool = True,
        padding_BT: Tensor | None = None,
        source_padding_BS: Tensor | None = None,
        prefix_BT: Tensor | None = None,
    ) -> LayerContext:
        """Return the context of a pass without cache; positions are 0 … T − 1 if `is_in_order`."""
        own = AttentionContext(
            positions_T,
            positions_T,
            self.is_causal,
            relative_bias=self.relative_bias,
            rotary_table=self.rotary,
            distance_table=None if self.distances is None else self.distances.states(),
            summary_bias=self.summary_bias,
            is_in_order=is_in_order,
            padding=padding_BT,
            n_global=0 if self.global_tokens is None else self.global_tokens.num_embeddings,
            prefix=prefix_BT,
            n_lead=self.n_lead,
            segments=self.segments,
        )
        if self.relative_bias is not None and self.execution.recompute != "full":
            own.stack_bias()  # computed outside checkpoints, which would compute it once more
        if self.summary_bias is not None and self.execution.recompute != "full":
            own.stack_summary_bias()
        if source_BSD is None:
            return LayerContext(own)
        source_positions_S = torch.arange(source_BSD.shape[1], device=source_BSD.device)
        return LayerContext(
            own,
            AttentionContext(
                positions_T, source_positions_S, False, source_BSD, padding=source_padding_BS, is_self=False
            ),
        )

    def cached_context(self, cache: Cache, positions_T: Tensor, prefix_BT: Tensor | None = None) -> LayerContext:
        """Return the context of a pass over the positions that follow the cached ones."""
        key_positions_S = torch.arange(cache.past + len(positions_T), device=positions_T.device)
        own = AttentionContext(
            positions_T,
            key_positions_S,
            self.is_causal,
            relative_bias=self.relative_bias,
            rotary_table=self.rotary,
            distance_table=None if self.distances is None else self.distances.states(),
            past=cache.past,
            padding=cache.padding,
            prefix=prefix_BT,
            n_lead=self.n_lead,
            segments=self.segments,
        )
        if not cache.n_source:
            return LayerContext(own)
        source_positions_S = torch.arange(cache.n_source, device=positions_T.device)
        source = AttentionContext(
            positions_T, source_positions_S, False, past=cache.n_source, padding=cache.source_padding, is_self=False
        )
        return LayerContext(own, source)

    def mtp_states(
        self, embed: Embedding, ids_BT: Tensor, x_BTD: Tensor, positions_T: Tensor, source_BSD: Tensor | None
    ) -> list[Tensor]:
        """Return, for each multi-token module m, the states that the head reads: [B, T − 1 − m, D].

        `x_BTD` are the states before the final norm. Module m joins the states of the module before it with the
        embeddings of the tokens m + 1 positions later, so each has one position less; modules without any are left out.
        """
        states = []
        for m, module in zip(range(ids_BT.shape[1] - 1), self.mtp or (), strict=False):
            tokens_BTD = embed.token_states(ids_BT[:, m + 1 :])
            context = self.layer_context(positions_T[: tokens_BTD.shape[1]], source_BSD)
            context = replace(context, ids=ids_BT[:, m + 1 :] if self.reads_ids else None)
            x_BTD, read_BTD = module(x_BTD[:, :-1], tokens_BTD, context)
            states.append(read_BTD)
        return states


def _relative_bias(layers: list[Layer]) -> RelativeBias | None:
    """Return the stack's bias table, if a layer uses it."""
    for part in (arm.part for layer in layers for arm in arms(layer)):
        if isinstance(part, Attention | SparseAttention) and (position := stack_bias(part)) is not None:
            return RelativeBias(position, part.n_heads)
    return None


def _summary_bias(layers: list[Layer]) -> SummaryBias | None:
    """Return the stack's bias table of summaries, if a layer uses it."""
    for part in (arm.part for layer in layers for arm in arms(layer)):
        if isinstance(part, SparseAttention) and part.summaries is not None and (position := summary_bias(part)):
            return SummaryBias(position, part.n_heads, part.summaries.n_block)
    return None


def _distances(layers: list[Layer], model: Spec) -> DistanceTable | None:
    """Return the stack's table of relative positions, if a layer reads it."""
    for part in (arm.part for layer in layers for arm in arms(layer)):
        if (position := disentangled(part)) is not None:
            return DistanceTable(position, model)
    return None


def _rotary(layers: list[Layer], model: Spec) -> RotaryTable | None:
    """Return the stack's table of rotary angles, if a layer reads it."""
    for part in (arm.part for layer in layers for arm in arms(layer)):
        if (position := stored_rope(part)) is not None:
            return RotaryTable(position, model)
    return None
