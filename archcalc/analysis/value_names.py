"""Names of components, kinds of tensors, operations, recomputation policies and the sureness of figures."""

from __future__ import annotations

from archcalc.ledger.leaves import Pointwise
from archcalc.spec.execution import Recompute
from archcalc.words import Message, in_context, msg

COMPONENT_NAMES: dict[str, Message] = {
    "embedding": msg("embedding"),
    "per_layer_embedding": msg("per-layer embedding"),
    "position": msg("position"),
    "attention": msg("attention"),
    "ffn": msg("ffn"),
    "mixer": msg("mixer"),
    "norm": msg("norm"),
    "head": msg("head"),
    "other": msg("other"),
}

KIND_NAMES: dict[str, Message] = {
    "trainable": msg("trainable"),
    "frozen": msg("frozen"),
    "buffer": msg("buffer"),
}

# How sure a figure is.
SURENESS: dict[str, Message] = {
    "exact": in_context("of a figure", "exact"),
    "measured": msg("measured"),
    "modeled": msg("modeled"),
}

RECOMPUTE_NAMES: dict[Recompute, Message] = {
    "none": in_context("recompute", "none"),
    "selective": in_context("recompute", "selective"),
    "full": in_context("recompute", "full"),
}

# Elementwise operations that are not named after a function.
OPERATION_NAMES: dict[Pointwise, Message] = {
    "layernorm": in_context("operation", "layernorm"),
    "rmsnorm": in_context("operation", "rmsnorm"),
    "affine": in_context("operation", "affine"),
    "rope": in_context("operation", "rope"),
    "gate": in_context("operation", "gate"),
    "clamped_gate": in_context("operation", "clamped_gate"),
    "capped_gate": in_context("operation", "capped_gate"),
    "length_clip": in_context("operation", "length_clip"),
    "product": in_context("operation", "product"),
    "clamp": in_context("operation", "clamp"),
    "scan": in_context("operation", "scan"),
    "identity": in_context("operation", "identity"),
}
