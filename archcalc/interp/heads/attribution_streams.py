"""Attribution through several residual streams: what reads, writes and mixes them, frozen at its values.

Axes: J and K streams, D model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from archcalc.interp.heads.linear_steps import LinearStep, Multiply, Path, Project, Sum, joined, projection, total
from archcalc.nn.altup import rescaling
from archcalc.spec.branches import later_branches, stream_branches, stream_names, stream_start, streams_names
from archcalc.spec.layer import Layer
from archcalc.spec.streams import AltUp, HyperConnections, SetAside

if TYPE_CHECKING:
    from archcalc.interp.heads.attribution_reading import Reading


@dataclass(frozen=True)
class MergeStreams(LinearStep):
    """The sum [..., D] of streams [..., J, D], each after a step of its own."""

    steps: tuple[LinearStep, ...]

    def apply(self, x: Tensor) -> Tensor:
        """Return the sum."""
        return reduce(add, (step.apply(one) for step, one in zip(self.steps, x.unbind(-2), strict=True)))

    def pull_back(self, u: Tensor) -> Tensor:
        """Return the direction of each stream."""
        return torch.stack([step.pull_back(u) for step in self.steps], -2)


@dataclass(frozen=True)
class SplitStreams(LinearStep):
    """Streams [..., J, D] of states [..., D], each by a step of its own."""

    steps: tuple[LinearStep, ...]

    def apply(self, x: Tensor) -> Tensor:
        """Return the streams."""
        return torch.stack([step.apply(x) for step in self.steps], -2)

    def pull_back(self, u: Tensor) -> Tensor:
        """Return the sum of the directions of all streams before their steps."""
        return reduce(add, (step.pull_back(one) for step, one in zip(self.steps, u.unbind(-2), strict=True)))


@dataclass(frozen=True)
class MixStreams(LinearStep):
    """Streams that are sums of streams: row J of the matrix [J, K] has their weights."""

    matrix: Tensor

    def apply(self, x: Tensor) -> Tensor:
        """Return the sums."""
        return self.matrix @ x

    def pull_back(self, u: Tensor) -> Tensor:
        """Return the directions before the sums."""
        return self.matrix.T @ u


@dataclass(frozen=True)
class AppendStream(LinearStep):
    """Streams [..., J, D] beside another one, which does not depend on them."""

    def apply(self, x: Tensor) -> Tensor:
        """Return the streams, and zeros as a further one."""
        return torch.cat((x, torch.zeros_like(x[..., :1, :])), -2)

    def pull_back(self, u: Tensor) -> Tensor:
        """Return the directions of all but the last stream."""
        return u[..., :-1, :]


def weighted(weights_J: Sequence[float]) -> tuple[Multiply, ...]:
    """Return a multiplication for each stream."""
    return tuple(Multiply(weight) for weight in weights_J)


class HyperStreams:
    """The streams of hyper-connections: every branch reads and writes them with weights of its own."""

    def __init__(self, reading: Reading, part: HyperConnections) -> None:
        self.reading, self.part = reading, part

    @staticmethod
    def layer_sites(layer: Layer) -> Iterator[str]:
        """Yield the sites of a layer that are read beside its branches'."""
        for branch, name in zip(stream_branches(layer), streams_names(layer), strict=True):
            yield from (f"{branch.arms[0].name}_streams", f"{branch.arms[0].name}_read", name)

    def split(self) -> SplitStreams:
        """Return the step from the first layer's input to the streams."""
        return SplitStreams(weighted([1.0] * self.part.n_streams))

    def merge(self) -> MergeStreams:
        """Return the step from the streams to what the final norm reads."""
        ends, last = self.reading.module.streams, len(self.reading.owners) - 1
        x_11JD = self.reading.at(f"layers.{last}.streams").to(ends.projection.dtype)[None, None]
        return MergeStreams(weighted(ends.read_weights(ends(x_11JD))[0, 0].tolist()))

    def layer(self, i: int, layer: Layer, direction_JD: Tensor, later: list[LinearStep]) -> Tensor:
        """Add the contributions of a layer; return the direction before it."""
        for branch in reversed(stream_branches(layer)):
            first = branch.arms[0].name
            weights = self.reading.block(i).streams.get_submodule(first)
            logits_Z = self.reading.at(f"layers.{i}.{first}_streams")
            write = SplitStreams(weighted(weights.write_weights(logits_Z).tolist()))
            before, direction_D = f"{first}_read", write.pull_back(direction_JD)
            skips = self.reading.arms_of(i, branch, before, direction_D, [write, *later])
            steps: tuple[LinearStep, ...] = ()
            if self.part.mix is not None:
                mix = MixStreams(weights.mix(logits_Z).T)
                steps, direction_JD = (mix,), mix.pull_back(direction_JD)
            paths: list[Path] = [(steps, direction_JD)]
            for inner, inner_D in self.reading.through_input(i, branch, before, skips):
                read = MergeStreams(weighted(weights.read_weights(logits_Z).tolist()))
                paths.append(((read, *inner, write), read.pull_back(inner_D)))
            later[:0] = joined(paths)
            direction_JD = total(paths)
        return direction_JD


class SetAsideStreams:
    """Streams of which all but the newest are set aside: every branch reads all, and is added to the newest."""

    def __init__(self, reading: Reading, part: SetAside) -> None:
        self.reading, self.part = reading, part

    @staticmethod
    def layer_sites(layer: Layer) -> Iterator[str]:
        """Yield the sites of a layer that are read beside its branches'."""
        for branch, name in zip(stream_branches(layer), streams_names(layer), strict=True):
            yield from (f"{branch.arms[0].name}_read", name)

    def split(self) -> SplitStreams:
        """Return the step from the first layer's input to the one stream."""
        return SplitStreams(weighted([1.0]))

    def merge(self) -> MergeStreams:
        """Return the step from the streams to what the final norm reads."""
        return self._read(self.reading.module.streams, f"layers.{len(self.reading.owners) - 1}.streams")

    def layer(self, i: int, layer: Layer, direction_JD: Tensor, later: list[LinearStep]) -> Tensor:
        """Add the contributions of a layer; return the direction before it."""
        own, after = stream_branches(layer), [f"layers.{i}.{name}" for name in streams_names(layer)]
        befores = [f"layers.{i - 1}.streams" if i else "split", *after]
        for b, branch in reversed(list(enumerate(own))):
            first, streams = branch.arms[0].name, befores[b]
            write = SplitStreams(weighted([*[0.0] * (len(direction_JD) - 1), 1.0]))
            before, direction_D = f"{first}_read", write.pull_back(direction_JD)
            skips = self.reading.arms_of(i, branch, before, direction_D, [write, *later])
            keep: tuple[LinearStep, ...] = (AppendStream(),) if self.part.begins(i) and b == 0 else ()
            paths: list[Path] = [(keep, keep[0].pull_back(direction_JD) if keep else direction_JD)]
            is_first = i == 0 and b == 0
            for inner, inner_D in self.reading.through_input(i, branch, before, skips):
                queries = None if is_first else self.reading.block(i).streams.get_submodule(first)
                read = self._read(queries, streams)
                paths.append(((read, *inner, write), read.pull_back(inner_D)))
            later[:0] = joined(paths)
            direction_JD = total(paths)
        return direction_JD

    def _read(self, queries: Any, streams: str) -> MergeStreams:
        """Return the step from the streams at a site to the sum that a query reads; None reads the one there is."""
        if queries is None:
            return MergeStreams(weighted([1.0]))
        x_11JD = self.reading.at(streams).to(queries.query.dtype)[None, None]
        return MergeStreams(weighted(queries.read_weights(x_11JD)[0, 0, :, 0].tolist()))


class AltUpStreams:
    """The streams of alternating updates: a layer computes one of them and changes all."""

    def __init__(self, reading: Reading, part: AltUp) -> None:
        self.reading, self.part = reading, part

    @staticmethod
    def layer_sites(layer: Layer) -> Iterator[str]:
        """Yield the sites of a layer that are read beside its branches'."""
        yield from ("predicted", stream_start(layer), *stream_names(layer), "streams")
        if later_branches(layer):
            yield "active"

    def split(self) -> SplitStreams:
        """Return the step from the first layer's input to the streams."""
        first_D = self.reading.at("embed")
        projections = [projection(module) for module in self.reading.module.streams.split]
        return SplitStreams((Multiply(1.0), *(_rescaled(step, first_D, step.apply(first_D)) for step in projections)))

    def merge(self) -> MergeStreams:
        """Return the step from the streams to what the final norm reads."""
        first_D, *others = self.reading.at(f"layers.{len(self.reading.owners) - 1}.streams")
        projections = [projection(module) for module in self.reading.module.streams.merge]
        pairs = zip(projections, others, strict=True)
        share = 1.0 / self.part.n_streams
        steps = (_rescaled(step, first_D, step.apply(other_D), share) for step, other_D in pairs)
        return MergeStreams((Multiply(share), *steps))

    def layer(self, i: int, layer: Layer, direction_JD: Tensor, later: list[LinearStep]) -> Tensor:
        """Add the contributions of a layer; return the direction before it."""
        reading, module = self.reading, self.reading.block(i).streams
        direction_JD = self._later_branches(i, layer, direction_JD, later)
        y_D = reading.at(f"layers.{i}.resid_post")
        share = SplitStreams(weighted(module.rates(y_D.to(module.router.weight.dtype)).tolist()))
        active = self._active(1.0)
        direction_D = share.pull_back(direction_JD)
        inner: list[LinearStep] = [share, *later]
        before_D = reading.branches(i, layer, direction_D, inner)
        inner = inner[: len(inner) - len(later)]
        changed = Sum(((), (active, *inner), (active, Multiply(-1.0), share)))
        direction_JD = direction_JD + active.pull_back(before_D - direction_D)
        before_JD = reading.at(f"layers.{i - 1}.streams" if i else "split")
        mix_JK = module.mix(before_JD.to(module.router.weight.dtype)[None, None])[0, 0].double()
        predicted = MixStreams(torch.eye(self.part.n_streams, dtype=torch.float64, device=mix_JK.device) + mix_JK)
        later[:0] = [predicted, changed]
        return predicted.pull_back(direction_JD)

    def _later_branches(self, i: int, layer: Layer, direction_JD: Tensor, later: list[LinearStep]) -> Tensor:
        """Add the contributions of the branches that are added to all streams but the first."""
        write = SplitStreams(weighted([0.0, *[1.0] * (self.part.n_streams - 1)]))
        module = self.reading.block(i).streams
        paths: list[Path] = [((), direction_JD)]
        read = self._active(module.out_scale.double() if self.part.out_scale else 1.0)
        for branch in reversed(later_branches(layer)):
            direction_D = write.pull_back(direction_JD)
            skips = self.reading.arms_of(i, branch, "active", direction_D, [write, *later])
            for inner, inner_D in self.reading.through_input(i, branch, "active", skips):
                paths.append(((read, *inner, write), read.pull_back(inner_D)))
        later[:0] = joined(paths)
        return total(paths)

    def _active(self, factor: float | Tensor) -> MergeStreams:
        """Return the step from all streams to the active one, times a factor."""
        factors = (factor if j == self.part.active else 0.0 for j in range(self.part.n_streams))
        return MergeStreams(tuple(Multiply(one) for one in factors))


def _rescaled(step: Project, first_D: Tensor, y_D: Tensor, share: float = 1.0) -> Project:
    """Return a projection whose output has the magnitude of the first stream, times a share."""
    return Project(step.weight * (share * rescaling(first_D, y_D)), None)
