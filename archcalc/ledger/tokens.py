"""How many tokens a part works on, in symbols, and what those symbols come to for a workload.

`seq` new tokens follow `past` ones. `keys` is what a causal layer holds once they are added, `cached` what it keeps
of that, `pairs` the (query, key) pairs that are really attended. `keys(window)` and so on are the same in a sliding
layer of that window; `near(window)` and `source_near(window)` are the pairs of one that looks both ways. `source_new`
is the source's tokens while they are read, 0 once they have been; `source_passes` is 1 while they are read, then 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from archcalc.ledger.algebra import Poly
from archcalc.spec.workload import Workload

BATCH, SEQ = Poly.symbol("batch"), Poly.symbol("seq")
SOURCE, SOURCE_NEW = Poly.symbol("source_seq"), Poly.symbol("source_new")
SOURCE_PASSES = Poly.symbol("source_passes")


class Span(msgspec.Struct, frozen=True):
    """What one attention works on, a sequence: `queries` tokens ask, keys and values are made of `states` tokens.

    `causal`: a query sees what stands before it, and its layer caches that; else it sees `seen` keys, unless a window
    narrows that, and caches what is `kept`, if anything. `passes` is how often the stack is run, if not once.
    """

    queries: Poly
    states: Poly
    causal: bool
    seen: Poly
    near: str = "near"
    kept: Poly | None = None
    passes: Poly | None = None

    def keys(self, window: Poly | None) -> Poly:
        """Keys that the scores are computed for: all that the layer holds (a mask saves nothing)."""
        return _named("keys", window) if self.causal else self.seen

    @property
    def held(self) -> Poly:
        """Tokens whose keys and values a layer has to make, where it caches something smaller."""
        return _named("keys", None) if self.causal else self.states

    def cached(self, window: Poly | None) -> Poly | None:
        """Tokens that a layer keeps for the next step; None if it keeps none."""
        return _named("cached", window) if self.causal else self.kept

    def pairs(self, window: Poly | None) -> Poly:
        """(query, key) pairs that are attended."""
        if self.causal:
            return _named("pairs", window)
        return self.queries * self.seen if window is None else _named(self.near, window)


DECODER = Span(SEQ, SEQ, True, SEQ)
ENCODER = Span(SEQ, SEQ, False, SEQ)
SOURCE_ENCODER = Span(SOURCE_NEW, SOURCE_NEW, False, SOURCE, near="source_near", passes=SOURCE_PASSES)
CROSS = Span(SEQ, SOURCE_NEW, False, SOURCE, kept=SOURCE)


def _named(kind: str, window: Poly | None) -> Poly:
    return Poly.symbol(kind if window is None else f"{kind}({window})")


def least(a: Any, b: Any) -> Any:
    """The smaller of two numbers, or of two arrays' entries."""
    return (a + b - abs(a - b)) // 2


def _keys(work: Mapping[str, Any], window: Any) -> Any:
    return work["seq"] + (work["past"] if window is None else least(work["past"], window - 1))


def _cached(work: Mapping[str, Any], window: Any) -> Any:
    """A sliding layer drops what no later token will see."""
    tokens = work["seq"] + work["past"]
    return tokens if window is None else least(tokens, window)


def _pairs(work: Mapping[str, Any], window: Any) -> Any:
    """Token t of the new ones sees past + t + 1 keys, of a window no more than that."""
    seq, past = work["seq"], work["past"]
    if window is None:
        return seq * past + seq * (seq + 1) // 2
    growing = least(seq, window - least(past, window))
    return growing * past + growing * (growing + 1) // 2 + (seq - growing) * window


def _near(n: Any, window: Any) -> Any:
    """Of n tokens each sees itself and, on either side, up to window − 1 others."""
    side = least(n, window)
    return n + 2 * (side * (side - 1) // 2 + (n - side) * (window - 1))


_ATOMS: dict[str, Callable[[Mapping[str, Any], Any], Any]] = {
    "keys": _keys,
    "cached": _cached,
    "pairs": _pairs,
    "near": lambda work, window: _near(work["seq"], window),
    "source_near": lambda work, window: _near(work["source_new"], window),
}


def with_work(sizes: Mapping[str, Any], work: Workload, symbols: Iterable[str]) -> dict[str, Any]:
    """The table of sizes, with those of the workload that `symbols` name."""
    found = {
        **sizes,
        "batch": work.batch,
        "seq": work.seq,
        "past": work.past,
        "source_seq": work.source_seq,
        "source_new": 0 if work.past else work.source_seq,
        "source_passes": 0 if work.past else 1,
    }
    for symbol in symbols:
        kind, _, window = symbol.partition("(")
        if kind in _ATOMS:
            found[symbol] = _ATOMS[kind](found, sizes[window[:-1]] if window else None)
    return found
