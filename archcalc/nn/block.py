"""A layer: its residual branches, one after another.

Axes: B batch, T tokens, D model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import torch
import torch.nn.functional as F
from msgspec import structs
from torch import Tensor, nn

from archcalc.nn.added_conv import with_convolutions
from archcalc.nn.arm_cache import RecurrentState
from archcalc.nn.attention_context import LayerContext
from archcalc.nn.bottleneck import Bottleneck
from archcalc.nn.global_tokens import normed_apart
from archcalc.nn.input_gate import InputGate
from archcalc.nn.mixers.conv import CausalConv
from archcalc.nn.norm import norm
from archcalc.nn.scaling import ChannelScale, multiply
from archcalc.nn.taps.points import tap, tap_scope
from archcalc.spec import Spec
from archcalc.spec.branches import (
    BranchNames,
    arm_conv,
    arm_norm,
    arm_norm_out,
    arm_sum,
    arms,
    borrowed_names,
    branches,
    first_branches,
    later_branches,
    names,
    names_after,
    norms,
    stream_start,
    tied_norms,
)
from archcalc.spec.execution import Execution
from archcalc.spec.ffn import Gated, PerLayerGate, reads_ids, router_mlp
from archcalc.spec.global_tokens import global_norms
from archcalc.spec.layer import Arm, Branch, GlobalTokens, Layer, Reads
from archcalc.spec.stream_variants import stream_implementation
from archcalc.spec.streams import AnyStreams
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

    `branches` and `arms` are those that a forward pass computes; an idle one still has its modules. With `streams` it
    has several residual streams [B, T, J, D]; with a `bottleneck` its branches work at another width.
    """

    streams: nn.Module | None
    bottleneck: Bottleneck | None

    def __init__(
        self,
        layer: Layer,
        model: Spec,
        streams: AnyStreams | None = None,
        global_tokens: GlobalTokens | None = None,
        index: int = 0,
    ) -> None:
        super().__init__()
        self.branches, self.stream_names = first_branches(layer), names_after(layer)
        self.stream_start, self.bottleneck = stream_start(layer), None
        self.branch_names = [names(branch) for branch in self.branches]
        self.later_branches = later_branches(layer)
        self.streams = stream_implementation(streams, "module")(streams, layer, model, index) if streams else None
        self.token_mixers = {arm.name for arm in arms(layer) if variant(arm.part).mixes_tokens}
        self.per_layer_gates = {arm.name for arm in arms(layer) if isinstance(arm.part, PerLayerGate)}
        self.id_readers = {arm.name for arm in arms(layer) if reads_ids(arm.part)}
        self.routers = {arm.name for arm in arms(layer) if router_mlp(arm.part)}
        self.dropout, self.execution = model.dropout.residual, Execution()
        self.out_scalar: Tensor | None
        if layer.bottleneck is not None:
            self.bottleneck = Bottleneck(layer.bottleneck, model, self.branches[0].arms[0].name)
            model = structs.replace(model, d_model=layer.bottleneck.d_bottleneck)
        self.register_buffer("out_scalar", torch.empty(1) if layer.out_scalar else None)
        self.tied_norms, self.borrowed_names = tied_norms(layer), borrowed_names(layer)
        self.owners: dict[str, Block] = {}
        for branch in branches(layer):
            if branch.weights_of is None:
                self._add_branch(branch, model)
        self.n_global = global_tokens.n_tokens if global_tokens else 0
        self.global_norms = {own: name for own, name, _ in global_norms(layer, global_tokens)}
        for _, name, part in global_norms(layer, global_tokens):
            self.add_module(name, norm(part, model.d_model))

    def _add_branch(self, branch: Branch, model: Spec) -> None:
        """Add the modules of a branch: its arms, norms and gate."""
        own = names(branch)
        for arm in branch.arms:
            self.add_module(arm.name, implementation(arm.part, _MODULES[arm.reads])(arm.part, model))
            if arm.d_out_conv is not None:
                self.add_module(str(arm_conv(arm)), CausalConv(model.d_model, arm.d_out_conv, bias=False))
        for name, part in norms(branch):
            is_wide = own.joined is not None and name == own.norm_in
            if name not in self.tied_norms:
                self.add_module(name, norm(part, model.d_model * (2 if is_wide else 1)))
        if branch.in_gate_rank is not None:
            self.add_module(str(own.in_gate), InputGate(branch.in_gate_rank, model.d_model))
        if branch.skip_weight:
            self.add_module(str(own.skip), ChannelScale(model.d_model, bias=branch.skip_bias))

    def borrow(self, blocks: Mapping[int, Block]) -> None:
        """Use the modules of earlier layers, by their indices, in the branches that have no weights of their own."""
        self.owners = {name: blocks[owner] for name, owner in self.borrowed_names.items()}

    def part_module(self, name: str) -> nn.Module:
        """Return the module of an arm, norm or gate: the layer's own, or that of an earlier layer."""
        return self.owners.get(name, self).get_submodule(name)

    @property
    def arms(self) -> tuple[Arm, ...]:
        """All computed arms, in order."""
        return tuple(arm for branch in (*self.branches, *self.later_branches) for arm in branch.arms)

    def forward(self, x: Tensor, context: LayerContext) -> Tensor:
        """Map states [B, T, D] to states [B, T, D], or streams to streams."""
        if self.bottleneck is not None:
            widened: Tensor = self.bottleneck(
                x, lambda stream, split: self.run_branches(stream, replace(context, split=split)), self.apply_dropout
            )
            return widened
        if self.streams is None:
            return self.run_branches(x, context)
        y: Tensor = self.streams(x, self, context)
        return y

    def run_branches(self, x_BTD: Tensor, context: LayerContext) -> Tensor:
        """Return the residual stream [B, T, D] after the branches that join it."""
        read_BTD = x_BTD = tap(self.stream_start, x_BTD)
        inputs: dict[str, Tensor] = {}
        for branch, branch_names, stream_name in zip(self.branches, self.branch_names, self.stream_names, strict=True):
            if stream_name is None:
                y_BTD = self.branch_output(branch, branch_names, read_BTD, context, inputs)
                y_BTD = x_BTD + y_BTD if branch.joins == "next_sum" else y_BTD
                read_BTD = tap(str(branch_names.next), y_BTD)
                continue
            x_BTD = self.run_branch(branch, branch_names, x_BTD, read_BTD, context, inputs)
            if self.out_scalar is not None and stream_name == "resid_post":
                x_BTD = x_BTD * self.out_scalar
            read_BTD = x_BTD = tap(stream_name, x_BTD)
        return x_BTD

    def run_branch(
        self,
        branch: Branch,
        branch_names: BranchNames,
        x_BTD: Tensor,
        read_BTD: Tensor,
        context: LayerContext,
        inputs: dict[str, Tensor],
    ) -> Tensor:
        """Return the residual stream [B, T, D] after a branch that reads `read_BTD` and whose norms have these names.

        `inputs` are those of the branches so far, by their first arms; the branch adds its own.
        """
        both = read_BTD, read_BTD
        read_BTD = self.branch_input(branch_names, self.joined(branch_names, read_BTD, context))
        inputs[branch.arms[0].name] = read_BTD
        context = self.split_context(branch_names, read_BTD, both, context)
        skip_BTD = self.weigh_skip(branch_names.skip, read_BTD if branch.skip_reads == "normed" else x_BTD)
        sum_BTD = _sum([multiply(skip_BTD, branch.skip), *self.arm_outputs(branch, branch_names, inputs, context)])
        return (
            sum_BTD
            if branch_names.sum is None
            else self.apply_norm(branch_names.norm_after, tap(branch_names.sum, sum_BTD))
        )

    def branch_output(
        self,
        branch: Branch,
        branch_names: BranchNames,
        x_BTD: Tensor,
        context: LayerContext,
        inputs: dict[str, Tensor],
        keys_values: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Return what a branch that reads these states adds, [B, T, D]. `inputs` are as in `run_branch`.

        `keys_values` are the states for keys and for values, if these read others.
        """
        inputs[branch.arms[0].name] = read = self.branch_input(branch_names, self.joined(branch_names, x_BTD, context))
        context = self.split_context(branch_names, read, keys_values or (x_BTD, x_BTD), context)
        return _sum(self.arm_outputs(branch, branch_names, inputs, context))

    def split_context(
        self, branch_names: BranchNames, read_BTD: Tensor, keys_values: tuple[Tensor, Tensor], context: LayerContext
    ) -> LayerContext:
        """Return the context of a branch whose keys and values read norms of their own of these states, if they do."""
        if branch_names.norm_keys is None:
            return context
        keys_BTD = self.apply_norm(branch_names.norm_keys, keys_values[0])
        values_BTD = self.apply_norm(branch_names.norm_values, keys_values[1])
        return replace(context, split={branch_names.first: (read_BTD, keys_BTD, values_BTD)})

    def joined(self, branch_names: BranchNames, x_BTD: Tensor, context: LayerContext) -> Tensor:
        """Return the states, beside the input of the first layer if the branch reads that too: [B, T, 2·D]."""
        if branch_names.joined is None:
            return x_BTD
        assert context.embedded is not None, "a stack with such layers has its input in the context"
        return tap(branch_names.joined, torch.cat((x_BTD, context.embedded), -1))

    def branch_input(self, branch_names: BranchNames, x_BTD: Tensor) -> Tensor:
        """Return what the arms of a branch read [B, T, D]: the states, normed and gated."""
        return self.apply_gate(branch_names.in_gate, self.apply_norm(branch_names.norm_in, x_BTD))

    def arm_outputs(
        self, branch: Branch, branch_names: BranchNames, inputs: dict[str, Tensor], context: LayerContext
    ) -> list[Tensor]:
        """Return what the arms add to the residual stream, [B, T, D] each: the norm of their sum, or each by itself."""
        own = branch.arms[0].name
        outputs = [
            self.arm_output(arm, self.apply_norm(arm_norm(arm), inputs[arm.input_of or own]), context)
            for arm in branch.arms
        ]
        if branch_names.norm_out is not None:
            sum_BTD = _sum(outputs)
            sum_BTD = sum_BTD if branch_names.arms_sum is None else tap(branch_names.arms_sum, sum_BTD)
            outputs = [self.apply_norm(branch_names.norm_out, sum_BTD)]
        scaled = [multiply(y_BTD, branch.scale) for y_BTD in outputs]
        # Within a bottleneck it is what leaves that is dropped out.
        return scaled if self.bottleneck is not None else [self.apply_dropout(y_BTD) for y_BTD in scaled]

    def arm_output(self, arm: Arm, x_BTD: Tensor, context: LayerContext) -> Tensor:
        """Return the output of one arm [B, T, D] after its own norm, with its input if it adds that."""
        y_BTD = self.apply_norm(arm_norm_out(arm), self.run_arm(arm, x_BTD, context))
        name = arm_sum(arm)
        return y_BTD if name is None else tap(name, x_BTD + y_BTD)

    def run_arm(self, arm: Arm, x_BTD: Tensor, context: LayerContext) -> Tensor:
        """Return the output of one arm [B, T, D], before any residual."""
        arguments: tuple[Any, ...] = (context.for_arm(arm),) if arm.name in self.token_mixers else ()
        if isinstance(arm.part, Gated) and arm.part.low_rank is not None:
            arguments = (arm.part.low_rank.active,)
        if arm.name in self.id_readers:
            arguments = (context.ids,)
        if arm.name in self.routers:
            arguments = (context.ids if arm.name in self.id_readers else None, context.router_states(arm.name))
        if arm.name in self.per_layer_gates:
            arguments = (context.per_layer,)
        if arm.name in context.split:
            x_BTD, _, _ = context.split[arm.name]
        x_BTD = multiply(x_BTD, arm.in_scale)
        y_BTD: Tensor = tap_scope(arm.name, self.part_module(arm.name), x_BTD, *arguments)
        return multiply(self.convolve(arm_conv(arm), tap(f"{arm.name}.out", y_BTD), context), arm.scale)

    def convolve(self, name: str | None, y_BTD: Tensor, context: LayerContext) -> Tensor:
        """Return the states plus their convolution of this name; None leaves them as they are."""
        if name is None:
            return y_BTD
        state, convolution = context.caches.get(name), cast(CausalConv, self.part_module(name))
        kept = state if isinstance(state, RecurrentState) else None
        (sum_BTD,) = with_convolutions((convolution,), (y_BTD,), kept, context.own)
        return tap(name, sum_BTD)

    def apply_norm(self, name: str | None, x_BTD: Tensor) -> Tensor:
        """Return the states after the norm of this name; None leaves them as they are."""
        if name is None:
            return x_BTD
        y_BTD: Tensor
        if name in self.global_norms:
            of_global = self.get_submodule(self.global_norms[name])
            y_BTD = normed_apart(x_BTD, self.n_global, self.norm_module(name), of_global)
        else:
            y_BTD = self.norm_module(name)(x_BTD)
        return tap(name, y_BTD)

    def apply_gate(self, name: str | None, x_BTD: Tensor) -> Tensor:
        """Return the states times the gate of this name; None leaves them as they are."""
        return x_BTD if name is None else tap(name, self.part_module(name)(x_BTD))

    def weigh_skip(self, name: str | None, x_BTD: Tensor) -> Tensor:
        """Return what a branch is added to, times the weights of this name; None leaves it as it is."""
        return x_BTD if name is None else cast(Tensor, self.part_module(name)(x_BTD))

    def norm_module(self, name: str) -> nn.Module:
        """Return the module of the norm of this name, which may be that of another norm."""
        return self.part_module(self.tied_norms.get(name, name))

    def apply_dropout(self, y_BTD: Tensor) -> Tensor:
        """Apply residual dropout in training."""
        return F.dropout(y_BTD, self.dropout, self.training and self.execution.dropout)


def _sum(tensors: list[Tensor]) -> Tensor:
    total = tensors[0]
    for tensor in tensors[1:]:
        total = total + tensor
    return total
