"""Attribution patching: a first-order estimate of every effect from one backward pass (Nanda 2023).

Axes: B batch of one, T tokens.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor

from archcalc.interp.partial_pass import PartialPass
from archcalc.interp.patch.cells import index_of
from archcalc.interp.patch.metric import AnswerMetric
from archcalc.interp.patch.targets import PatchTarget
from archcalc.nn.taps import Edit
from archcalc.nn.taps.record import Recording


def gradients(
    run: PartialPass, corruption: Sequence[Edit], metric: AnswerMetric, names: Collection[str]
) -> tuple[Recording, dict[str, Tensor]]:
    """Return the values of a corrupted pass and the gradients of the metric at them, by site name."""
    leaves = [
        Edit(f"{stack.prefix}embed", None, lambda x: x.detach().requires_grad_()) for stack in run.model.spec.stacks
    ]
    with torch.enable_grad():
        corrupted = run([*corruption, *leaves], names)
        values = [corrupted.recording[name] for name in names]
        grads = torch.autograd.grad(metric(corrupted.logits_BV).sum(), values, allow_unused=True)
    return corrupted.recording, {
        name: torch.zeros_like(value) if grad is None else grad
        for name, value, grad in zip(names, values, grads, strict=True)
    }


def estimates(target: PatchTarget, clean: Recording, corrupted: Recording, grads: Mapping[str, Tensor]) -> Tensor:
    """Return the estimated change of the metric from restoring a target at each position [T], in float64."""
    total: Tensor | None = None
    for site in target.sites:
        change = (clean[site.name][0] - corrupted[site.name][0]).detach().double() * grads[site.name][0].double()
        change = change[index_of(site, target, None)]
        axes = [axis for axis in site.axes[1:] if axis != target.axis or target.index is None]
        by_position = change.movedim(axes.index("T"), 0).flatten(1).sum(-1) if change.dim() > 1 else change
        total = by_position if total is None else total + by_position
    assert total is not None, "a target has sites"
    return total.cpu()
