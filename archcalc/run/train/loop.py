"""The training loop: forward, backward, clipping, optimizer step; and validation.

Axes: B batch, T tokens, N targets, V vocab.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archcalc.checkpoint.tensor_shard import full_tensor
from archcalc.errors import ArchcalcError
from archcalc.run.train.batches import NO_TARGET, Batch, Batches
from archcalc.run.train.settings import Settings, learning_rate, seed_of
from archcalc.words import msg


class DivergedError(ArchcalcError):
    """A loss or gradient that is not finite."""

    exit_code = 1


@dataclass(frozen=True)
class TrainingStep:
    """One step: its number from 1, the mean loss of its targets in nats, learning rate, gradient norm, seconds."""

    number: int
    loss: float
    lr: float
    norm: float
    seconds: float


@dataclass(frozen=True)
class ValidationResult:
    """Validation loss in nats per target and per character of a text; `accuracy`: share of correct predictions."""

    nats: float
    nats_per_character: float | None
    accuracy: float


def adamw(model: nn.Module, settings: Settings) -> torch.optim.AdamW:
    """Return AdamW (Loshchilov and Hutter 2019) with weight decay on matrices, not on norms and biases."""
    trainable = [weight for weight in model.parameters() if weight.requires_grad]
    groups = [
        {"params": [weight for weight in trainable if weight.dim() > 1], "weight_decay": settings.weight_decay},
        {"params": [weight for weight in trainable if weight.dim() < 2], "weight_decay": 0.0},
    ]
    betas = (settings.beta1, settings.beta2)
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=settings.lr, betas=betas)


def train_steps(
    model: nn.Module, batches: Batches, optimizer: torch.optim.Optimizer, settings: Settings, *, first: int = 0
) -> Iterator[TrainingStep]:
    """Train from step `first` to the last; each step depends on the settings and the weights alone.

    Raise DivergedError, before the optimizer steps, if a loss or gradient is not finite.
    """
    device = next(model.parameters()).device
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    for step in range(first, settings.steps):
        start = time.perf_counter()
        model.train()
        torch.manual_seed(seed_of(settings.seed, "dropout", step))
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(settings, step)
        optimizer.zero_grad(set_to_none=True)
        batch_loss = loss(model, batches.batch(step).to(device))
        batch_loss.backward()  # type: ignore[no-untyped-call]
        norm = _clip(weights, settings.clip)
        nats = _number(batch_loss)
        if not math.isfinite(nats + norm):
            raise DivergedError(
                msg(
                    "the loss of step {step:,} is {nats}: try a lower `lr`, or a longer `warmup`",
                    step=step + 1,
                    nats=nats,
                )
            )
        optimizer.step()
        yield TrainingStep(step + 1, nats, learning_rate(settings, step), norm, time.perf_counter() - start)


def loss(model: Any, batch: Batch) -> Tensor:
    """Return the mean cross-entropy at the targets, in nats."""
    logits_BTV = model(*batch.inputs)
    return F.cross_entropy(logits_BTV.flatten(0, 1).float(), batch.targets_BT.flatten(), ignore_index=NO_TARGET)


@torch.no_grad()
def validate(model: Any, batches: Iterable[Batch], n_characters: int | None = None) -> ValidationResult:
    """Return loss and accuracy on validation batches."""
    device = next(model.parameters()).device
    model.eval()
    nats, n_correct, n_targets = 0.0, 0, 0
    for batch in batches:
        local = batch.to(device)
        logits_NV, targets_N = model(*local.inputs).flatten(0, 1).float(), local.targets_BT.flatten()
        nats += float(F.cross_entropy(logits_NV, targets_N, ignore_index=NO_TARGET, reduction="sum"))
        n_correct += int((logits_NV.argmax(-1) == targets_N).sum())
        n_targets += batch.n_targets
    return ValidationResult(nats / n_targets, nats / n_characters if n_characters else None, n_correct / n_targets)


def _clip(weights: Sequence[Tensor], max_norm: float) -> float:
    """Clip the gradients to `max_norm`; return the norm before that.

    The norm is taken of gathered gradients: summing over shards would round differently for each number of processes.
    """
    trainable = [weight for weight in weights if weight.grad is not None]
    norm = nn.utils.get_total_norm([full_tensor(weight.grad) for weight in trainable if weight.grad is not None])
    nn.utils.clip_grads_with_norm_(trainable, max_norm, norm)
    return _number(norm)


def _number(value: Tensor) -> float:
    return float(value.detach())
