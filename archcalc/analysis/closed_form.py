"""Formulas as papers write them: the ledger's polynomials, simplified by relations between a model's sizes.

n_heads·d_head is d_model in most models, n_kv_heads is n_heads in many, d_ff is often a whole multiple of d_model; the
keys of a workload are its new tokens if it has no past. A relation is used only where the sizes satisfy it, and it is
stated with the formula.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Annotated

import msgspec

from archcalc.ledger.algebra import Monomial, Poly
from archcalc.ledger.rows import Ledger
from archcalc.results import Row, data
from archcalc.units import exact
from archcalc.words import msg

# (product of symbols, the symbol it may be a multiple of), in the order in which they are tried.
_CANDIDATES: tuple[tuple[Monomial, str], ...] = (
    (("n_kv_heads",), "n_heads"),
    (("n_heads", "d_head"), "d_model"),
    (("d_ff",), "d_model"),
    (("keys",), "seq"),
    (("cached",), "seq"),
    (("source_new",), "source_seq"),
)

# Formulas with more terms are shown in parts.
MAX_TERMS = 8

# The letters of papers.
LETTERS = {
    "n_layers": "L",
    "d_model": "d",
    "vocab_size": "V",
    "n_ctx": "C",
    "d_ff": "F",
    "n_heads": "N",
    "n_kv_heads": "K",
    "d_head": "H",
    "n_experts": "E",
}


class Relation(msgspec.Struct, frozen=True):
    """A product of dimensions that is a whole multiple of another."""

    product: Monomial
    factor: int
    symbol: str

    @property
    def replacement(self) -> Poly:
        """Return the multiple that replaces the product."""
        return self.factor * Poly.symbol(self.symbol)

    def __str__(self) -> str:
        return f"{Poly({self.product: 1})} = {self.replacement}"


class ClosedForm(Row, frozen=True, kw_only=True):
    """A total as a formula.

    `letters` is None if the formula is long.
    """

    lines: Annotated[tuple[str, ...], data(msg("formula, line by line"))]
    letters: Annotated[str | None, data(msg("formula in letters"))]
    symbols: Annotated[dict[str, int], data(msg("sizes in the formula"))]
    relations: Annotated[tuple[str, ...], data(msg("relations that simplify the formula"))]
    value: Annotated[int, data(msg("value"))]


class Rewriter(msgspec.Struct, frozen=True, dict=True):
    """Simplifies the formulas of a ledger."""

    ledger: Ledger

    @cached_property
    def relations(self) -> list[Relation]:
        """Return the relations that this model's sizes satisfy."""
        relations = (self._relation(product, symbol) for product, symbol in _CANDIDATES)
        return [relation for relation in relations if relation]

    def _relation(self, product: Monomial, symbol: str) -> Relation | None:
        sizes = self.ledger.sizes
        if symbol not in sizes or any(name not in sizes for name in product):
            return None
        factor, rest = divmod(Poly({product: 1}).at(sizes), sizes[symbol])
        may_scale = product == ("d_ff",)
        return Relation(product, factor, symbol) if not rest and (factor == 1 or (factor and may_scale)) else None

    def simplify(self, poly: Poly) -> Poly:
        """Return the same polynomial in fewer symbols."""
        for relation in self.relations:
            poly = poly.replace(relation.product, relation.replacement)
        return poly

    def equation(self, poly: Poly) -> str:
        """Return '4·d_model²·n_layers = 4·12288²·96 = 57,982,058,496'."""
        simple = self.simplify(poly)
        symbols, numbers = simple.text(), simple.text(self.ledger.sizes)
        value = int(poly.at(self.ledger.sizes))
        steps = [symbols, numbers, exact(value)]
        return " = ".join(step for step in steps if step != str(value) or step is steps[-1])

    def parts(self, poly: Poly) -> list[Poly]:
        """Return a simplified formula in parts, one for each number of layers; none if it has few terms."""
        simple = self.simplify(poly)
        return _by_layers(simple) if len(simple.terms) > MAX_TERMS else []

    def used(self, poly: Poly) -> list[Relation]:
        """Return the relations that simplify this formula."""
        used = []
        for relation in self.relations:
            simplified = poly.replace(relation.product, relation.replacement)
            if simplified != poly:
                used.append(relation)
            poly = simplified
        return used


def _by_layers(poly: Poly) -> list[Poly]:
    """Return the polynomial in parts, one for each number of layers."""
    parts: dict[str, dict[Monomial, int]] = {}
    for monomial, value in poly.terms.items():
        key = next((name for name in monomial if name.startswith(("n_layers", "n_mtp"))), "")
        parts.setdefault(key, {})[monomial] = value
    return [Poly(terms) for _, terms in sorted(parts.items(), reverse=True)]


def sum_lines(parts: Sequence[tuple[str, int]], value: int) -> list[str]:
    """Return the lines of a long formula: its parts, what each comes to, and its value; none of no parts."""
    if not parts:
        return []
    terms = [f"{'+ ' if line else ''}{part}" for line, (part, _) in enumerate(parts)]
    return [*terms, f"= {' + '.join(exact(part) for _, part in parts)}", f"= {exact(value)}"]


def in_letters(poly: Poly) -> str:
    """Return the formula with the usual letters of dimensions: '12·L·d² + 13·L·d'."""
    terms = {tuple(LETTERS.get(name, name) for name in monomial): value for monomial, value in poly.terms.items()}
    return Poly({tuple(sorted(monomial)): value for monomial, value in terms.items()}).text()


def closed_form(ledger: Ledger) -> ClosedForm:
    """Return the total of the parameters as a formula."""
    rewriter, formula = Rewriter(ledger), ledger.formula()
    simple, parts = rewriter.simplify(formula), rewriter.parts(formula)
    lines = sum_lines([(part.factored(), part.at(ledger.sizes)) for part in parts], ledger.total())
    symbols = sorted(simple.symbols(), key=lambda name: ([*LETTERS, name].index(name), name))
    return ClosedForm(
        lines=tuple(lines or [f"{simple} = {exact(ledger.total())}"]),
        letters=in_letters(simple) if len(simple.terms) <= MAX_TERMS else None,
        symbols={name: ledger.sizes[name] for name in symbols},
        relations=tuple(map(str, rewriter.used(formula))),
        value=ledger.total(),
    )
