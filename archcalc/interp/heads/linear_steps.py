"""The path from the residual stream to a logit as linear steps: every norm with its scale frozen.

A frozen norm divides by the deviation of the states that it read in the recorded pass, so it is linear in them; its
bias is a term of its own. Steps act on vectors of one position, in float64.

Axes: D model.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import torch
from torch import Tensor

from archcalc.nn.linear import dense_weight
from archcalc.nn.norm import Affine, LayerNorm


class LinearStep(ABC):
    """A linear map of vectors [..., D]."""

    @abstractmethod
    def apply(self, x: Tensor) -> Tensor:
        """Return the image of vectors."""

    @abstractmethod
    def pull_back(self, u: Tensor) -> Tensor:
        """Return the transpose of the map applied to directions."""


@dataclass(frozen=True)
class Multiply(LinearStep):
    """A multiplication by a number, or by one for each channel."""

    factor: float | Tensor

    def apply(self, x: Tensor) -> Tensor:
        """Return the product."""
        return x * self.factor

    def pull_back(self, u: Tensor) -> Tensor:
        """Return the product."""
        return u * self.factor


@dataclass(frozen=True)
class Project(LinearStep):
    """A multiplication by a matrix [E, D] from width D to width E."""

    weight: Tensor
    bias: Tensor | None

    def apply(self, x: Tensor) -> Tensor:
        """Return the product [..., E], without the bias."""
        return x @ self.weight.T

    def pull_back(self, u: Tensor) -> Tensor:
        """Return directions [..., D] before the matrix."""
        return u @ self.weight


def projection(linear: Any) -> Project:
    """Return a dense layer as a step."""
    bias = None if linear.bias is None else linear.bias.double()
    return Project(dense_weight(linear, linear.in_features).double(), bias)


@dataclass(frozen=True)
class Sum(LinearStep):
    """The sum of several paths, each of them steps in turn."""

    paths: tuple[tuple[LinearStep, ...], ...]

    def apply(self, x: Tensor) -> Tensor:
        """Return the sum of the images along all paths."""
        return reduce(add, (along(path, x) for path in self.paths))

    def pull_back(self, u: Tensor) -> Tensor:
        """Return the sum of the directions before all paths."""
        return reduce(add, (_back(path, u) for path in self.paths))


def along(path: Sequence[LinearStep], x: Tensor) -> Tensor:
    """Return the image of vectors after some steps."""
    for step in path:
        x = step.apply(x)
    return x


def _back(path: tuple[LinearStep, ...], u: Tensor) -> Tensor:
    for step in reversed(path):
        u = step.pull_back(u)
    return u


# Steps from a place before a branch to one after it, and the direction before them.
Path = tuple[tuple[LinearStep, ...], Tensor]


def joined(paths: Sequence[Path]) -> tuple[LinearStep, ...]:
    """Return the steps of the sum of some paths."""
    return paths[0][0] if len(paths) == 1 else (Sum(tuple(steps for steps, _ in paths)),)


def total(paths: Sequence[Path]) -> Tensor:
    """Return the sum of the directions of some paths."""
    return reduce(add, (direction for _, direction in paths))


@dataclass(frozen=True)
class FrozenNorm(LinearStep):
    """A norm with its scale frozen: (x − mean) · weight / deviation, without the mean for RMSNorm."""

    factor: Tensor
    is_centered: bool
    bias: Tensor | None

    def apply(self, x: Tensor) -> Tensor:
        """Return the normed vectors, without the bias."""
        return self._centered(x) * self.factor

    def pull_back(self, u: Tensor) -> Tensor:
        """Return the directions before the norm."""
        return self._centered(u * self.factor)

    def _centered(self, x: Tensor) -> Tensor:
        return x - x.mean(-1, keepdim=True) if self.is_centered else x


def frozen(norm: Any, x_D: Tensor) -> FrozenNorm:
    """Return a norm with the scale that it has for one vector."""
    x_D, is_centered = x_D.double(), isinstance(norm, LayerNorm)
    centered_D = x_D - x_D.mean() if is_centered else x_D
    weight = torch.ones_like(x_D) if norm.weight is None else norm.weight.double() + float(norm.unit_offset)
    bias = getattr(norm, "bias", None)
    bias = None if bias is None else bias.double()
    if isinstance(norm, Affine):
        return FrozenNorm(weight, False, bias if bias is None or not norm.bias_first else bias * weight)
    factor = weight * torch.rsqrt(centered_D.square().mean() + norm.eps)
    return FrozenNorm(factor, is_centered, bias)
