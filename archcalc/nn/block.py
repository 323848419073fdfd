"""A layer: its residual branches, one after another.

Axes: B batch, T tokens, D model.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archcalc.nn.attention_context import LayerContext
from archcalc.nn.norm import norm
from archcalc.nn.taps.points import tap, tap_scope
from archcalc.spec import Spec
from archcalc.spec.branches import BranchNames, active_branches, arm_norm, arms, branches, names, norms, stream_names
from archcalc.spec.execution import Execution
from archcalc.spec.layer import Arm, Branch, Layer, Reads
from archcalc.spec.variants import implementation, variant

# The key of a variant's record that builds an arm's module, by what the arm reads.
_MODULES: dict[Reads, str] = {
    "stream": "module",
    "source": "module",
    "shared": "query_module",
    "nothing": "module",
}


class Block(nn.Module):
    """One layer of a stack; `archcalc.spec.layer.Branch` defines what each branch computes.

    `branches` and `arms` are those that a forward pass computes; an idle one still has its modules.
    """

    def __init__(self, layer: Layer, model: Spec) -> None:
        super().__init__()
        self.branches, self.stream_names = active_branches(layer), stream_names(layer)
        self.branch_names = [names(branch) for branch in self.branches]
        self.token_mixers = {arm.name for arm in arms(layer) if variant(arm.part).mixes_tokens}
        self.dropout, self.execution = model.dropout.residual, Execution()
        self.out_scalar: Tensor | None
        self.register_buffer("out_scalar", torch.empty(1) if layer.out_scalar else None)
        for arm in arms(layer):
            self.add_module(arm.name, implementation(arm.part, _MODULES[arm.reads])(arm.part, model))
        for branch in branches(layer):
            for name, part in norms(branch):
                self.add_module(name, norm(part, model.d_model))

    @property
    def arms(self) -> tuple[Arm, ...]:
        """All computed arms, in order."""
        return tuple(arm for branch in self.branches for arm in branch.arms)

    def forward(self, x_BTD: Tensor, context: LayerContext) -> Tensor:
        """Map states [B, T, D] to states [B, T, D]."""
        x_BTD = input_BTD = tap("resid_pre", x_BTD)
        for branch, branch_names, stream_name in zip(self.branches, self.branch_names, self.stream_names, strict=True):
            x_BTD = self.run_branch(branch, branch_names, x_BTD, input_BTD, context)
            if self.out_scalar is not None and stream_name == "resid_post":
                x_BTD = x_BTD * self.out_scalar
            x_BTD = tap(stream_name, x_BTD)
        return x_BTD

    def run_branch(
        self, branch: Branch, branch_names: BranchNames, x_BTD: Tensor, input_BTD: Tensor, context: LayerContext
    ) -> Tensor:
        """Return the residual stream [B, T, D] after a branch whose norms have these names.

        `input_BTD` is the residual stream before the layer.
        """
        read_BTD = input_BTD if branch.arms_read == "layer_input" else x_BTD
        read_BTD = self.apply_norm(branch_names.norm_in, read_BTD)
        skip_BTD = read_BTD if branch.skip_reads == "normed" else x_BTD
        sum_BTD = _sum([multiply(skip_BTD, branch.skip), *self.arm_outputs(branch, branch_names, read_BTD, context)])
        return (
            sum_BTD
            if branch_names.sum is None
            else self.apply_norm(branch_names.norm_after, tap(branch_names.sum, sum_BTD))
        )

    def arm_outputs(
        self, branch: Branch, branch_names: BranchNames, read_BTD: Tensor, context: LayerContext
    ) -> list[Tensor]:
        """Return what the arms add to the residual stream, [B, T, D] each: the norm of their sum, or each by itself."""
        outputs = [self.run_arm(arm, self.apply_norm(arm_norm(arm), read_BTD), context) for arm in branch.arms]
        if branch_names.norm_out is not None:
            sum_BTD = _sum(outputs)
            sum_BTD = sum_BTD if branch_names.arms_sum is None else tap(branch_names.arms_sum, sum_BTD)
            outputs = [self.apply_norm(branch_names.norm_out, sum_BTD)]
        return [self.apply_dropout(multiply(y_BTD, branch.scale)) for y_BTD in outputs]

    def run_arm(self, arm: Arm, x_BTD: Tensor, context: LayerContext) -> Tensor:
        """Return the output of one arm [B, T, D], before any residual."""
        arguments = (context.for_arm(arm),) if arm.name in self.token_mixers else ()
        y_BTD: Tensor = tap_scope(arm.name, self.get_submodule(arm.name), x_BTD, *arguments)
        return tap(f"{arm.name}.out", y_BTD)

    def apply_norm(self, name: str | None, x_BTD: Tensor) -> Tensor:
        """Return the states after the norm of this name; None leaves them as they are."""
        if name is None:
            return x_BTD
        y_BTD: Tensor = self.get_submodule(name)(x_BTD)
        return tap(name, y_BTD)

    def apply_dropout(self, y_BTD: Tensor) -> Tensor:
        """Apply residual dropout in training."""
        return F.dropout(y_BTD, self.dropout, self.training and self.execution.dropout)


def multiply(x: Tensor, factor: float) -> Tensor:
    """Return a tensor times a number; the tensor itself for 1."""
    return x if factor == 1 else x * factor


def _sum(tensors: list[Tensor]) -> Tensor:
    total = tensors[0]
    for tensor in tensors[1:]:
        total = total + tensor
    return total
