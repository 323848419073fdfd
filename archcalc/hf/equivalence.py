"""Whether two specs are one architecture under different names."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from archcalc.spec.about import About
from archcalc.spec.ffn import MoE
from archcalc.spec.groups import layers_of, weight_indices
from archcalc.spec.layer import Layer, Stack
from archcalc.spec.model import Spec

# What a spec is called, and what is said about it.
_ASIDE = {
    "name": "-",
    "about": About(),
    "encoder": None,
    "decoder": None,
}


def is_same_architecture(one: Spec, other: Spec) -> bool:
    """Whether two resolved specs are the same, names, sources and claims aside, however their runs are told.

    Numbers may differ by a rounding error: 1/√512 is written down in more than one way.
    """
    if one.family != other.family:
        return False
    # A stored buffer that joins the logits is zeros in a model that has none.
    one, other = (_without_buffer(spec) for spec in (one, other))
    bare = [msgspec.to_builtins(msgspec.structs.replace(spec, **_ASIDE)) for spec in (one, other)]
    stacks = zip(one.stacks, other.stacks, strict=True)
    return _close(*bare) and all(_same_stack(a.stack, b.stack) for a, b in stacks)


def _without_buffer(spec: Spec) -> Spec:
    head = msgspec.structs.replace(spec.head, bias_buffer=False) if spec.head else None
    return msgspec.structs.replace(spec, head=head)


def _same_stack(one: Stack, other: Stack) -> bool:
    """The same layers one by one, using the same weights, with the same around them."""
    if one.n_layers != other.n_layers or weight_indices(one) != weight_indices(other):
        return False
    # Layers of a kind are met many times and compared once.
    pairs = set(zip(layers_of(one), layers_of(other), strict=True))
    around = [msgspec.to_builtins(stack) | {"runs": None} for stack in (one, other)]
    return _close(*around) and all(_close(_layer(a), _layer(b)) for a, b in pairs)


def _layer(layer: Layer) -> Any:
    """Nameless, and with one of the ways to say the same of a router."""
    ffn = _router(layer.ffn) if isinstance(layer.ffn, MoE) else layer.ffn
    return msgspec.to_builtins(msgspec.structs.replace(layer, name=None, ffn=ffn))


def _router(part: MoE) -> MoE:
    """The mixture with its weights said by scores, where that is the same.

    Softmax and sigmoid keep the order of the logits: without corrections, and where a group's best expert stands for
    it, all three choose alike. A softmax of the chosen logits is the softmax of all, made to sum to 1.
    """
    replace = msgspec.structs.replace
    if part.weigh == "softmax":
        part = replace(part, normalise=True, normalise_min=None)
    weights = part.choose if part.weigh == "score" else part.weigh
    chooses_by_order = part.correction == "none" and part.group_score != "two_best"
    if part.weigh == "sparsemixer":
        return replace(part, choose="logits") if chooses_by_order else part
    if chooses_by_order or part.choose == weights:
        return replace(part, choose=weights, weigh="score")
    return part


def _close(one: Any, other: Any) -> bool:
    """Equal, but for the last digits of numbers that are no counts."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_close(one[key], other[key]) for key in one)
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-12)
    return bool(one == other)
