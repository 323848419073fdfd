"""Checkpoints of a run: the last two, whole, with all that going on from them takes. No pickle.

A checkpoint is a folder `step-00000200` in our own layout (it can be generated from), and beside the weights
optimiser.safetensors, run.json (settings, losses so far), and sums.json, by which a broken file is known.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors import SafetensorError
from safetensors.torch import load as unpacked
from safetensors.torch import save as packed
from torch import Tensor, nn

from archcalc.checkpoint import open_checkpoint
from archcalc.checkpoint.own import files, write
from archcalc.checkpoint.target import whole
from archcalc.errors import InputError, shown
from archcalc.run.distributed.parts import like, targets
from archcalc.run.train.settings import Settings
from archcalc.spec import Spec
from archcalc.words import msg

STATES, RUN, SUMS = "optimiser.safetensors", "run.json", "sums.json"
PREFIX, N_KEPT = "step-", 2


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A run as far as it has come. `data` stands for what it learns from, so that it is not mixed with another.

    `losses`: of each step. `held_out`: (step, nats a target, nats a character or None, share right).
    """

    settings: Settings
    data: str
    step: int = 0
    losses: list[float] = []
    held_out: list[tuple[int, float, float | None, float]] = []
    seconds: float = 0.0


def keep(
    folder: Path,
    run: Run,
    model: nn.Module,
    spec: Spec,
    stepper: torch.optim.Optimizer,
    more: dict[str, bytes],
    *,
    writes: bool = True,
) -> Path:
    """Write a checkpoint, whole or not at all, and then let go of all but the last two. Returns its folder.

    Of several processes that share the model all are asked, and one `writes`.
    Raises InputError where it cannot be written; those before it are there as they were.
    """
    contents = files(model, spec) | more
    contents |= {STATES: packed(_states(model, stepper)), RUN: msgspec.json.encode(run)}
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    path = folder / f"{PREFIX}{run.step:08}"
    if not writes:
        return path
    if path.exists():  # found broken when the run went on
        shutil.rmtree(path)
    write(path, contents | {SUMS: msgspec.json.encode(sums)})
    for old in kept(folder)[:-N_KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return path


def kept(folder: Path) -> list[Path]:
    """The checkpoints of a run, oldest first."""
    return sorted(path for path in folder.glob(f"{PREFIX}*") if path.is_dir() and path.name[len(PREFIX) :].isdigit())


def restore(path: Path, spec: Spec, model: nn.Module, stepper: torch.optim.Optimizer) -> Run:
    """Put a checkpoint's weights and states into a model of the same spec and its optimiser; the run so far.

    Raises InputError for a checkpoint that is broken or of another spec; model and optimiser are then as they were.
    """
    contents = _read(path)
    try:
        run, states = msgspec.json.decode(contents[RUN], type=Run), unpacked(contents[STATES])
    except (SafetensorError, msgspec.DecodeError, KeyError) as error:
        raise InputError(msg("is no checkpoint of a run ({error})", error=shown(str(error))), file=str(path)) from None
    checkpoint = open_checkpoint(str(path))
    if checkpoint.spec != spec:
        raise InputError(msg("is of another spec"), file=str(path), allowed=msg("the spec that the run began with"))
    weights = checkpoint.load(dtype=next(model.parameters()).dtype).state_dict()
    trained = dict(_trained(model, stepper))
    for key, value in states.items():
        name, _, kind = key.rpartition(":")
        if name not in trained or value.shape != (() if kind == "step" else trained[name].shape):
            raise InputError(msg("{key} is no state of these weights", key=shown(key, 200)), file=str(path / STATES))
    with torch.no_grad():
        for name, target in targets(model).items():
            target.put(0, 0, weights[name])
    for key, value in states.items():
        name, _, kind = key.rpartition(":")
        stepper.state[trained[name]][kind] = value.clone() if kind == "step" else like(trained[name], value)
    return run


def _read(path: Path) -> dict[str, bytes]:
    """What a checkpoint's files hold. Raises InputError unless it is what was written."""
    try:
        sums = msgspec.json.decode((path / SUMS).read_bytes(), type=dict[str, str])
        contents = {name: (path / Path(name).name).read_bytes() for name in sums}
    except OSError as error:
        raise InputError(msg("cannot be read ({strerror})", strerror=error.strerror), file=str(path)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(msg("is broken ({error})", error=shown(str(error))), file=str(path / SUMS)) from None
    for name, content in contents.items():
        if hashlib.sha256(content).hexdigest() != sums[name]:
            raise InputError(msg("is not what was written"), file=str(path / name))
    return contents


def _states(model: nn.Module, stepper: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {
        f"{name}:{key}": whole(value.detach()).cpu().contiguous()
        for name, weight in _trained(model, stepper)
        for key, value in stepper.state.get(weight, {}).items()
    }


def _trained(model: nn.Module, stepper: torch.optim.Optimizer) -> list[tuple[str, Any]]:
    """The weights that the optimiser steps, by name."""
    stepped = {id(weight) for group in stepper.param_groups for weight in group["params"]}
    return [(name, weight) for name, weight in model.named_parameters() if id(weight) in stepped]
