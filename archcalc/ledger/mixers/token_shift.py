"""Mixtures of each token's input with that of the token before it (RWKV)."""

from __future__ import annotations

from collections.abc import Sequence

from archcalc.ledger.algebra import Poly
from archcalc.ledger.forward_context import save
from archcalc.ledger.leaves import Component, Elementwise, Forward, State, Weight
from archcalc.ledger.linear import linear
from archcalc.ledger.tensor import Tensor


def shifted_projections(x: Tensor, widths: Sequence[tuple[str, Poly]], component: Component) -> Forward[list[Tensor]]:
    """Yield the leaves of projections of `x`, each of a mixture of its own; return their outputs.

    A mixture saves both inputs. The state is the last token's.
    """
    yield State("last", (x.axes[-1],))
    before = x.new("previous token")
    outputs = []
    for name, width in widths:
        yield Weight(f"mix_{name}", (x.axes[-1],), component)
        yield Elementwise(f"mix_{name}", x.axes, component, "product")
        yield from save(f"mix_{name}", component, before, x)
        outputs.append((yield from linear(name, x.new(f"mixture {name}"), width, component, bias=False)))
    return outputs
