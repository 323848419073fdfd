"""Which steps a step reads: the names in its formula that stand for values, not for weights."""

from __future__ import annotations

import re
from collections.abc import Iterator

from archcalc.interp.trace.run import Trace, Traced

# Which arguments of a function name a module, whose weights it uses; every other name is a value.
WEIGHTS = {
    "rows": (0,),
    "linear": (1, 2),
    "scaled": (1,),
    "norm": (1,),
    "experts": (2,),
    "hidden": (1,),
    "by_head": (0,),
}
_PIECE = re.compile(r"(?<![\w.])[A-Za-z_][\w.]*\(?|[(),]")


def read_by(trace: Trace, one: Traced) -> tuple[Traced, ...]:
    """The steps whose values a step works on, in the order of its formula, each once.

    >>> list(values_in("linear(joined(layers.1.attn.values), layers.0.attn.out) + embed"))
    ['layers.1.attn.values', 'embed']
    """
    named = {other.step.name: other for other in trace.steps}
    found = dict.fromkeys(values_in(one.step.formula))
    return tuple(named[name] for name in found if name in named)


def values_in(formula: str) -> Iterator[str]:
    """The names in a formula that stand for values; of layers that share weights, a module is called as a step is."""
    inside: list[tuple[str, int]] = []  # the functions that are open, and which argument each is at
    for piece in _PIECE.findall(formula):
        if piece.endswith("("):
            inside.append((piece[:-1], 0))
        elif piece == ")":
            inside.pop()
        elif piece == ",":
            function, place = inside.pop()
            inside.append((function, place + 1))
        elif not inside or inside[-1][1] not in WEIGHTS.get(inside[-1][0], ()):
            yield piece
