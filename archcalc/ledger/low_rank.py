"""Low-rank pairs of matrices beside the projections of a part."""

from __future__ import annotations

from archcalc.ledger.algebra import Poly
from archcalc.ledger.leaves import Component, Forward, Matmul, Save, Weight
from archcalc.ledger.symbols import Symbols
from archcalc.ledger.tensor import Tensor
from archcalc.spec.low_rank import LowRank


def beside(
    part: LowRank | None, name: str, x: Tensor, y: Tensor, out: Poly, d: Symbols, component: Component
) -> Forward[Tensor]:
    """Yield the leaves of all pairs' weights, and of the products of one, from `x` to `out` channels.

    Return the sum of `y` and of what the pair gives; `y` itself without pairs.
    """
    if part is None:
        return y
    low = yield from _linear(f"{name}.down", x, d.pair_rank, d, component)
    yield from _linear(f"{name}.up", low, out, d, component)
    return y.new(f"{y.label} with its pair")


def _linear(name: str, x: Tensor, out: Poly, d: Symbols, component: Component) -> Forward[Tensor]:
    yield Weight(f"{name}.weight", (d.n_pairs, out, x.axes[-1]), component)
    yield Save(name, x, component)
    yield Matmul(name, (*x.axes, out), component)
    return x.new(name, *x.axes[:-1], out)
