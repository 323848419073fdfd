"""The inputs of a step: the steps whose values its expression uses."""

from __future__ import annotations

from archcalc.interp.trace.expression import Value, nodes
from archcalc.interp.trace.run import Trace, TracedStep


def step_inputs(trace: Trace, traced: TracedStep) -> tuple[TracedStep, ...]:
    """Return the steps whose values a step uses, in the order of its expression, each once."""
    by_name = {other.step.name: other for other in trace.steps}
    names = dict.fromkeys(node.name for node in nodes(traced.step.expression) if isinstance(node, Value))
    return tuple(by_name[name] for name in names if name in by_name)
