"""Prefill a prompt where only the logits of the last positions are needed.

The last layer computes keys and values of every token, and everything else for the last positions alone.

Axes: B batch, T tokens, D model, K kv heads, H head width, n last positions.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor

from archcalc.nn.attention import Attention
from archcalc.nn.attention_context import LayerContext
from archcalc.nn.block import Block
from archcalc.nn.cache import Cache
from archcalc.nn.model import SingleStack
from archcalc.nn.scaling import multiply
from archcalc.spec.branches import arm_norm, names
from archcalc.spec.variants import variant


class Prefill:
    """Read a prompt, or a part of one, into a cache."""

    def __init__(self, model: SingleStack, last: Block) -> None:
        self.model, self.last = model, last

    def accepts(self, ids_BT: Tensor, cache: Cache, kwargs: dict[str, Any]) -> bool:
        """Return whether fewer logits than tokens are wanted, and nothing is padded."""
        options = {name: value for name, value in kwargs.items() if value is not None}
        return options.keys() == {"n_logits"} and options["n_logits"] < ids_BT.shape[1] and cache.padding is None

    def __call__(self, ids_BT: Tensor, cache: Cache, n_logits: int) -> Tensor:
        """Return logits [B, n, V] of the last positions, and append all tokens to the cache."""
        with torch.inference_mode():
            x_BnD = self.model.apply_final_norm(self._states(ids_BT, cache, n_logits))
            head = self.model.head
            logits_BnV = x_BnD if head is None else cast(Tensor, head(x_BnD, self.model.embed.tokens.weight))
        return logits_BnV.clone()  # an ordinary tensor, which callers may change in place

    def _states(self, ids_BT: Tensor, cache: Cache, n_last: int) -> Tensor:
        model = self.model
        cache.admit(ids_BT)
        positions_T = torch.arange(cache.past, cache.past + ids_BT.shape[1])
        context = model.cached_context(cache, positions_T)
        x_BTD = model.input_states(model.embed, ids_BT, None, positions_T)
        contexts = model.layer_contexts(context, cache)
        for owner, layer_context in zip(model.owners[:-1], contexts, strict=False):
            x_BTD = model.layers[owner](x_BTD, layer_context)
        x_BnD = _last_states(self.last, x_BTD, next(contexts), n_last)
        cache.past += len(positions_T)
        return x_BnD


def prefill_last_positions(model: Any) -> Prefill | None:
    """Return the prefill of a decoder whose last layer has one self-attention and mixes tokens nowhere else."""
    if not isinstance(model, SingleStack) or not model.is_causal or model.spec.reads_text:
        return None
    if (
        any(each is not None for each in (model.per_layer, model.streams, model.cycles))
        or model.reads_ids
        or model.reads_embedding
    ):
        return None
    last = cast(Block, model.layers[model.owners[-1]])
    first, *others = last.arms
    is_attention = isinstance(last.part_module(first.name), Attention) and first.reads != "source"
    mixes_no_more = not any(variant(arm.part).mixes_tokens for arm in others) and not last.branches[0].splits_input
    return Prefill(model, last) if is_attention and mixes_no_more else None


def _last_states(block: Block, x_BTD: Tensor, context: LayerContext, n_last: int) -> Tensor:
    """Return a layer's states of the last positions [B, n, D], which attend to all tokens."""
    branch, arm = block.branches[0], block.arms[0]
    attention, own = cast(Attention, block.part_module(arm.name)), context.for_arm(arm)
    normed_BTD = block.apply_norm(arm_norm(arm), block.branch_input(names(branch), x_BTD))
    read_BTD = multiply(normed_BTD, arm.in_scale)
    pair = own.keys_values(lambda: attention.keys_values(read_BTD, own))
    query_context = replace(
        own, positions=own.positions[-n_last:], cache=None, shared_pair=pair, is_in_order=False, _memo={}
    )
    y_BnD: Tensor = block(x_BTD[:, -n_last:], LayerContext(query_context))
    return y_BnD
