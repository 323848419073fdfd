"""Learned keys and values, which an attention reads before those of its tokens.

Axes: K kv heads, P prompts, H head width.
"""

from __future__ import annotations

from typing import Any

from archcalc.nn.arm_cache import Pair
from archcalc.nn.prompts import prompts_by_layer


def learned_pair(model: Any, path: str) -> Pair | None:
    """Return the learned keys and values [K, P, H] of an attention (`decoder.layers.0.cross`); None if it has none."""
    prefix, _, rest = path.rpartition("layers.")
    layer, _, arm = rest.partition(".")
    stack = model.get_submodule(prefix.removesuffix("."))
    return prompts_by_layer(stack.prompts, len(stack.lenders))[int(layer)].get(arm)
