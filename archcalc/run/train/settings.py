"""Settings of a training run, its learning-rate schedule and its random seeds."""

from __future__ import annotations

import hashlib
import math

import msgspec
import torch

from archcalc.errors import InputError
from archcalc.words import msg


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of a run; a resumed run must have the same.

    `lr` is the peak learning rate, `last_lr` the share of it at the end; `warmup` steps rise to it. `clip` bounds the
    gradient norm. Every `every` steps the run is validated and saved.
    """

    steps: int
    batch: int
    seq: int
    lr: float = 1e-3
    last_lr: float = 0.1
    warmup: int = 100
    weight_decay: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.95
    clip: float = 1.0
    seed: int = 0
    every: int = 200

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "seq", "every"):
            if getattr(self, name) < 1:
                raise InputError(msg("found {found}", found=getattr(self, name)), where=name, allowed=msg("1 or more"))
        for name in ("lr", "clip"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(msg("found {found}", found=getattr(self, name)), where=name, allowed=msg("above 0"))
        if not 0 <= self.warmup <= self.steps:
            raise InputError(
                msg("found {found}", found=self.warmup),
                where="warmup",
                allowed=msg("0 to the {steps:,} steps", steps=self.steps),
            )


def learning_rate(settings: Settings, step: int) -> float:
    """Return the learning rate of a step, counted from 0.

    Linear warm-up to `lr`, then cosine decay (Loshchilov and Hutter 2017).

    >>> [round(learning_rate(Settings(steps=4, batch=1, seq=1, lr=1.0, warmup=2), step), 3) for step in range(4)]
    [0.5, 1.0, 1.0, 0.1]
    """
    if step < settings.warmup:
        return settings.lr * (step + 1) / settings.warmup
    share = (step - settings.warmup) / max(1, settings.steps - 1 - settings.warmup)
    cosine = (1 + math.cos(math.pi * share)) / 2
    return settings.lr * (settings.last_lr + (1 - settings.last_lr) * cosine)


def generator(seed: int, *purpose: object) -> torch.Generator:
    """Return a generator for one purpose and step; it depends on these alone, so no state needs to be saved."""
    return torch.Generator().manual_seed(seed_of(seed, *purpose))


def seed_of(seed: int, *purpose: object) -> int:
    """Return a 63-bit seed for one purpose."""
    text = "/".join(map(str, (seed, *purpose)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1
