"""A forward pass step by step, each step with its formula and its value: `archcalc.trace`.

>>> import archcalc
>>> model = archcalc.load_model("tiny")
>>> found = archcalc.trace.run(model, [1, 2, 3])
>>> found["probabilities"].shape
torch.Size([3, 2048])
>>> archcalc.trace.attentions(found)[0]
'layers.0.attn'
>>> row = archcalc.trace.softmax(model, found, "layers.0.attn", head=0, query=2)
>>> [stage.name for stage in row.stages]
['dots', 'scaled', 'masked', 'shifted', 'exps', 'sum', 'shares']
>>> archcalc.trace.target(found, 7).rank <= 2048
True
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from archcalc._lazy import lookup

if TYPE_CHECKING:
    from archcalc.interp.trace.run import Trace, Traced
    from archcalc.interp.trace.run import trace as run
    from archcalc.interp.trace.softmax import Softmaxed, Stage
    from archcalc.interp.trace.softmax import parts as attentions
    from archcalc.interp.trace.softmax import softmax_of as softmax
    from archcalc.interp.trace.stages import Step
    from archcalc.interp.trace.target import Target, target

__all__ = ["Softmaxed", "Stage", "Step", "Target", "Trace", "Traced", "attentions", "run", "softmax", "target"]

_HOMES = {
    "Softmaxed": "archcalc.interp.trace.softmax:Softmaxed",
    "Stage": "archcalc.interp.trace.softmax:Stage",
    "Step": "archcalc.interp.trace.stages:Step",
    "Target": "archcalc.interp.trace.target:Target",
    "Trace": "archcalc.interp.trace.run:Trace",
    "Traced": "archcalc.interp.trace.run:Traced",
    "attentions": "archcalc.interp.trace.softmax:parts",
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
