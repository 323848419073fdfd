"""Which steps a step reads: the values in its formula."""

from __future__ import annotations

from archcalc.interp.trace.expression import Value, nodes
from archcalc.interp.trace.run import Trace, Traced


def read_by(trace: Trace, one: Traced) -> tuple[Traced, ...]:
    """Return the steps whose values a step works on, in the order of its formula, each once."""
    named = {other.step.name: other for other in trace.steps}
    found = dict.fromkeys(node.name for node in nodes(one.step.formula) if isinstance(node, Value))
    return tuple(named[name] for name in found if name in named)
