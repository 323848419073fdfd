"""Many tokens through a decoder of which the logits of the last places alone are wanted.

The last layer's keys and values are those of every token; nothing reads what else it would make of all but the last.

Axes: B batch, T tokens, D model, K kv heads, H head width, n last places.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor

from archcalc.nn.attention import Attention
from archcalc.nn.block import Block
from archcalc.nn.cache import Cache
from archcalc.nn.model import SingleStack
from archcalc.nn.sight import View
from archcalc.spec.branches import arm_norm, names
from archcalc.spec.variants import variant


class Prefill:
    """A prompt, or a part of one, into a cache."""

    def __init__(self, model: SingleStack, last: Block) -> None:
        self.model, self.last = model, last

    def takes(self, ids_BT: Tensor, cache: Cache, more: dict[str, Any]) -> bool:
        """Whether fewer logits are asked for than there are tokens, and nothing is padded."""
        asked = {name: value for name, value in more.items() if value is not None}
        return asked.keys() == {"n_logits"} and asked["n_logits"] < ids_BT.shape[1] and cache.padding is None

    def __call__(self, ids_BT: Tensor, cache: Cache, n_logits: int) -> Tensor:
        """Logits [B, n, V] of the last places; the cache takes all the tokens in."""
        with torch.inference_mode():
            x_BnD = self.model.final(self._states(ids_BT, cache, n_logits))
            head = self.model.head
            found = x_BnD if head is None else cast(Tensor, head(x_BnD, self.model.embed.tokens.weight))
        return found.clone()  # an ordinary tensor, which may be changed in place

    def _states(self, ids_BT: Tensor, cache: Cache, n_last: int) -> Tensor:
        model = self.model
        cache.admit(ids_BT)
        places_T = torch.arange(cache.past, cache.past + ids_BT.shape[1])
        view = model.view_after(cache, places_T)
        x_BTD = model.embedded(model.embed, ids_BT, None, places_T)
        views = model.views(view, cache)
        for owner, seen in zip(model.owners[:-1], views, strict=False):
            x_BTD = model.layers[owner](x_BTD, seen)
        x_BnD = _last_places(self.last, x_BTD, next(views), n_last)
        cache.past += len(places_T)
        return x_BnD


def prefill_of(model: Any) -> Prefill | None:
    """The way of a model that is a decoder whose last layer has an attention to its own tokens alone."""
    if not isinstance(model, SingleStack) or not model.causal or model.spec.reads_text:
        return None
    last = cast(Block, model.layers[model.owners[-1]])
    first, *others = last.arms
    plain = isinstance(last.get_submodule(first.name), Attention) and first.reads != "source"
    alone = not any(variant(arm.part).mixes_tokens for arm in others)
    return Prefill(model, last) if plain and alone else None


def _last_places(block: Block, x_BTD: Tensor, view: View, n_last: int) -> Tensor:
    """What a layer makes of the last places [B, n, D], which look at all of them."""
    branch, arm = block.branches[0], block.arms[0]
    attention, own = cast(Attention, block.get_submodule(arm.name)), view.of(arm)
    read_BTD = block.normed(arm_norm(arm), block.normed(names(branch).norm_in, x_BTD))
    pair = own.joined(lambda: attention.keys_values(read_BTD, own))
    seen = replace(own, positions=own.positions[-n_last:], held=None, shared=pair, in_order=False, _made={})
    y_BnD: Tensor = block(x_BTD[:, -n_last:], View(seen))
    return y_BnD
