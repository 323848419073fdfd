"""Direct logit attribution: what each part of a model adds to a logit (Elhage et al. 2021; Wang et al. 2022).

With the scales of norms frozen at their values in the recorded pass, a logit is a sum over the parts that write to the
residual stream. A direction is pulled back from the logit through the final norm and through every branch; a part's
contribution is the product of its output and the direction there. So models with norms after branches or sums, and with
multipliers, are exact too.

Axes: N heads, T tokens, S key tokens, D model, U value width, Z all heads' values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from archcalc.errors import InputError
from archcalc.interp.checks import check_no_bottleneck, check_one_stream, check_position
from archcalc.interp.heads.arms import AttentionArm, attention_arms, check_memory
from archcalc.interp.heads.attribution_result import ContributionPart
from archcalc.interp.heads.frozen_head import FrozenHead, frozen_head
from archcalc.interp.heads.linear_steps import FrozenNorm, LinearStep, Multiply, Sum, frozen
from archcalc.interp.model_inputs import model_inputs
from archcalc.interp.readout import read_stack
from archcalc.nn.linear import dense_weight
from archcalc.nn.taps import record
from archcalc.nn.taps.model_tap import canonical_spec
from archcalc.nn.taps.record import Recording
from archcalc.spec.branches import (
    BranchNames,
    active_branches,
    arm_norm,
    arm_norm_out,
    arm_sum,
    arms,
    names,
    stream_names,
)
from archcalc.spec.groups import layers_of, weight_indices
from archcalc.spec.layer import Arm, Branch, Layer
from archcalc.spec.model import Spec
from archcalc.spec.variants import variant
from archcalc.words import msg


@dataclass(frozen=True)
class Contribution:
    """What one part adds to the logit. `head` is None for parts that are no head."""

    path: str
    part: ContributionPart
    value: float
    layer: int | None = None
    head: int | None = None


@dataclass
class Attribution:
    """The parts of one logit, or of the difference of two, at one position.

    `contributions` sum to `logit` with `remainder`, the rounding of the forward pass. `edges` has the contribution of
    every token that is read by path: [N, S], each row the sum of its head; `arms` says what each path is. `logit` is
    before a softcap of the head.
    """

    position: int
    token: int
    against: int | None
    logit: float
    contributions: list[Contribution] = field(default_factory=list)
    edges: dict[str, Tensor] = field(default_factory=dict)
    patterns: dict[str, Tensor] = field(default_factory=dict)
    promoted_ids: dict[tuple[str, int], list[int]] = field(default_factory=dict)
    arms: dict[str, AttentionArm] = field(default_factory=dict)

    @property
    def remainder(self) -> float:
        """Return the logit less the sum of all contributions."""
        return self.logit - sum(one.value for one in self.contributions)


@torch.inference_mode()
def attribute(
    model: Any,
    ids: Sequence[int],
    target: Sequence[int] | None = None,
    *,
    position: int | None = None,
    token: int | None = None,
    against: int | None = None,
    n_promoted: int = 3,
    progress: Callable[[int], object] = lambda n: None,
) -> Attribution:
    """Return what the embedding, each head, attention bias, feed-forward and mixer add to a logit at a position.

    `model` comes from `archcalc.load_model` or `archcalc.random_model`. An encoder-decoder reads `ids` as its
    source and `target` as the decoder's tokens, of which `position` is one (default: the last). `token` is the one
    whose logit is attributed (default: the likeliest), less that of `against` if it is given. A head's contribution
    is split by key token: its weight times the value of that token. An attention whose output is no sum over heads
    (subtracted in pairs, rotated back, projected by experts, convolved) is one part. The scales of norms are
    frozen; so are patterns and hidden units, as in any direct attribution, and the activation of a head that has
    one (BERT). `n_promoted`: the tokens that each head's output raises most. `progress` is called with 1 after each
    layer.

    Raises InputError for invalid ids, a packed model, and a model that predicts no tokens; TooLargeError before memory
    runs out.
    """
    spec = canonical_spec(model)
    stack = read_stack(spec)
    check_one_stream(spec)
    check_no_bottleneck(stack)
    _check_layers(layers_of(stack.stack))
    texts = model_inputs(model, ids, target)
    place = check_position(position, texts[-1].shape[1])
    arms = {
        arm.path: arm
        for arm in attention_arms(spec)
        if arm.adds_heads and arm.path.startswith(f"{stack.prefix}layers.")
    }
    sites = list(_sites(spec, arms))
    check_memory(model, sites, texts)
    values = record(model, *texts, sites=sites)
    found = _Reading(model, spec, values, arms, place)
    return found.attribute(token, against, n_promoted, progress)


def _check_layers(layers: Sequence[Layer]) -> None:
    """Raise InputError for an arm that adds the input of an earlier branch, or a branch that adds a gated input.

    And for a branch that the next one reads.
    """
    if any(arm.skip and arm.input_of for layer in layers for arm in arms(layer)):
        raise InputError(msg("an arm adds the input of an earlier branch"), where="skip", allowed="false")
    if any(branch.joins in ("next", "next_sum") for layer in layers for branch in active_branches(layer)):
        raise InputError(msg("a branch is read by the next one"), where="joins", allowed="stream")
    if any(arm.d_out_conv for layer in layers for arm in arms(layer)):
        raise InputError(msg("outputs are convolved over tokens"), where="d_out_conv", allowed="null")
    gated = [branch for layer in layers for branch in active_branches(layer) if branch.in_gate_rank]
    if any(branch.skip_reads == "normed" or any(arm.skip for arm in branch.arms) for branch in gated):
        raise InputError(msg("a gated input is added"), where="in_gate_rank", allowed="null")


def _sites(spec: Spec, arms: dict[str, AttentionArm]) -> Iterator[str]:
    """Yield the sites that an attribution reads."""
    stack = spec.stacks[-1]
    yield f"{stack.prefix}embed"
    for i, layer in enumerate(layers_of(stack.stack)):
        path = f"{stack.prefix}layers.{i}."
        yield f"{path}resid_pre"
        yield from (path + name for name in stream_names(layer))
        for branch in active_branches(layer):
            yield from (f"{path}{arm.name}.out" for arm in branch.arms)
            own = names(branch)
            after = (name for arm in branch.arms for name in (arm_norm_out(arm), arm_sum(arm)))
            read = own.norm_in if any(arm.skip for arm in branch.arms) else None
            yield from (path + name for name in (read, *after, own.arms_sum, own.sum) if name)
    for path, arm in arms.items():
        yield from (f"{path}.values", f"{path}.pattern", f"{arm.key_path}.v")
        if arm.n_global:
            yield f"{path}.global_v"
        if getattr(arm.part, "gate", None) is not None:
            yield f"{path}.gate"


# Steps from a place before a branch to one after it, and the direction before them.
_Path = tuple[tuple[LinearStep, ...], Tensor]


def _total(paths: Sequence[_Path]) -> Tensor:
    """Return the sum of the directions of some paths."""
    first, *others = (direction_D for _, direction_D in paths)
    return sum(others, first)


class _Reading:
    """The recorded values of one position, and the steps from each branch to the logit."""

    def __init__(self, model: Any, spec: Spec, values: Recording, arms: dict[str, AttentionArm], position: int) -> None:
        self.model, self.spec, self.values, self.arms, self.position = model, spec, values, arms, position
        self.model_stack = spec.stacks[-1]
        self.module = model.decoder if spec.encoder and spec.decoder else model
        self.owners = weight_indices(self.model_stack.stack)

    def at(self, name: str) -> Tensor:
        """Return a state [D] at the position, in float64."""
        return self.values[self.model_stack.prefix + name][0, self.position].double()

    def attribute(
        self, token: int | None, against: int | None, n_promoted: int, progress: Callable[[int], object]
    ) -> Attribution:
        """Return the attribution of a token's logit."""
        logits_V = self._logits()
        token = int(logits_V.argmax()) if token is None else token
        for where, one in (("token", token), ("against", against)):
            if one is not None and not 0 <= one < len(logits_V):
                raise InputError(
                    msg("found {found}", found=one), where=where, allowed=msg("0 to {last}", last=len(logits_V) - 1)
                )
        logit = float(logits_V[token] - (0.0 if against is None else logits_V[against]))
        found = Attribution(self.position, token, against, logit, arms=self.arms)
        direction_D = self._direction(self._head.matrix, token, against)
        if bias := self._head_bias(token, against):
            found.contributions.append(Contribution("head", "head_bias", bias))
        later: list[LinearStep] = []
        if self.module.final_norm is not None:
            last = len(self.owners) - 1
            norm = frozen(self.module.final_norm, self.at(f"layers.{last}.resid_post"))
            direction_D = self._through(found, f"{self.model_stack.prefix}final_norm", norm, direction_D, None)
            later = [norm]
        for i, layer in reversed(list(enumerate(layers_of(self.model_stack.stack)))):
            befores = ["resid_pre", *stream_names(layer)]
            scalar = self.module.layers[str(self.owners[i])].out_scalar
            if scalar is not None:
                step = Multiply(float(scalar))
                direction_D = step.pull_back(direction_D)
                later.insert(0, step)
            for branch, before in reversed(list(zip(active_branches(layer), befores, strict=False))):
                direction_D = self._branch(found, i, branch, before, direction_D, later, n_promoted)
            progress(1)
        embed_D = self.at("embed")
        found.contributions.append(
            Contribution(f"{self.model_stack.prefix}embed", "embedding", float(direction_D @ embed_D))
        )
        found.contributions.reverse()
        return found

    def _branch(
        self,
        found: Attribution,
        i: int,
        branch: Branch,
        before: str,
        direction_D: Tensor,
        later: list[LinearStep],
        n_promoted: int,
    ) -> Tensor:
        """Add the contributions of a branch; return the direction before it. `later` are the steps after it."""
        own, block, path = names(branch), self.module.layers[str(self.owners[i])], f"layers.{i}."
        full = self.model_stack.prefix + path
        if own.norm_after is not None:
            norm = frozen(block.norm_module(own.norm_after), self.at(f"{path}{own.sum}"))
            direction_D = self._through(found, full + own.norm_after, norm, direction_D, i)
            later.insert(0, norm)
        arm_steps: list[LinearStep] = [Multiply(branch.scale)]
        arm_direction_D = direction_D * branch.scale
        if own.norm_out is not None:
            norm = frozen(block.norm_module(own.norm_out), self._summed(branch, own, path))
            arm_direction_D = self._through(found, full + own.norm_out, norm, arm_direction_D, i)
            arm_steps.insert(0, norm)
        skips: list[_Path] = []
        for arm in reversed(branch.arms):
            if arm.skip:
                skips.append(
                    self._arm_skip(found, i, arm, block, path + (own.norm_in or before), arm_direction_D, arm_steps)
                )
            read_D, steps = arm_direction_D, [*arm_steps, *later]
            if name := arm_norm_out(arm):
                norm = frozen(block.norm_module(name), self.at(f"{path}{arm.name}.out") * arm.scale)
                read_D, steps = self._through(found, full + name, norm, read_D, i), [norm, *steps]
            steps = [Multiply(arm.scale), *steps]
            self._arm(found, i, arm, block.part_module(arm.name), read_D * arm.scale, steps, n_promoted)
        factor: float | Tensor = branch.skip
        if own.skip is not None:
            scale = block.part_module(own.skip)
            factor = scale.weight.double() * branch.skip
            if scale.bias is not None:
                value = float((scale.bias.double() * factor) @ direction_D)
                found.contributions.append(Contribution(full + own.skip, "norm_bias", value, i))
        skip: _Path = (Multiply(factor),), direction_D * factor
        of_stream = [] if branch.skip_reads == "normed" else [skip]
        of_normed = skips if of_stream else [skip, *skips]
        if own.norm_in is not None and of_normed:
            norm = frozen(block.norm_module(own.norm_in), self.at(path + before))
            total_D = self._through(found, full + own.norm_in, norm, _total(of_normed), i)
            of_normed = [((norm, Sum(tuple(steps for steps, _ in of_normed))), total_D)]
        paths = [*of_stream, *of_normed]
        later[:0] = paths[0][0] if len(paths) == 1 else [Sum(tuple(steps for steps, _ in paths))]
        return _total(paths)

    def _arm_skip(
        self,
        found: Attribution,
        i: int,
        arm: Arm,
        block: Any,
        read: str,
        direction_D: Tensor,
        steps: Sequence[LinearStep],
    ) -> _Path:
        """Return the steps from what an arm reads and adds to its output, and the direction there."""
        name = arm_norm(arm)
        if name is None:
            return tuple(steps), direction_D
        norm = frozen(block.norm_module(name), self.at(read))
        full = f"{self.model_stack.prefix}layers.{i}.{name}"
        return (norm, *steps), self._through(found, full, norm, direction_D, i)

    def _summed(self, branch: Branch, own: BranchNames, path: str) -> Tensor:
        """Return what the norm after the arms of a branch reads."""
        first = branch.arms[0]
        if name := own.arms_sum or arm_sum(first) or arm_norm_out(first):
            return self.at(f"{path}{name}")
        return self.at(f"{path}{first.name}.out") * first.scale

    def _arm(
        self,
        found: Attribution,
        i: int,
        arm: Arm,
        module: Any,
        direction_D: Tensor,
        steps: list[LinearStep],
        n_promoted: int,
    ) -> None:
        path = f"{self.model_stack.prefix}layers.{i}.{arm.name}"
        if path in self.arms:
            self._attention(found, self.arms[path], module, direction_D, steps, n_promoted)
            return
        out_D = self.at(f"layers.{i}.{arm.name}.out")
        found.contributions.append(Contribution(path, variant(arm.part).component, float(direction_D @ out_D), i))

    def _attention(
        self,
        found: Attribution,
        arm: AttentionArm,
        module: Any,
        direction_D: Tensor,
        steps: list[LinearStep],
        n_promoted: int,
    ) -> None:
        """Add the contributions of an attention's bias and heads, and the edges of each head."""
        path = arm.path
        gated_NU = self._gated(path, self.values[f"{path}.values"][0, :, self.position].double())
        weight_DZ = dense_weight(module.out, gated_NU.numel()).double()
        direction_Z, bias, norm = weight_DZ.T @ direction_D, 0.0, None
        if module.out.bias is not None:
            bias += float(module.out.bias.double() @ direction_D)
        if getattr(module, "out_norm", None) is not None:
            norm = frozen(module.out_norm, gated_NU.flatten())
            bias += float(norm.bias @ direction_Z) if norm.bias is not None else 0.0
            direction_Z = norm.pull_back(direction_Z)
        if module.out.bias is not None or bias:
            found.contributions.append(Contribution(path, "attention_bias", bias, arm.layer))
        by_head_N = (direction_Z.view_as(gated_NU) * gated_NU).sum(-1)
        found.contributions += [
            Contribution(path, "head", float(by_head_N[n]), arm.layer, n) for n in reversed(range(arm.n_heads))
        ]
        pattern_NS = self.values[f"{path}.pattern"][0, :, self.position].double()
        is_global = self.position < arm.n_global
        value_NSU = self.values[f"{path}.global_v" if is_global else f"{arm.key_path}.v"][0].double()
        value_NSU = value_NSU[[arm.kv_head(n) for n in range(arm.n_heads)]]
        read_NU = self._gated(path, direction_Z.view_as(gated_NU))
        found.edges[path] = pattern_NS * torch.einsum("nsu,nu->ns", value_NSU, read_NU)
        found.patterns[path] = pattern_NS
        if n_promoted:
            heads_NNU = torch.diag_embed(gated_NU.T).permute(1, 2, 0)
            outputs_ND = self._outputs(heads_NNU.flatten(1), weight_DZ, norm, steps)
            for n, top in enumerate((outputs_ND @ self._head.matrix.T).topk(n_promoted).indices.tolist()):
                found.promoted_ids[path, n] = top

    @staticmethod
    def _outputs(x_NZ: Tensor, weight_DZ: Tensor, norm: FrozenNorm | None, steps: list[LinearStep]) -> Tensor:
        """Return what each head adds to the states that the head of the model reads, [N, D]."""
        x_ND = (x_NZ if norm is None else norm.apply(x_NZ)) @ weight_DZ.T
        for step in steps:
            x_ND = step.apply(x_ND)
        return x_ND

    def _gated(self, path: str, x_NU: Tensor) -> Tensor:
        gate = f"{path}.gate"
        return x_NU * self.values[gate][0, :, self.position].double() if gate in self.values else x_NU

    @staticmethod
    def _through(found: Attribution, path: str, norm: FrozenNorm, direction_D: Tensor, layer: int | None) -> Tensor:
        """Return the direction before a norm, and add the contribution of its bias."""
        if norm.bias is not None:
            found.contributions.append(Contribution(path, "norm_bias", float(norm.bias @ direction_D), layer))
        return norm.pull_back(direction_D)

    @cached_property
    def _head(self) -> FrozenHead:
        return frozen_head(self.model.head, self.model.embed.tokens.weight, self._final)

    @cached_property
    def _final(self) -> Tensor:
        """Return the state that the head reads, in float64."""
        name = f"{self.model_stack.prefix}layers.{len(self.owners) - 1}.resid_post"
        last_D = self.values[name][:, self.position]
        x_D: Tensor = (last_D if self.module.final_norm is None else self.module.final_norm(last_D))[0]
        return x_D.double()

    @staticmethod
    def _direction(weight_VD: Tensor, token: int, against: int | None) -> Tensor:
        return weight_VD[token] if against is None else weight_VD[token] - weight_VD[against]

    def _head_bias(self, token: int, against: int | None) -> float:
        bias_V = self._head.bias
        return float(bias_V[token] - (0.0 if against is None else bias_V[against]))

    def _logits(self) -> Tensor:
        """Return the logits [V] at the position, before a softcap."""
        if self.spec.head is None or self.spec.head.softcap is None:
            recorded_V: Tensor = self.values.logits[0, self.position].double()
            return recorded_V
        return self._head.matrix @ self._final + self._head.bias
