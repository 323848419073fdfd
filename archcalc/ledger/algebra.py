"""Polynomials with integer coefficients over named symbols: the formulas of a ledger.

`Poly` is exact and prints as a formula. It is evaluated with a table of named dimensions, which are Python ints (exact
at any size) or arrays (a sweep).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache, reduce
from typing import Any

Monomial = tuple[str, ...]

_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


class Poly:
    """A sum of monomials; a monomial is a sorted tuple of symbols, repeated by their power.

    >>> d = Poly.symbol("d_model")
    >>> str(4 * d * d + d)
    '4·d_model² + d_model'
    """

    __slots__ = ("_hash", "terms")

    def __init__(self, terms: Mapping[Monomial, int]) -> None:
        self.terms = {monomial: factor for monomial, factor in terms.items() if factor}
        self._hash: int | None = None

    @staticmethod
    @cache
    def symbol(name: str) -> Poly:
        """Return the polynomial of one symbol."""
        return Poly({(name,): 1})

    @classmethod
    def constant(cls, value: int) -> Poly:
        """Return the polynomial without symbols."""
        return cls({(): value})

    @classmethod
    def sum(cls, polys: Iterable[Poly]) -> Poly:
        """Return the sum of any number of polynomials."""
        terms: Counter[Monomial] = Counter()
        for poly in polys:
            for monomial, factor in poly.terms.items():
                terms[monomial] += factor
        return cls(terms)

    def __add__(self, other: Poly | int) -> Poly:
        return Poly.sum((self, _poly(other)))

    def __sub__(self, other: Poly | int) -> Poly:
        return self + _poly(other) * -1

    def __mul__(self, other: Poly | int) -> Poly:
        terms: dict[Monomial, int] = {}
        others = _poly(other).terms.items()
        for left, a in self.terms.items():
            for right, b in others:
                monomial = tuple(sorted(left + right))
                terms[monomial] = terms.get(monomial, 0) + a * b
        return Poly(terms)

    __radd__ = __add__
    __rmul__ = __mul__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Poly) and self.terms == other.terms

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash(frozenset(self.terms.items()))
        return self._hash

    def __repr__(self) -> str:
        return f"Poly({self})"

    def __str__(self) -> str:
        return self.text()

    def at(self, sizes: Mapping[str, Any]) -> Any:
        """Return the value for these sizes of the symbols: an int if they are ints."""
        total: Any = 0
        for monomial, factor in self.terms.items():
            value: Any = factor
            for name in monomial:
                value = value * sizes[name]
            total = total + value
        return total

    def replace(self, old: Monomial, new: Poly) -> Poly:
        """Return the polynomial with every occurrence of the product `old` in its terms replaced by `new`."""
        return Poly.sum(_replace(monomial, Counter(old), new) * factor for monomial, factor in self.terms.items())

    def symbols(self) -> set[str]:
        """Return the names of all symbols."""
        return {name for monomial in self.terms for name in monomial}

    def text(self, sizes: Mapping[str, int] | None = None) -> str:
        """Return the formula in symbols, or with `sizes` in numbers: '4·d_model²·n_layers', '4·12288²·96'."""
        if not self.terms:
            return "0"
        ordered = sorted(self.terms.items(), key=lambda term: (-len(term[0]), term[0]))
        (first, factor), *rest = sorted(ordered, key=lambda term: term[1] < 0)
        terms = (f" {'−' if n < 0 else '+'} {_term(monomial, abs(n), sizes)}" for monomial, n in rest)
        return _term(first, factor, sizes) + "".join(terms)

    def factored(self, sizes: Mapping[str, int] | None = None) -> str:
        """Return `text` with the common factor of all terms in front: 'n_heads·(d_nope + d_rope)'."""
        if len(self.terms) < 2:
            return self.text(sizes)
        common = reduce(lambda a, b: a & b, (Counter(monomial) for monomial in self.terms))
        factor = math.gcd(*self.terms.values())
        rest = Poly({_without(monomial, common): value // factor for monomial, value in self.terms.items()})
        if not common and factor == 1:
            return f"({rest.text(sizes)})"
        return f"{_term(tuple(sorted(common.elements())), factor, sizes)}·({rest.text(sizes)})"


ONE = Poly.constant(1)


def product(polys: Iterable[Poly]) -> Poly:
    """Return the product of any number of polynomials (1 for none). Those of one term, as most are, multiply fast."""
    symbols: list[str] = []
    factor, sums = 1, list[Poly]()
    for poly in polys:
        if len(poly.terms) != 1:
            sums.append(poly)
            continue
        ((monomial, times),) = poly.terms.items()
        symbols += monomial
        factor *= times
    return reduce(lambda a, b: a * b, sums, Poly({tuple(sorted(symbols)): factor}))


def _poly(value: Poly | int) -> Poly:
    return value if isinstance(value, Poly) else Poly.constant(value)


def _without(monomial: Monomial, removed: Counter[str]) -> Monomial:
    return tuple(sorted((Counter(monomial) - removed).elements()))


def _replace(monomial: Monomial, old: Counter[str], new: Poly) -> Poly:
    counts = Counter(monomial)
    times = min(counts[name] // n for name, n in old.items())
    rest = _without(monomial, Counter({name: n * times for name, n in old.items()}))
    return product([Poly({rest: 1}), *[new] * times])


def _term(monomial: Monomial, factor: int, sizes: Mapping[str, int] | None) -> str:
    powers = sorted(Counter(monomial).items(), key=lambda power: _sort_key(power[0]))
    parts = [(name if sizes is None else str(sizes[name])) + _power(n) for name, n in powers]
    return "·".join(([str(factor)] if factor != 1 or not parts else []) + parts)


def _sort_key(symbol: str) -> tuple[int, str]:
    """Sort counts before widths, layers last: n_heads·d_head·d_model·n_layers."""
    is_count = symbol.startswith(("n_", "vocab"))
    return (2 if symbol.startswith(("n_layers", "n_mtp")) else not is_count, symbol)


def _power(n: int) -> str:
    return str(n).translate(_SUPERSCRIPTS) if n > 1 else ""
