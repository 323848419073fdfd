"""Activation functions with parameters, stated or learned."""

from typing import Literal

from archcalc.spec.base import Activation, Offset, Part, Positive


class ClampedSwish(Part, frozen=True, kw_only=True, tag_field="kind", tag="clamped_swish"):
    """y · σ(alpha · y) of y = min(x, limit); as a gate, times up clamped to ±limit plus `up_offset`.

    The defaults are gpt-oss' (OpenAI 2025, its reference code); an alpha of 1 with no offset is a clamped SwiGLU.
    """

    limit: Positive = 7.0
    alpha: Positive = 1.702
    up_offset: Offset = 1.0


class CappedSwish(Part, frozen=True, kw_only=True, tag_field="kind", tag="capped_swish"):
    """c(x) · σ(x) with c(x) = cap · tanh(x / cap); as a gate, times up held within ±up_cap likewise.

    The defaults are those of Inkling 2 (Thinking Machines Lab 2026, its reference code).
    """

    cap: Positive = 4.0
    up_cap: Positive = 25.0


# Activations of experts: without learned numbers.
FixedActivation = Activation | ClampedSwish | CappedSwish
# `xielu` has two learned numbers (Huang & Schlag 2024).
AnyActivation = FixedActivation | Literal["xielu"]

# An activation without its parameters.
ActivationName = Activation | Literal["xielu"]


def activation_name(part: AnyActivation) -> ActivationName:
    """Return the name of an activation, without its parameters.

    >>> activation_name("relu"), activation_name(ClampedSwish(limit=10.0))
    ('relu', 'clamped_swish')
    """
    if isinstance(part, ClampedSwish):
        return "clamped_swish"
    return "capped_swish" if isinstance(part, CappedSwish) else part


def with_parameters(part: AnyActivation) -> AnyActivation:
    """Return the activation with default parameters, if only its name is stated."""
    if part == "clamped_swish":
        return ClampedSwish()
    return CappedSwish() if part == "capped_swish" else part
