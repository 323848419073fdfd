"""What every part of a spec has in common: it is frozen, refuses unknown keys, and bounds its sizes."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

# A size beyond these bounds is a slip, not an architecture; bounding them keeps every later product printable.
Size = Annotated[int, msgspec.Meta(ge=1, le=2**32)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**32)]
LayerCount = Annotated[int, msgspec.Meta(ge=1, le=100_000)]
Positive = Annotated[float, msgspec.Meta(gt=0, le=1e30)]
Probability = Annotated[float, msgspec.Meta(ge=0, lt=1)]

Activation = Literal[
    "relu", "relu2", "relu6", "leaky_relu", "gelu", "gelu_tanh", "gelu_10", "quick_gelu", "silu", "hardswish", "mish",
    "sigmoid", "tanh", "laplace", "sqrt_softplus", "clamped_swish", "identity",
]  # fmt: skip


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A piece of an architecture. Subclasses that are variants of one slot carry a `kind`."""


def sizes(part: Part) -> dict[str, int]:
    """The named dimensions a part states: its integer fields that are set (booleans are not sizes).

    An integer is whatever can be an index (PEP 357's `__index__`): an int, or what a sweep puts in its place.
    """
    values = ((name, getattr(part, name)) for name in part.__struct_fields__)
    return {name: value for name, value in values if hasattr(value, "__index__") and type(value) is not bool}
