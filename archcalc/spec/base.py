"""The base of all parts of a spec: frozen, without unknown keys, with bounded sizes.

Modules of parts have no `from __future__ import annotations`: msgspec would compile every annotation from text, which
more than doubles the time to read the first spec.
"""

from typing import Annotated, Literal

import msgspec

# Sizes beyond these bounds are mistakes, and bounded sizes keep every product printable.
Size = Annotated[int, msgspec.Meta(ge=1, le=2**32)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**32)]
LayerCount = Annotated[int, msgspec.Meta(ge=1, le=100_000)]
# Of what is written out one by one: modules that predict further tokens, and streams.
ModuleCount = Annotated[int, msgspec.Meta(ge=0, le=1000)]
ModuleSize = Annotated[int, msgspec.Meta(ge=1, le=1000)]
Positive = Annotated[float, msgspec.Meta(gt=0, le=1e30)]
# What is added, or nothing.
Offset = Annotated[float, msgspec.Meta(ge=0, le=1e30)]
# Between none and all.
Share = Annotated[float, msgspec.Meta(gt=0, lt=1)]
Probability = Annotated[float, msgspec.Meta(ge=0, lt=1)]

Activation = Literal[
    "relu", "relu2", "relu6", "leaky_relu", "gelu", "gelu_tanh", "gelu_10", "quick_gelu", "silu", "hardswish", "mish",
    "sigmoid", "tanh", "laplace", "sqrt_softplus", "clamped_swish", "capped_swish", "identity",
]  # fmt: skip


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of an architecture. Variants of the same slot have a `kind`."""


def sizes(part: Part) -> dict[str, int]:
    """Return the named dimensions of a part: its integer fields that are set (booleans are not sizes).

    Whatever has `__index__` (PEP 357) is an integer: an int, or the values of a sweep.
    """
    values = ((name, getattr(part, name)) for name in part.__struct_fields__)
    return {name: value for name, value in values if hasattr(value, "__index__") and type(value) is not bool}
