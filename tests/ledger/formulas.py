"""Reads a printed formula back as a number, by its own means."""

from __future__ import annotations

from collections.abc import Mapping

SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹"


def value(text: str, sizes: Mapping[str, int] | None = None) -> int:
    """'2·d_model²·(n_heads + 3)' → its value; names are looked up in `sizes`."""
    terms = _split(text, " + ")
    if len(terms) > 1:
        return sum(value(term, sizes) for term in terms)
    plus, *minus = _split(text, " − ")
    if minus:
        return value(plus, sizes) - sum(value(term, sizes) for term in minus)
    factors = _split(text, "·")
    if len(factors) > 1:
        found = 1
        for factor in factors:
            found *= value(factor, sizes)
        return found
    if text.startswith("("):
        return value(text[1:-1], sizes)
    base = text.rstrip(SUPERSCRIPTS)
    power = int("".join(str(SUPERSCRIPTS.index(c)) for c in text[len(base) :]) or "1")
    return ((sizes or {})[base] if base[0].isalpha() else int(base)) ** power


def _split(text: str, mark: str) -> list[str]:
    """The pieces between marks that stand in no parentheses."""
    pieces, depth, start = [], 0, 0
    for at, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if not depth and text.startswith(mark, at):
            pieces.append(text[start:at])
            start = at + len(mark)
    return [*pieces, text[start:]]
