"""The recorded values of a pass at one position, pulled back from a logit to the embedding.

Axes: N heads, S key tokens, C width of a layer's branches, D model, U value width, Z all heads' values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, Final

import torch
from torch import Tensor

from archcalc.errors import InputError
from archcalc.interp.heads import attribution_cycles
from archcalc.interp.heads.arms import AttentionArm
from archcalc.interp.heads.attribution_result import ContributionPart
from archcalc.interp.heads.contributions import Attribution, Contribution
from archcalc.interp.heads.frozen_head import FrozenHead, frozen_head
from archcalc.interp.heads.linear_steps import (
    FrozenNorm,
    LinearStep,
    Multiply,
    Path,
    Project,
    Sum,
    along,
    frozen,
    joined,
    projection,
    total,
)
from archcalc.interp.learned_keys import learned_pairs
from archcalc.nn.arm_cache import Pair
from archcalc.nn.linear import dense_weight
from archcalc.nn.taps.record import Recording
from archcalc.spec.branches import (
    BranchNames,
    active_branches,
    arm_conv,
    arm_norm,
    arm_norm_out,
    arm_sum,
    first_branches,
    names,
    stream_names,
    stream_start,
)
from archcalc.spec.groups import layers_of, weight_indices
from archcalc.spec.layer import Arm, Branch, Layer
from archcalc.spec.model import Spec
from archcalc.spec.stream_variants import stream_implementation
from archcalc.spec.variants import variant
from archcalc.words import msg

# What a branch joins that is read by the next one.
_READ: Final = ("next", "next_sum")


def added_branches(layer: Layer) -> tuple[Branch, ...]:
    """Return the branches that are added to a residual stream, by themselves or as what the next one adds of its input.

    All others are only read by the next one.
    """
    found: list[Branch] = []
    is_passed_on = False
    for branch in reversed(active_branches(layer)):
        is_added = branch.joins not in _READ or is_passed_on
        is_passed_on = is_added and adds_its_input(branch)
        found += [branch] if is_added else []
    return tuple(reversed(found))


def adds_its_input(branch: Branch) -> bool:
    """Return whether a branch adds what its arms read to the stream."""
    return branch.skip_reads == "normed" or any(arm.skip for arm in branch.arms)


def branch_sites(branch: Branch) -> Iterator[str]:
    """Yield the sites of a layer that are read of a branch."""
    yield from (_output(arm) for arm in branch.arms)
    own = names(branch)
    after = (name for arm in branch.arms for name in (arm_norm_out(arm), arm_sum(arm)))
    read = (own.norm_in, own.in_gate) if adds_its_input(branch) else ()
    next_one = own.next if branch.joins in _READ else None
    yield from (name for name in (*read, *after, own.arms_sum, own.sum, next_one) if name)


def _chains(layer: Layer) -> list[list[Branch]]:
    """Return the branches that are added to the stream, each after those before it that are read in place of it."""
    chains: list[list[Branch]] = [[]]
    for branch in first_branches(layer):
        chains[-1].append(branch)
        if branch.joins == "stream":
            chains.append([])
    return chains[:-1]


def _output(arm: Arm) -> str:
    """Return the site of an arm's output, after its convolution if it has one."""
    return arm_conv(arm) or f"{arm.name}.out"


class Reading:
    """The values of one position; `attribute` goes from the logit back through all layers, and fills `found`.

    Methods that take `later`, the steps from after a place to what the head reads, put those of the place before them.
    """

    found: Attribution

    def __init__(
        self,
        model: Any,
        spec: Spec,
        values: Recording,
        arms: dict[str, AttentionArm],
        position: int,
        n_promoted: int,
    ) -> None:
        self.model, self.spec, self.values, self.arms, self.position = model, spec, values, arms, position
        self.n_promoted, self.model_stack = n_promoted, spec.stacks[-1]
        self.module = model.decoder if spec.encoder and spec.decoder else model
        self.owners = weight_indices(self.model_stack.stack)

    def attribute(self, token: int | None, against: int | None, progress: Callable[[int], object]) -> Attribution:
        """Return the attribution of a token's logit, less that of `against` if it is given."""
        logits_V = self._logits()
        token = int(logits_V.argmax()) if token is None else token
        for where, one in (("token", token), ("against", against)):
            if one is not None and not 0 <= one < len(logits_V):
                raise InputError(
                    msg("found {found}", found=one), where=where, allowed=msg("0 to {last}", last=len(logits_V) - 1)
                )
        logit = float(logits_V[token] - (0.0 if against is None else logits_V[against]))
        self.found = Attribution(self.position, token, against, logit, arms=self.arms)
        direction_D = self._direction(self._head.matrix, token, against)
        if bias := self._head_bias(token, against):
            self.add("head", "head_bias", bias)
        later: list[LinearStep] = []
        if self.module.final_norm is not None:
            norm = frozen(self.module.final_norm, self.at(self._last))
            direction_D, later = self.through("final_norm", norm, direction_D, None), [norm]
        direction_D = self._layers(direction_D, later, progress)
        self.add("embed", "embedding", float(direction_D @ self.at("embed")))
        self.found.contributions.reverse()
        return self.found

    def at(self, name: str) -> Tensor:
        """Return a state [D], or streams [J, D], at the position, in float64."""
        return self.values[self.model_stack.prefix + name][0, self._row(name)].double()

    def _row(self, name: str) -> int:
        """Return the row of the position: in layers those of a soft prompt are before the tokens."""
        return self.position + (self.module.n_lead if name.startswith("layers.") else 0)

    def block(self, i: int) -> Any:
        """Return the module of a layer."""
        return self.module.layers[str(self.owners[i])]

    def add(
        self, name: str, part: ContributionPart, value: float, layer: int | None = None, head: int | None = None
    ) -> None:
        """Add a contribution. Its path is the name in the stack; the head belongs to the model."""
        path = name if part == "head_bias" else self.model_stack.prefix + name
        self.found.contributions.append(Contribution(path, part, value, layer, head))

    def through(self, name: str, step: FrozenNorm | Project, direction: Tensor, layer: int | None) -> Tensor:
        """Return the direction before a norm or a projection, and add the contribution of its bias."""
        if step.bias is not None:
            part: ContributionPart = "norm_bias" if isinstance(step, FrozenNorm) else "projection_bias"
            self.add(name, part, float(step.bias @ direction), layer)
        return step.pull_back(direction)

    def _layers(self, direction: Tensor, later: list[LinearStep], progress: Callable[[int], object]) -> Tensor:
        """Add the contributions of all layers; return the direction before the first."""
        part, cycles = self.model_stack.stack.streams, self.model_stack.stack.cycles
        if cycles is not None:
            return attribution_cycles.pull_back(self, cycles, direction, later, progress)
        streams = None if part is None else stream_implementation(part, "attribution")(self, part)
        if streams is not None:
            merge = streams.merge()
            direction = merge.pull_back(direction)
            later.insert(0, merge)
        for i, layer in reversed(list(enumerate(layers_of(self.model_stack.stack)))):
            if streams is not None:
                direction = streams.layer(i, layer, direction, later)
            else:
                direction = self.layer(i, layer, direction, later)
            progress(1)
        return direction if streams is None else streams.split().pull_back(direction)

    def layer(self, i: int, layer: Layer, direction: Tensor, later: list[LinearStep]) -> Tensor:
        """Add the contributions of a layer of one stream; return the direction before it."""
        if layer.bottleneck is not None:
            return self._narrowed(i, layer, direction, later)
        return self.branches(i, layer, direction, later)

    def _narrowed(self, i: int, layer: Layer, direction_D: Tensor, later: list[LinearStep]) -> Tensor:
        """Add the contributions of a layer with a bottleneck; return the direction before it."""
        part, path = self.block(i).bottleneck, f"layers.{i}."
        if part.up_norm is not None:
            norm = frozen(part.up_norm, self.at(f"{path}widened"))
            direction_D = self.through(f"{path}bottleneck.up_norm", norm, direction_D, i)
            later.insert(0, norm)
        up, down = projection(part.up), projection(part.down)
        direction_C = self.through(f"{path}bottleneck.up", up, direction_D, i)
        narrow: list[LinearStep] = [up, *later]
        direction_C = self.branches(i, layer, direction_C, narrow)
        narrow = narrow[: len(narrow) - len(later)]
        if part.down_norm is not None:
            norm = frozen(part.down_norm, down.apply(self.at(f"{path}resid_pre")) + part.down.bias.double())
            direction_C = self.through(f"{path}bottleneck.down_norm", norm, direction_C, i)
            narrow.insert(0, norm)
        narrow_D = self.through(f"{path}bottleneck.down", down, direction_C, i)
        later.insert(0, Sum(((), (down, *narrow))))
        return direction_D + narrow_D

    def branches(self, i: int, layer: Layer, direction_D: Tensor, later: list[LinearStep]) -> Tensor:
        """Add the contributions of the branches of one stream; return the direction before them."""
        scalar, befores = self.block(i).out_scalar, [stream_start(layer), *stream_names(layer)]
        if scalar is not None and befores[-1] == "resid_post":
            step = Multiply(float(scalar))
            direction_D = step.pull_back(direction_D)
            later.insert(0, step)
        for chain, before in reversed(list(zip(_chains(layer), befores, strict=False))):
            direction_D = self._branch(i, chain, before, direction_D, later)
        return direction_D

    def _branch(
        self, i: int, chain: Sequence[Branch], before: str, direction_D: Tensor, later: list[LinearStep]
    ) -> Tensor:
        """Add the contributions of the last branch of a chain, and of those that it reads; return the direction before.

        Each branch of a chain reads the one before; the first reads the stream at `before`.
        """
        *read_ones, branch = chain
        reads = [before, *(str(names(one).next) for one in read_ones)]
        own, block, path = names(branch), self.block(i), f"layers.{i}."
        if own.norm_after is not None:
            norm = frozen(block.norm_module(own.norm_after), self.at(f"{path}{own.sum}"))
            direction_D = self.through(path + own.norm_after, norm, direction_D, i)
            later.insert(0, norm)
        skips = self.arms_of(i, branch, reads[-1], direction_D, later)
        factor: float | Tensor = branch.skip
        if own.skip is not None:
            scale = block.part_module(own.skip)
            factor = scale.weight.double() * branch.skip
            if scale.bias is not None:
                self.add(path + own.skip, "norm_bias", float((scale.bias.double() * factor) @ direction_D), i)
        skip: Path = (Multiply(factor),), direction_D * factor
        of_stream, of_input = ([], [skip, *skips]) if branch.skip_reads == "normed" else ([skip], skips)
        of_input = self.through_input(i, branch, reads[-1], of_input)
        for one, read in reversed(list(zip(read_ones, reads, strict=False))):
            of_stream += of_input if one.joins == "next_sum" else []
            of_input = self._through_read(i, one, read, of_input, later)
        paths = [*of_stream, *of_input]
        later[:0] = joined(paths)
        return total(paths)

    def _through_read(
        self, i: int, branch: Branch, before: str, paths: Sequence[Path], later: Sequence[LinearStep]
    ) -> list[Path]:
        """Add the contributions of a branch whose output is read; return the paths from its input at `before`."""
        if not paths:
            return []
        after = joined(paths)
        skips = self.arms_of(i, branch, before, total(paths), [*after, *later])
        return self.through_input(i, branch, before, [((*steps, *after), direction_D) for steps, direction_D in skips])

    def arms_of(
        self, i: int, branch: Branch, before: str, direction_D: Tensor, later: Sequence[LinearStep]
    ) -> list[Path]:
        """Add the contributions of the arms of a branch; return the paths of the inputs that arms add to their outputs.

        These begin at what the arms read: after the norm of the branch's input at `before`, if there is one.
        """
        own, block, path = names(branch), self.block(i), f"layers.{i}."
        arm_steps: list[LinearStep] = [Multiply(branch.scale)]
        arm_direction_D = direction_D * branch.scale
        if own.norm_out is not None:
            norm = frozen(block.norm_module(own.norm_out), self._summed(branch, own, path))
            arm_direction_D = self.through(path + own.norm_out, norm, arm_direction_D, i)
            arm_steps.insert(0, norm)
        skips: list[Path] = []
        for arm in reversed(branch.arms):
            if arm.skip:
                read = path + (own.in_gate or own.norm_in or before)
                skips.append(self._arm_skip(i, arm, block, read, arm_direction_D, arm_steps))
            read_D, steps = arm_direction_D, [*arm_steps, *later]
            if name := arm_norm_out(arm):
                norm = frozen(block.norm_module(name), self.at(path + _output(arm)) * arm.scale)
                read_D, steps = self.through(path + name, norm, read_D, i), [norm, *steps]
            self._arm(i, arm, read_D * arm.scale, [Multiply(arm.scale), *steps])
        return skips

    def through_input(self, i: int, branch: Branch, before: str, paths: Sequence[Path]) -> list[Path]:
        """Return the paths from before the norm and the gate of a branch's input, if it has them: at most one."""
        own, path = names(branch), f"layers.{i}."
        name = own.norm_in
        if own.in_gate is not None and paths:
            gate = self._gate(i, own.in_gate, self.at(path + (name or before)))
            paths = [((gate, *joined(paths)), gate.pull_back(total(paths)))]
        if name is None or not paths:
            return list(paths)
        norm = frozen(self.block(i).norm_module(name), self.at(path + before))
        return [((norm, *joined(paths)), self.through(path + name, norm, total(paths), i))]

    def _gate(self, i: int, name: str, y_D: Tensor) -> Multiply:
        """Return the gate of a branch's input, with the values that it has for one vector."""
        gate = self.block(i).part_module(name)
        return Multiply(gate.values(y_D.to(gate.up.weight.dtype)).double())

    def _arm_skip(
        self, i: int, arm: Arm, block: Any, read: str, direction_D: Tensor, steps: Sequence[LinearStep]
    ) -> Path:
        """Return the steps from what an arm reads and adds to its output, and the direction there."""
        name = arm_norm(arm)
        if name is None:
            return tuple(steps), direction_D
        norm = frozen(block.norm_module(name), self.at(read))
        return (norm, *steps), self.through(f"layers.{i}.{name}", norm, direction_D, i)

    def _summed(self, branch: Branch, own: BranchNames, path: str) -> Tensor:
        """Return what the norm after the arms of a branch reads."""
        first = branch.arms[0]
        if name := own.arms_sum or arm_sum(first) or arm_norm_out(first):
            return self.at(f"{path}{name}")
        return self.at(path + _output(first)) * first.scale

    def _arm(self, i: int, arm: Arm, direction_D: Tensor, steps: list[LinearStep]) -> None:
        name = f"layers.{i}.{arm.name}"
        if (path := self.model_stack.prefix + name) in self.arms:
            self._attention(self.arms[path], self.block(i).part_module(arm.name), direction_D, steps)
            return
        out_D = self.at(f"layers.{i}.{_output(arm)}")
        self.add(name, variant(arm.part).component, float(direction_D @ out_D), i)

    def _attention(self, arm: AttentionArm, module: Any, direction_D: Tensor, steps: list[LinearStep]) -> None:
        """Add the contributions of an attention's bias and heads, and the edges of each head."""
        path, row = arm.path, self.position + arm.n_lead
        gated_NU = self._gated(path, self.values[f"{path}.values"][0, :, row].double())
        weight_DZ = dense_weight(module.out, gated_NU.numel()).double()
        direction_Z, bias, norm = weight_DZ.T @ direction_D, 0.0, None
        if module.out.bias is not None:
            bias += float(module.out.bias.double() @ direction_D)
        if getattr(module, "out_norm", None) is not None:
            norm = frozen(module.out_norm, gated_NU.flatten())
            bias += float(norm.bias @ direction_Z) if norm.bias is not None else 0.0
            direction_Z = norm.pull_back(direction_Z)
        if module.out.bias is not None or bias:
            self.found.contributions.append(Contribution(path, "attention_bias", bias, arm.layer))
        by_head_N = (direction_Z.view_as(gated_NU) * gated_NU).sum(-1)
        self.found.contributions += [
            Contribution(path, "head", float(by_head_N[n]), arm.layer, n) for n in reversed(range(arm.n_heads))
        ]
        pattern_NS = self.values[f"{path}.pattern"][0, :, row].double()
        is_global = self.position < arm.n_global
        value_NSU = self.values[f"{path}.global_v" if is_global else f"{arm.key_path}.v"][0].double()
        if (learned := self._learned.get(path)) is not None:
            value_NSU = torch.cat((learned[1].double(), value_NSU), 1)
        value_NSU = value_NSU[[arm.kv_head(n) for n in range(arm.n_heads)]]
        read_NU = self._gated(path, direction_Z.view_as(gated_NU))
        self.found.edges[path] = pattern_NS * torch.einsum("nsu,nu->ns", value_NSU, read_NU)
        self.found.patterns[path] = pattern_NS
        if self.n_promoted:
            heads_NNU = torch.diag_embed(gated_NU.T).permute(1, 2, 0)
            outputs_ND = self._outputs(heads_NNU.flatten(1), weight_DZ, norm, steps)
            for n, top in enumerate((outputs_ND @ self._head.matrix.T).topk(self.n_promoted).indices.tolist()):
                self.found.promoted_ids[path, n] = top

    @staticmethod
    def _outputs(x_NZ: Tensor, weight_DZ: Tensor, norm: FrozenNorm | None, steps: list[LinearStep]) -> Tensor:
        """Return what each head adds to the states that the head of the model reads, [N, D]."""
        x_ND = (x_NZ if norm is None else norm.apply(x_NZ)) @ weight_DZ.T
        return along(steps, x_ND)

    def _gated(self, path: str, x_NU: Tensor) -> Tensor:
        gate = f"{path}.gate"
        row = self.position + self.module.n_lead
        return x_NU * self.values[gate][0, :, row].double() if gate in self.values else x_NU

    @property
    def _last(self) -> str:
        """Return the site of the states that the final norm reads."""
        return "merged" if self.model_stack.stack.streams else f"layers.{len(self.owners) - 1}.resid_post"

    @cached_property
    def _head(self) -> FrozenHead:
        return frozen_head(self.model.head, self.model.embed.tokens.weight, self._final)

    @cached_property
    def _learned(self) -> dict[str, Pair]:
        return learned_pairs(self.model)

    @cached_property
    def _final(self) -> Tensor:
        """Return the state that the head reads, in float64."""
        last_D = self.values[self.model_stack.prefix + self._last][:, self._row(self._last)]
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
