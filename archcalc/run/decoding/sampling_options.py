"""The options of sampling."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from archcalc.errors import InputError
from archcalc.words import msg

# In the order of application; `archcalc.run.decoding.sampling` has the filters.
FILTER_NAMES = ("top_k", "top_p", "min_p")


class Sampling(msgspec.Struct, frozen=True, kw_only=True):
    """How the next token is chosen.

    `temperature` divides the logits; 0 is greedy. Then three filters apply in this order, and what they keep is
    rescaled to sum to 1: `top_k` keeps the k likeliest tokens, `top_p` the fewest whose probabilities sum to at least p
    (Holtzman et al. 2019, section 3.1), `min_p` those with at least this share of the largest probability (Nguyen et
    al. 2024, section 3). Before all that, `repetition_penalty` makes tokens of the text, prompt included, less likely:
    it divides positive logits and multiplies negative ones (Keskar et al. 2019, section 4.1).

    Raise InputError for a value out of range, and for a filter at temperature 0, where it has no effect.
    """

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        for name, (is_valid, allowed) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not is_valid(value):
                raise InputError(msg("found {found}", found=value), where=name, allowed=allowed)
        if self.is_greedy and (unused := [name for name in FILTER_NAMES if getattr(self, name) is not None]):
            raise InputError(
                msg("has no effect at temperature 0"), where=unused[0], allowed=msg("a temperature above 0")
            )

    @property
    def is_greedy(self) -> bool:
        """Return whether the likeliest token is taken, without sampling."""
        return self.temperature == 0


_RANGES: dict[str, tuple[Callable[[float], bool], str]] = {
    "temperature": (lambda x: 0 <= x < float("inf"), "0 or more"),
    "top_k": (lambda x: x >= 1, "1 or more"),
    "top_p": (lambda x: 0 < x <= 1, "above 0, up to 1"),
    "min_p": (lambda x: 0 <= x <= 1, "from 0 to 1"),
    "repetition_penalty": (lambda x: 0 < x < float("inf"), "above 0"),
}
