"""A forward pass step by step, each step with its formula and its value: `archcalc.trace`.

Examples:
    >>> import archcalc
    >>> model = archcalc.load_model("tiny")
    >>> trace = archcalc.trace.run(model, [1, 2, 3])
    >>> trace["probabilities"].shape
    torch.Size([3, 2048])
    >>> archcalc.trace.attentions(trace)[0]
    'layers.0.attn'
    >>> row = archcalc.trace.softmax(model, trace, "layers.0.attn", head=0, query=2)
    >>> [stage.name for stage in row.stages]
    ['dots', 'scaled', 'masked', 'shifted', 'exps', 'sum', 'shares']
    >>> archcalc.trace.target(trace, 7).rank <= 2048
    True
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from archcalc._lazy import lookup

if TYPE_CHECKING:
    from archcalc.interp.trace.run import Trace, TracedStep
    from archcalc.interp.trace.run import trace as run
    from archcalc.interp.trace.softmax import SoftmaxRow, SoftmaxStage, attentions
    from archcalc.interp.trace.softmax import softmax_of as softmax
    from archcalc.interp.trace.step import Step
    from archcalc.interp.trace.target import Target, target

__all__ = [
    "SoftmaxRow",
    "SoftmaxStage",
    "Step",
    "Target",
    "Trace",
    "TracedStep",
    "attentions",
    "run",
    "softmax",
    "target",
]

_HOMES = {
    "SoftmaxRow": "archcalc.interp.trace.softmax:SoftmaxRow",
    "SoftmaxStage": "archcalc.interp.trace.softmax:SoftmaxStage",
    "Step": "archcalc.interp.trace.step:Step",
    "Target": "archcalc.interp.trace.target:Target",
    "Trace": "archcalc.interp.trace.run:Trace",
    "TracedStep": "archcalc.interp.trace.run:TracedStep",
    "attentions": "archcalc.interp.trace.softmax:attentions",
    "run": "archcalc.interp.trace.run:trace",
    "softmax": "archcalc.interp.trace.softmax:softmax_of",
    "target": "archcalc.interp.trace.target:target",
}


def _check() -> None:
    from archcalc.extras import require
    from archcalc.words import msg

    require("torch", does=msg("tracing a model"), extra="model")


__getattr__ = lookup(__name__, _HOMES, _check)


def __dir__() -> list[str]:
    return __all__
