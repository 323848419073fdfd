"""Checkpoints of a run: the last two, complete, with all state that resuming needs. No pickle.

A checkpoint is a folder `step-00000200` in the native layout (so it can be generated from). Beside the weights are
optimizer.safetensors, run.json (settings, losses so far), and sums.json, which detects corrupt files.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors import SafetensorError
from safetensors.torch import load as deserialize
from safetensors.torch import save as serialize
from torch import Tensor, nn

from archcalc.checkpoint import open_checkpoint
from archcalc.checkpoint.native import file_contents, write
from archcalc.checkpoint.tensor_shard import full_tensor
from archcalc.errors import InputError, shown
from archcalc.run.distributed.local_shards import local_shards, shard_like
from archcalc.run.train.settings import Settings
from archcalc.spec import Spec
from archcalc.typed_data import decode_json
from archcalc.words import msg

STATES, RUN, SUMS = "optimizer.safetensors", "run.json", "sums.json"
PREFIX, N_CHECKPOINTS = "step-", 2


class RunState(msgspec.Struct, frozen=True, kw_only=True):
    """The progress of a run. `data` is the fingerprint of the dataset, so that it is not resumed on another.

    `losses`: of each step. `held_out`: (step, nats per target, nats per character or None, accuracy).
    """

    settings: Settings
    data: str
    step: int = 0
    losses: list[float] = []
    held_out: list[tuple[int, float, float | None, float]] = []
    seconds: float = 0.0


def save(
    folder: Path,
    run: RunState,
    model: nn.Module,
    spec: Spec,
    optimizer: torch.optim.Optimizer,
    extra_files: dict[str, bytes],
    *,
    is_writer: bool = True,
) -> Path:
    """Write a checkpoint atomically, then delete all but the last two. Return its folder.

    If several processes share the model, all must call this, and one is the writer. Raise InputError if it cannot be
    written; earlier checkpoints are left as they were.
    """
    contents = file_contents(model, spec) | extra_files
    contents |= {STATES: serialize(_states(model, optimizer)), RUN: msgspec.json.encode(run)}
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    path = folder / f"{PREFIX}{run.step:08}"
    if not is_writer:
        return path
    if path.exists():  # a broken one that the resumed run skipped
        shutil.rmtree(path)
    write(path, contents | {SUMS: msgspec.json.encode(sums)})
    for old in checkpoint_folders(folder)[:-N_CHECKPOINTS]:
        shutil.rmtree(old, ignore_errors=True)
    return path


def checkpoint_folders(folder: Path) -> list[Path]:
    """Return the checkpoints of a run, oldest first."""
    return sorted(path for path in folder.glob(f"{PREFIX}*") if path.is_dir() and path.name[len(PREFIX) :].isdigit())


def restore(path: Path, spec: Spec, model: nn.Module, optimizer: torch.optim.Optimizer) -> RunState:
    """Load a checkpoint's weights and states into a model of the same spec and its optimizer; return the run's state.

    Raise InputError for a checkpoint that is broken or of another spec; model and optimizer are then unchanged.
    """
    contents = _read(path)
    try:
        run, states = decode_json(contents[RUN], RunState), deserialize(contents[STATES])
    except (SafetensorError, msgspec.DecodeError, KeyError) as error:
        raise InputError(msg("is no checkpoint of a run ({error})", error=shown(str(error))), file=str(path)) from None
    checkpoint = open_checkpoint(str(path))
    if checkpoint.spec != spec:
        raise InputError(msg("is of another spec"), file=str(path), allowed=msg("the spec that the run began with"))
    weights = checkpoint.load(dtype=next(model.parameters()).dtype).state_dict()
    trained = dict(_trained(model, optimizer))
    for key, value in states.items():
        name, _, kind = key.rpartition(":")
        if name not in trained or value.shape != (() if kind == "step" else trained[name].shape):
            raise InputError(msg("{key} is no state of these weights", key=shown(key, 200)), file=str(path / STATES))
    with torch.no_grad():
        for name, target in local_shards(model).items():
            target.put(0, 0, weights[name])
    for key, value in states.items():
        name, _, kind = key.rpartition(":")
        optimizer.state[trained[name]][kind] = value.clone() if kind == "step" else shard_like(trained[name], value)
    return run


def _read(path: Path) -> dict[str, bytes]:
    """Return the contents of a checkpoint's files. Raise InputError unless they match their checksums."""
    try:
        sums = decode_json((path / SUMS).read_bytes(), dict[str, str])
        contents = {name: (path / Path(name).name).read_bytes() for name in sums}
    except OSError as error:
        raise InputError(msg("cannot be read ({strerror})", strerror=error.strerror), file=str(path)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(msg("is broken ({error})", error=shown(str(error))), file=str(path / SUMS)) from None
    for name, content in contents.items():
        if hashlib.sha256(content).hexdigest() != sums[name]:
            raise InputError(msg("is not what was written"), file=str(path / name))
    return contents


def _states(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {
        f"{name}:{key}": full_tensor(value.detach()).cpu().contiguous()
        for name, weight in _trained(model, optimizer)
        for key, value in optimizer.state.get(weight, {}).items()
    }


def _trained(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[tuple[str, Any]]:
    """Return the weights that the optimizer updates, by name."""
    updated = {id(weight) for group in optimizer.param_groups for weight in group["params"]}
    return [(name, weight) for name, weight in model.named_parameters() if id(weight) in updated]
