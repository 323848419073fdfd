"""Compare the architectures of two specs, whatever their names."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from archcalc.spec.about import About
from archcalc.spec.ffn import MoE
from archcalc.spec.groups import layers_of, weight_indices
from archcalc.spec.layer import Layer, Stack
from archcalc.spec.model import Spec

# Fields that are not compared, or that `_same_stack` compares.
_UNCOMPARED = {
    "name": "-",
    "about": About(),
    "encoder": None,
    "decoder": None,
}


def is_same_architecture(one: Spec, other: Spec) -> bool:
    """Return whether two resolved specs have the same architecture, ignoring names, sources and claims.

    Layers are compared one by one, however their runs are written. Numbers may differ by a rounding error, because
    configs write numbers such as 1/√512 with different digits.
    """
    if one.family != other.family:
        return False
    # The buffer of a logits bias is all zeros, so a model without one is equivalent.
    one, other = (_without_bias_buffer(spec) for spec in (one, other))
    documents = [msgspec.to_builtins(msgspec.structs.replace(spec, **_UNCOMPARED)) for spec in (one, other)]
    stacks = zip(one.stacks, other.stacks, strict=True)
    return _close(*documents) and all(_same_stack(a.stack, b.stack) for a, b in stacks)


def _without_bias_buffer(spec: Spec) -> Spec:
    head = msgspec.structs.replace(spec.head, bias_buffer=False) if spec.head else None
    return msgspec.structs.replace(spec, head=head)


def _same_stack(one: Stack, other: Stack) -> bool:
    """Return whether two stacks have equal layers, weight sharing and other fields."""
    if one.n_layers != other.n_layers or weight_indices(one) != weight_indices(other):
        return False
    # Most layers are equal, and each pair is compared once.
    pairs = set(zip(layers_of(one), layers_of(other), strict=True))
    other_fields = [msgspec.to_builtins(stack) | {"runs": None} for stack in (one, other)]
    return _close(*other_fields) and all(_close(_layer(a), _layer(b)) for a, b in pairs)


def _layer(layer: Layer) -> Any:
    """Return a layer without its name, its router in a standard form."""
    ffn = _router(layer.ffn) if isinstance(layer.ffn, MoE) else layer.ffn
    return msgspec.to_builtins(msgspec.structs.replace(layer, name=None, ffn=ffn))


def _router(part: MoE) -> MoE:
    """Return the mixture with its weights given by scores, if that is equivalent.

    Softmax and sigmoid keep the order of the logits. So all three ways to choose are equivalent if there are no
    corrections and a group is scored by its best expert. A softmax of the chosen logits equals the softmax of all
    logits, normalized to sum to 1.
    """
    replace = msgspec.structs.replace
    if part.weigh == "softmax":
        part = replace(part, normalize=True, normalize_min=None)
    weights = part.choose if part.weigh == "score" else part.weigh
    chooses_by_order = part.correction == "none" and part.group_score != "two_best"
    if part.weigh == "sparsemixer":
        return replace(part, choose="logits") if chooses_by_order else part
    if chooses_by_order or part.choose == weights:
        return replace(part, choose=weights, weigh="score")
    return part


def _close(one: Any, other: Any) -> bool:
    """Return whether two values are equal, floats up to a rounding error."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_close(one[key], other[key]) for key in one)
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-12)
    return bool(one == other)
