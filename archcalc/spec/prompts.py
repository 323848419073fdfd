"""Prompts of a stack: which attentions read them, and where they cannot be."""

from __future__ import annotations

from archcalc.errors import InputError
from archcalc.spec.attention import Attention
from archcalc.spec.branches import active_branches, arms
from archcalc.spec.layer import Layer, Stack
from archcalc.spec.position import Alibi, ContentBias, Disentangled, RelativeBias
from archcalc.words import msg


def prompted(layer: Layer) -> dict[str, Attention]:
    """Return the attentions of a layer that read prompts, by the names of their arms."""
    active = [arm for branch in active_branches(layer) for arm in branch.arms]
    return {arm.name: arm.part for arm in active if isinstance(arm.part, Attention)}


def check_prompts(stack: Stack, role: str) -> None:
    """Raise InputError for prompts that some attention of the stack cannot read."""
    if stack.prompts is None:
        return
    layers = [layer for run in stack.runs for layer in run.pattern]
    if stack.n_mtp or any(layer.shares for layer in layers) or any(run.share_weights for run in stack.runs):
        raise InputError(
            msg("layers share weights or keys, or predict tokens further ahead"),
            where=f"{role}.prompts",
            allowed="null",
        )
    widths = {tuple((name, _width(part)) for name, part in prompted(layer).items()) for layer in layers}
    if len(widths) > 1 or not all(width for arm in widths for _, width in arm) or not all(map(_reads_all, layers)):
        raise InputError(
            msg("prompts have no positions, and are as wide in every layer"),
            where=f"{role}.prompts",
            allowed=msg("attentions (gqa) that are alike in all layers, without windows, sinks or biases of scores"),
        )


def _width(part: Attention) -> int | None:
    """Return the width of the keys of all heads; None if an attention has no place for prompts."""
    is_biased = isinstance(part.position, Alibi | RelativeBias | Disentangled | ContentBias)
    if (
        part.window
        or part.sinks
        or part.token_sinks
        or part.d_value is not None
        or is_biased
        or part.key_bias
        or part.d_conv
    ):
        return None
    assert part.n_kv_heads is not None, "the spec is resolved"
    assert part.d_head is not None, "the spec is resolved"
    return part.n_kv_heads * part.d_head


def _reads_all(layer: Layer) -> bool:
    """Return whether the layer has an attention, and none of another kind."""
    from archcalc.spec.variants import variant

    mixers = {arm.name for arm in arms(layer) if arm.reads != "nothing" and variant(arm.part).component != "ffn"}
    return bool(mixers) and mixers == prompted(layer).keys()
