"""A layer: its residual branches, one after another.

Axes: B batch, T tokens, D model.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from archcalc.nn.norm import norm
from archcalc.nn.sight import View
from archcalc.nn.taps.points import tap, within
from archcalc.spec import Spec
from archcalc.spec.branches import BranchNames, active_branches, arm_norm, arms, branches, names, norms, stream_names
from archcalc.spec.execution import Execution
from archcalc.spec.layer import Arm, Branch, Layer, Reads
from archcalc.spec.variants import implementation, variant

# Which record of a variant builds an arm's module, by what it reads.
_MODULES: dict[Reads, str] = {
    "stream": "module",
    "source": "module",
    "shared": "query_module",
    "nothing": "module",
}


class Block(nn.Module):
    """One layer of a stack; `archcalc.spec.layer.Branch` says what each branch computes.

    `branches` and `arms` are those that a forward pass goes through; an idle one has its modules all the same.
    """

    def __init__(self, layer: Layer, model: Spec) -> None:
        super().__init__()
        self.branches, self.stream_names = active_branches(layer), stream_names(layer)
        self.names = [names(branch) for branch in self.branches]
        self.mixing = {arm.name for arm in arms(layer) if variant(arm.part).mixes_tokens}
        self.dropout, self.how = model.dropout.residual, Execution()
        for arm in arms(layer):
            self.add_module(arm.name, implementation(arm.part, _MODULES[arm.reads])(arm.part, model))
        for branch in branches(layer):
            for name, part in norms(branch):
                self.add_module(name, norm(part, model.d_model))

    @property
    def arms(self) -> tuple[Arm, ...]:
        """Every arm that is computed, in their order."""
        return tuple(arm for branch in self.branches for arm in branch.arms)

    def forward(self, x_BTD: Tensor, view: View) -> Tensor:
        """States [B, T, D] to states [B, T, D]."""
        x_BTD = tap("resid_pre", x_BTD)
        for branch, own, left in zip(self.branches, self.names, self.stream_names, strict=True):
            x_BTD = tap(left, self.branch(branch, own, x_BTD, view))
        return x_BTD

    def branch(self, branch: Branch, own: BranchNames, x_BTD: Tensor, view: View) -> Tensor:
        """The residual stream [B, T, D] after a branch whose norms have these names."""
        read_BTD = self.normed(own.norm_in, x_BTD)
        skip_BTD = read_BTD if branch.skip_reads == "normed" else x_BTD
        sum_BTD = _sum([scaled(skip_BTD, branch.skip), *self.joining(branch, own, read_BTD, view)])
        return sum_BTD if own.sum is None else self.normed(own.norm_after, tap(own.sum, sum_BTD))

    def joining(self, branch: Branch, own: BranchNames, read_BTD: Tensor, view: View) -> list[Tensor]:
        """What the arms add to the residual stream, [B, T, D] each: the norm of their sum, or each by itself."""
        outputs = [self.part(arm, self.normed(arm_norm(arm), read_BTD), view) for arm in branch.arms]
        if own.norm_out is not None:
            summed_BTD = _sum(outputs)
            summed_BTD = summed_BTD if own.arms_sum is None else tap(own.arms_sum, summed_BTD)
            outputs = [self.normed(own.norm_out, summed_BTD)]
        return [self.dropped(scaled(y_BTD, branch.scale)) for y_BTD in outputs]

    def part(self, arm: Arm, x_BTD: Tensor, view: View) -> Tensor:
        """The output of one arm's part [B, T, D], before any residual."""
        context = (view.of(arm),) if arm.name in self.mixing else ()
        y_BTD: Tensor = within(arm.name, self.get_submodule(arm.name), x_BTD, *context)
        return tap(f"{arm.name}.out", y_BTD)

    def normed(self, name: str | None, x_BTD: Tensor) -> Tensor:
        """The states through the norm of this name; as they are, where there is none."""
        if name is None:
            return x_BTD
        y_BTD: Tensor = self.get_submodule(name)(x_BTD)
        return tap(name, y_BTD)

    def dropped(self, y_BTD: Tensor) -> Tensor:
        """What is about to join the residual stream, some of it dropped in training."""
        return F.dropout(y_BTD, self.dropout, self.training and self.how.dropout)


def scaled(x: Tensor, times: float) -> Tensor:
    """A tensor times a number; itself, for 1."""
    return x if times == 1 else x * times


def _sum(tensors: list[Tensor]) -> Tensor:
    total = tensors[0]
    for tensor in tensors[1:]:
        total = total + tensor
    return total
