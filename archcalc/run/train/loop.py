"""The loop: forward, backward, clipped, one step of the optimiser; and how good the model is on what is held out."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archcalc.checkpoint.target import whole
from archcalc.errors import ArchcalcError
from archcalc.run.train.batches import NO_TARGET, Batch, Batches
from archcalc.run.train.settings import Settings, rate, seed_of
from archcalc.words import msg


class DivergedError(ArchcalcError):
    """A loss that is no number."""

    exit_code = 1


@dataclass(frozen=True)
class Step:
    """One step: its number from 1, the mean loss of its targets in nats, and how long it took."""

    number: int
    loss: float
    lr: float
    norm: float
    seconds: float


@dataclass(frozen=True)
class HeldOut:
    """Loss on what is held out: nats a target, and a character where it is a text; `right`: the share of targets that
    are the likeliest token."""

    nats: float
    nats_a_character: float | None
    right: float


def optimiser(model: nn.Module, settings: Settings) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019); matrices decay, norms and biases do not."""
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    groups = [
        {"params": [weight for weight in trained if weight.dim() > 1], "weight_decay": settings.weight_decay},
        {"params": [weight for weight in trained if weight.dim() < 2], "weight_decay": 0.0},
    ]
    betas = (settings.beta1, settings.beta2)
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=settings.lr, betas=betas)


def steps(
    model: nn.Module, batches: Batches, stepper: torch.optim.Optimizer, settings: Settings, *, first: int = 0
) -> Iterator[Step]:
    """Train from step `first` to the last; what each step does depends on the settings and the weights alone.

    Raises DivergedError, before the weights take it in, at a loss or a gradient that is no number.
    """
    device = next(model.parameters()).device
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    for step in range(first, settings.steps):
        began = time.perf_counter()
        model.train()
        torch.manual_seed(seed_of(settings.seed, "dropout", step))
        for group in stepper.param_groups:
            group["lr"] = rate(settings, step)
        stepper.zero_grad(set_to_none=True)
        found = loss(model, batches.batch(step).to(device))
        found.backward()  # type: ignore[no-untyped-call]
        norm = _clip(weights, settings.clip)
        nats = _number(found)
        if not math.isfinite(nats + norm):
            raise DivergedError(
                msg(
                    "the loss of step {step:,} is {nats}: try a lower `lr`, or a longer `warmup`",
                    step=step + 1,
                    nats=nats,
                )
            )
        stepper.step()
        yield Step(step + 1, nats, rate(settings, step), norm, time.perf_counter() - began)


def loss(model: Any, batch: Batch) -> Tensor:
    """The mean surprise at the targets, in nats."""
    logits_BTV = model(*batch.inputs)
    return F.cross_entropy(logits_BTV.flatten(0, 1).float(), batch.targets_BT.flatten(), ignore_index=NO_TARGET)


@torch.no_grad()
def held_out(model: Any, batches: Iterable[Batch], n_characters: int | None = None) -> HeldOut:
    """How good a model is at batches that it does not learn from."""
    device = next(model.parameters()).device
    model.eval()
    nats, right, n_targets = 0.0, 0, 0
    for batch in batches:
        here = batch.to(device)
        logits_ZV, targets_Z = model(*here.inputs).flatten(0, 1).float(), here.targets_BT.flatten()
        nats += float(F.cross_entropy(logits_ZV, targets_Z, ignore_index=NO_TARGET, reduction="sum"))
        right += int((logits_ZV.argmax(-1) == targets_Z).sum())
        n_targets += batch.n_targets
    return HeldOut(nats / n_targets, nats / n_characters if n_characters else None, right / n_targets)


def _clip(weights: Sequence[Tensor], largest: float) -> float:
    """Scale the gradients so that their norm is at most this; the norm that it was.

    Of whole gradients: as parts, their squares would be summed in another order on each number of processes.
    """
    found = [weight for weight in weights if weight.grad is not None]
    norm = nn.utils.get_total_norm([whole(weight.grad) for weight in found if weight.grad is not None])
    nn.utils.clip_grads_with_norm_(found, largest, norm)
    return _number(norm)


def _number(value: Tensor) -> float:
    return float(value.detach())
