"""Layers one after another, with what stands about them.

Axes: B batch, T tokens, S the source's tokens, D model, W the width at which tokens and positions are summed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archcalc.nn.bias import RelativeBias
from archcalc.nn.block import Block
from archcalc.nn.cache import Cache
from archcalc.nn.embedding import Embedding, summed_width
from archcalc.nn.execution import through
from archcalc.nn.held import Source
from archcalc.nn.mtp import Mtp
from archcalc.nn.norm import norm
from archcalc.nn.position import POSITIONS
from archcalc.nn.rope import RotaryTable
from archcalc.nn.sight import Sight, View
from archcalc.nn.taps.points import tap, within
from archcalc.spec import Spec
from archcalc.spec.attention import Attention, stack_bias, stored_rope
from archcalc.spec.branches import arms
from archcalc.spec.execution import Execution
from archcalc.spec.groups import key_indices, layers_of, lending_arms, shared_arms, weight_indices
from archcalc.spec.layer import Layer
from archcalc.spec.model import ModelStack


class Layers(nn.Module):
    """A stack, causal or bidirectional.

    Where layers share weights, their owner alone is a module and takes each turn.
    """

    embed: Embedding | None
    relative_bias: RelativeBias | None
    rotary: RotaryTable | None

    def __init__(self, own: ModelStack) -> None:
        super().__init__()
        stack, model = own.stack, own.model
        self.prefix = own.prefix  # of its tensors' names and its sites'
        self.causal, self.dropout, self.how = own.is_causal, model.dropout.embedding, Execution()
        self.embed = Embedding(model) if stack.embedding else None
        layers, self.owners = layers_of(stack), [str(owner) for owner in weight_indices(stack)]
        self.lenders, self.lent_arms = key_indices(stack), lending_arms(stack)
        self.shared_arms = [shared_arms(layer) for layer in layers]
        width = summed_width(model)
        self.positions = POSITIONS[type(stack.position)](stack.position, model, width) if stack.position else None
        self.embed_norm = norm(stack.embed_norm, width) if stack.embed_norm else None
        self.norms_tokens = stack.embed_norm_reads == "tokens"
        self.relative_bias = _relative_bias(layers)
        self.rotary = _rotary(layers, model)
        self.layers = nn.ModuleDict({owner: Block(layers[int(owner)], model) for owner in dict.fromkeys(self.owners)})
        self.final_norm = norm(stack.final_norm, model.d_model) if stack.final_norm else None
        self.mtp = nn.ModuleList(Mtp(stack, model) for _ in range(stack.n_mtp)) if stack.n_mtp else None

    def run(self, x_BTD: Tensor, view: View, cache: Cache | None = None) -> Tensor:
        """States [B, T, D] through every layer, not yet through the final norm; the cache takes them in."""
        for turn, (owner, seen) in enumerate(zip(self.owners, self.views(view, cache), strict=True)):
            x_BTD = within(f"{self.prefix}layers.{turn}", through, self.layers[owner], x_BTD, seen, self.how)
        if cache is not None:
            cache.past += x_BTD.shape[1]
        return x_BTD

    def views(self, view: View, cache: Cache | None = None) -> Iterator[View]:
        """What the layer of each turn looks at, in their order: some of it has been made by those before it."""
        lent: dict[int, Any] = {turn: dict.fromkeys(names) for turn, names in self.lent_arms.items()}
        for turn, lender in enumerate(self.lenders):
            held = {} if cache is None else cache.layers[turn]
            shared = {} if lender is None else {name: lent[lender][name] for name in self.shared_arms[turn]}
            yield replace(view, held=held, shared=shared, lent=lent.get(turn, {}))

    def keep(self, source_BSD: Tensor, cache: Cache, padding_BS: Tensor | None = None) -> None:
        """Fill the cache with what every cross-attention makes of the source's states, and begin anew after it."""
        places_S = torch.arange(source_BSD.shape[1], device=source_BSD.device)
        sight = Sight(places_S, places_S, False, padding=padding_BS, own=False)
        for turn, owner in enumerate(self.owners):
            block = cast(Block, self.layers[owner])
            for arm in block.arms:
                if arm.reads == "source":
                    at, cross = f"{self.prefix}layers.{turn}.{arm.name}", cast(Any, block.get_submodule(arm.name))
                    cast(Source, cache.layers[turn][arm.name]).fill(within(at, cross.of_source, source_BSD, sight))
        cache.past, cache.n_source, cache.source_padding = 0, len(places_S), padding_BS

    def embedded(
        self,
        embed: Embedding,
        ids_BT: Tensor,
        types_BT: Tensor | None,
        standing: Tensor,
        rows: Mapping[str, Tensor] | None = None,
        padding_BT: Tensor | None = None,
    ) -> Tensor:
        """What the first layer reads [B, T, D]: tokens, types and positions, normed, dropped and widened.

        `standing` is where the tokens stand in their texts, [T] or [B, T]; `rows` are those of further tables.
        """
        x_BTW: Tensor = embed(ids_BT, types_BT, rows, padding_BT)
        if self.embed_norm is not None and self.norms_tokens:
            x_BTW = self.embed_norm(x_BTW)
        if self.positions is not None:
            x_BTW = x_BTW + self.positions(standing).to(x_BTW.dtype)
        if self.embed_norm is not None and not self.norms_tokens:
            x_BTW = self.embed_norm(x_BTW)
        x_BTD = embed.widened(F.dropout(x_BTW, self.dropout, self.training and self.how.dropout))
        return tap(f"{self.prefix}embed", x_BTD)

    def final(self, x_BTD: Tensor) -> Tensor:
        """The last layer's states [B, T, D] through the final norm, where there is one."""
        return x_BTD if self.final_norm is None else tap(f"{self.prefix}final_norm", self.final_norm(x_BTD))

    def view(
        self,
        positions_T: Tensor,
        source_BSD: Tensor | None = None,
        *,
        in_order: bool = True,
        padding_BT: Tensor | None = None,
        source_padding_BS: Tensor | None = None,
    ) -> View:
        """What the layers look at from these positions, which are 0 … T − 1 if they are `in_order`."""
        own = Sight(
            positions_T,
            positions_T,
            self.causal,
            relative_bias=self.relative_bias,
            rotary=self.rotary,
            in_order=in_order,
            padding=padding_BT,
        )
        if self.relative_bias is not None and self.how.recompute != "full":
            own.relative()  # a checkpoint that made it would not make it a second time
        if source_BSD is None:
            return View(own)
        places_S = torch.arange(source_BSD.shape[1], device=source_BSD.device)
        return View(own, Sight(positions_T, places_S, False, source_BSD, padding=source_padding_BS, own=False))

    def view_after(self, cache: Cache, positions_T: Tensor) -> View:
        """What the layers look at from these positions, the next of what is cached."""
        places_S = torch.arange(cache.past + len(positions_T), device=positions_T.device)
        own = Sight(
            positions_T,
            places_S,
            self.causal,
            relative_bias=self.relative_bias,
            rotary=self.rotary,
            past=cache.past,
            padding=cache.padding,
        )
        if not cache.n_source:
            return View(own)
        source_S = torch.arange(cache.n_source, device=positions_T.device)
        source = Sight(positions_T, source_S, False, past=cache.n_source, padding=cache.source_padding, own=False)
        return View(own, source)

    def further(
        self, embed: Embedding, ids_BT: Tensor, x_BTD: Tensor, positions_T: Tensor, source_BSD: Tensor | None
    ) -> list[Tensor]:
        """For each multi-token module m, what the head reads of it: [B, T − 1 − m, D].

        `x_BTD` are the states before the final norm. Module m joins the states before it with the embeddings of the
        tokens m + 1 places on, so each has a place less than the one before; one that would have none is left out.
        """
        found = []
        for m, module in zip(range(ids_BT.shape[1] - 1), self.mtp or (), strict=False):
            tokens_BTD = embed.alone(ids_BT[:, m + 1 :])
            view = self.view(positions_T[: tokens_BTD.shape[1]], source_BSD)
            x_BTD, read_BTD = module(x_BTD[:, :-1], tokens_BTD, view)
            found.append(read_BTD)
        return found


def _relative_bias(layers: list[Layer]) -> RelativeBias | None:
    """The stack's table, if any of its layers uses one."""
    for part in (arm.part for layer in layers for arm in arms(layer)):
        if isinstance(part, Attention) and (position := stack_bias(part)) is not None:
            return RelativeBias(position, part.n_heads)
    return None


def _rotary(layers: list[Layer], model: Spec) -> RotaryTable | None:
    """The stack's table of angles, if any of its layers reads one."""
    for part in (arm.part for layer in layers for arm in arms(layer)):
        if (position := stored_rope(part)) is not None:
            return RotaryTable(position, model)
    return None
