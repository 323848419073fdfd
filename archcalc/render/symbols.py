"""The symbols of a workload in words: what `keys`, `pairs(window)` and others that formulas name come to, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from archcalc.analysis.atoms import ATOMS, STATED
from archcalc.render.lang import Words


def in_words(symbols: Iterable[str], sizes: Mapping[str, int], say: Words) -> list[str]:
    """What a workload states, on one line, and a line for each of its other symbols, with their values in `sizes`."""
    named = sorted(symbols)
    atoms = [symbol for symbol in named if symbol.partition("(")[0] in ATOMS]
    has_source = any("source" in symbol for symbol in named)
    stated = [name for name in STATED if has_source or name != "source_seq"]
    return [", ".join(f"{name} = {sizes[name]}" for name in stated), *(_line(atom, sizes, say) for atom in atoms)]


def _line(symbol: str, sizes: Mapping[str, int], say: Words) -> str:
    kind, _, window = symbol.partition("(")
    atom = f"explain.atom.{kind}"
    formula = say(f"{atom}.windowed", w=window[:-1]) if window else say(f"{atom}.formula")
    return say("explain.titled", name=f"{symbol} = {formula} = {sizes[symbol]:,}", meaning=say(atom))
