"""The symbols of a workload in words: what `keys`, `pairs(window)` and the others that formulas name come to, and why.

The ledger computes them (`ledger.tokens`); here stands what it computes, for people.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec


class Atom(msgspec.Struct, frozen=True):
    """A symbol's formula, the same in a layer with a window ({w}), and what it counts."""

    formula: str
    windowed: str
    meaning: str


_AROUND = "sum of min(t, {{w}}) + min({n} − t + 1, {{w}}) − 1 over t = 1 … {n}"

ATOMS = {
    "keys": Atom("seq + past", "seq + min(past, {w} − 1)", "tokens that a layer holds, the new ones added"),
    "cached": Atom("seq + past", "min(seq + past, {w})", "tokens that a layer keeps for the next step"),
    "pairs": Atom(
        "seq·past + seq·(seq + 1)/2",
        "sum of min(past + t, {w}) over t = 1 … seq",
        "pairs of a query and a key that are attended",
    ),
    "near": Atom("", _AROUND.format(n="seq"), "pairs of tokens less than a window apart"),
    "source_near": Atom("", _AROUND.format(n="source_new"), "pairs of the source's tokens less than a window apart"),
    "source_new": Atom("source_seq if past = 0, else 0", "", "tokens of the source that are read now"),
}

# What a workload states itself; a formula may name them, and so may the atoms.
STATED = ("batch", "seq", "past", "source_seq")


def is_of_work(symbol: str) -> bool:
    """Whether a symbol's size is the workload's, not the model's."""
    return symbol in STATED or symbol.partition("(")[0] in ATOMS


def in_words(symbols: Iterable[str], sizes: Mapping[str, int]) -> list[str]:
    """What a workload states, on one line, and a line for each of its other symbols, with their values in `sizes`."""
    named = sorted(symbols)
    atoms = [symbol for symbol in named if symbol.partition("(")[0] in ATOMS]
    has_source = any("source" in symbol for symbol in named)
    stated = [name for name in STATED if has_source or name != "source_seq"]
    return [", ".join(f"{name} = {sizes[name]}" for name in stated), *(_line(atom, sizes) for atom in atoms)]


def _line(symbol: str, sizes: Mapping[str, int]) -> str:
    kind, _, window = symbol.partition("(")
    atom = ATOMS[kind]
    formula = atom.windowed.format(w=window[:-1]) if window else atom.formula
    return f"{symbol} = {formula} = {sizes[symbol]:,}: {atom.meaning}"
