"""Layers with a bottleneck: the width that their parts see, and what they must be."""

from __future__ import annotations

from typing import Any

from msgspec import structs

from archcalc.errors import InputError
from archcalc.spec.attention import Attention, disentangled
from archcalc.spec.branches import arms, branches
from archcalc.spec.layer import Branch, Layer, Stack
from archcalc.spec.model import Spec
from archcalc.words import Message, msg

_OTHERS = ("prompts", "per_layer", "streams", "global_tokens")


def inside(layer: Layer, spec: Spec) -> Spec:
    """Return the model as the parts of a layer see it: as wide as the layer's bottleneck, if it has one."""
    return spec if layer.bottleneck is None else structs.replace(spec, d_model=layer.bottleneck.d_bottleneck)


def with_value_source(layer: Layer, spec: Spec, where: str) -> Layer:
    """Return the layer whose first attention knows the width of its values' input, if the bottleneck splits it.

    Raises InputError for an attention that cannot be split, and for a width that is not that of the input.
    """
    splits, width = layer.bottleneck is not None and layer.bottleneck.splits_attention, None
    if splits and layer.bottleneck is not None:
        _check_split(layer, f"{where}.bottleneck.keys")
        width = None if layer.bottleneck.d_bottleneck == spec.d_model else spec.d_model
    for a, arm in enumerate(arms(layer)):
        stated = getattr(arm.part, "d_value_source", None)
        if stated is not None and stated != (width if splits and a == 0 else None):
            raise InputError(
                msg("found {found}", found=stated),
                where=f"{where}: d_value_source",
                allowed=msg("null, or d_model where a bottleneck splits attention"),
            )
    return _with_first_part(layer, width) if splits else layer


def _with_first_part(layer: Layer, width: int | None) -> Layer:
    if layer.attention is not None and not layer.branches:
        return structs.replace(layer, attention=structs.replace(layer.attention, d_value_source=width))
    first, *others = layer.branches
    part: Any = first.arms[0].part
    arm = structs.replace(first.arms[0], part=structs.replace(part, d_value_source=width))
    return structs.replace(layer, branches=(structs.replace(first, arms=(arm,)), *others))


def _check_split(layer: Layer, where: str) -> None:
    """Raise InputError if the first branch is not one attention that reads the stream as it is."""
    problem = _split_problem(branches(layer)[0])
    if problem is not None:
        raise InputError(
            problem, where=where, allowed=msg("stream, or an attention of kind gqa alone in the first branch")
        )


def _split_problem(branch: Branch) -> Message | None:
    arm = branch.arms[0]
    if len(branch.arms) > 1 or not isinstance(arm.part, Attention) or arm.part.value_is_key:
        return msg("the first branch has no queries, keys and values to split")
    if branch.norm_in or arm.norm or branch.in_gate_rank or arm.skip or arm.in_scale != 1.0:
        return msg("the first branch does not read the stream as it is")
    return None if arm.reads == "stream" else msg("keys and values are those of another layer")


def check_bottlenecks(stack: Stack, role: str) -> None:
    """Raise InputError if layers with a bottleneck are in a stack, or have parts, that cannot have one."""
    for r, run in enumerate(stack.runs):
        for p, layer in enumerate(run.pattern):
            if layer.bottleneck is not None:
                _check_layer(layer, stack, role, f"{role}.runs[{r}].pattern[{p}]")


def _check_layer(layer: Layer, stack: Stack, role: str, where: str) -> None:
    place = f"{where}.bottleneck"
    if role != "encoder":
        raise InputError(msg("a decoder's layers are as wide as its stream"), where=place, allowed="null")
    for field in _OTHERS:
        if getattr(stack, field) is not None:
            raise InputError(msg("is stated together with {field}", field=field), where=place, allowed="null")
    if layer.out_scalar:
        raise InputError(msg("is stated together with {field}", field="out_scalar"), where=place, allowed="null")
    if any(disentangled(arm.part) for arm in arms(layer)):
        raise InputError(
            msg("relative positions are as wide as the stream"), where=place, allowed=msg("null, or other positions")
        )
