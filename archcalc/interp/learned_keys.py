"""Learned keys and values, which an attention reads before those of its tokens.

Axes: K kv heads, P prompts, H head width.
"""

from __future__ import annotations

from typing import Any

from archcalc.nn.arm_cache import Pair
from archcalc.nn.prompts import prompts_by_layer


def learned_pairs(model: Any) -> dict[str, Pair]:
    """Return the learned keys and values [K, P, H] of each attention that has some (`decoder.layers.0.cross`).

    They are computed for all layers of a stack at once.
    """
    found: dict[str, Pair] = {}
    for model_stack in model.spec.stacks:
        stack = model.get_submodule(model_stack.prefix.removesuffix("."))
        for i, pairs in enumerate(prompts_by_layer(stack.prompts, len(stack.lenders))):
            found |= {f"{model_stack.prefix}layers.{i}.{arm}": pair for arm, pair in pairs.items()}
    return found
