"""A training run, from the beginning or from a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from msgspec.structs import replace

from archcalc.analysis.optimizers import find_optimizer
from archcalc.analysis.peak import moments, peak
from archcalc.analysis.training import find_recipe, persistent_tensors
from archcalc.errors import InputError
from archcalc.ledger.build import build as build_ledger
from archcalc.nn import build
from archcalc.run.devices import free_memory
from archcalc.run.loading.memory_check import TooLargeError, check_rank
from archcalc.run.train.checkpoints import RunState, checkpoint_folders, restore, save
from archcalc.run.train.dataset import Dataset
from archcalc.run.train.loop import TrainingStep, ValidationResult, adamw, train_steps, validate
from archcalc.run.train.settings import Settings, seed_of
from archcalc.spec import Spec
from archcalc.spec.execution import Execution
from archcalc.spec.workload import workload
from archcalc.words import Bytes, Message, msg

if TYPE_CHECKING:
    from archcalc.run.devices import Ranks


@dataclass
class Session:
    """A model in training, and the state of its run; `notes` tell the user which checkpoints were skipped."""

    model: Any
    optimizer: torch.optim.Optimizer
    dataset: Dataset
    folder: Path
    run: RunState
    notes: list[Message] = field(default_factory=list)
    last_checkpoint: Path | None = None
    is_writer: bool = True

    def __iter__(self) -> Iterator[tuple[TrainingStep, ValidationResult | None]]:
        """Yield every step; every `settings.every` steps, also validate and save."""
        settings = self.run.settings
        for step in train_steps(self.model, self.dataset.batches, self.optimizer, settings, first=self.run.step):
            self.run.losses.append(step.loss)  # in place: copying the list at each step would take quadratic time
            self.run = replace(self.run, step=step.number, seconds=self.run.seconds + step.seconds)
            is_due = step.number % settings.every == 0 or step.number == settings.steps
            yield step, self._save() if is_due else None

    def _save(self) -> ValidationResult:
        result = validate(self.model, self.dataset.batches.validation(), self.dataset.batches.n_characters)
        line = (self.run.step, result.nats, result.nats_per_character, result.accuracy)
        self.run = replace(self.run, held_out=[*self.run.held_out, line])
        spec, files = self.dataset.spec, self.dataset.files
        self.last_checkpoint = save(
            self.folder, self.run, self.model, spec, self.optimizer, files, is_writer=self.is_writer
        )
        return result


def open_session(
    dataset: Dataset,
    settings: Settings,
    folder: Path,
    *,
    device: torch.device,
    resume: bool = False,
    ranks: Ranks | None = None,
) -> Session:
    """Return a session in `folder`; with `resume`, from its last complete checkpoint.

    With `ranks` they share the model: each gets every batch, and the first one writes.

    Raise TooLargeError before anything is allocated if a step does not fit; InputError if the folder already has a run,
    or, with `resume`, has none, or one with other settings or another dataset.
    """
    check_memory(dataset.spec, settings, device, ranks)
    folders = checkpoint_folders(folder)
    if folders and not resume:
        raise InputError(msg("holds a run already"), file=str(folder), allowed=msg("`resume`, or another folder"))
    if resume and not folders:
        raise InputError(msg("holds no run to resume"), file=str(folder), allowed=msg("a folder with checkpoints"))
    execution = Execution(dtype="fp32", device="cuda" if device.type == "cuda" else "cpu")
    model = _initial_model(dataset.spec, seed_of(settings.seed, "weights"), device, execution, ranks)
    run = RunState(settings=settings, data=dataset.fingerprint)
    session = Session(model, adamw(model, settings), dataset, folder, run)
    session.is_writer = ranks is None or ranks.rank == 0
    return _resume(session, folders) if resume else session


def _initial_model(spec: Spec, seed: int, device: torch.device, execution: Execution, ranks: Ranks | None) -> Any:
    """Return the model before its first step; a seed gives the same weights on any number of ranks."""
    if ranks is None:
        torch.manual_seed(seed)
        return build(spec, device, torch.float32, execution=execution)
    from archcalc.run.distributed.load import initialize, shard_model

    model = build(spec, dtype=torch.float32, execution=execution)
    shard_model(model, ranks)
    initialize(model, seed)
    return model


def check_memory(spec: Spec, settings: Settings, device: torch.device, ranks: Ranks | None = None) -> None:
    """Raise TooLargeError if the modeled peak of a training step exceeds the device's free memory.

    With `ranks`: if a rank's weights, gradients and two optimizer states exceed its share of that.
    """
    if ranks is not None:
        check_rank(spec, None, torch.float32, ranks, copies=4)
        return
    work = workload(spec, batch=settings.batch, seq=settings.seq)
    execution = Execution(dtype="fp32", device="cuda" if device.type == "cuda" else "cpu")
    precision, optimizer = find_recipe("pure").precision("fp32"), find_optimizer("adamw")
    tensors = persistent_tensors(build_ledger(spec).rows, precision, optimizer)
    needed, free = peak(moments(spec, work, execution, tensors)).bytes, free_memory(device)
    if needed > free:
        raise TooLargeError(
            msg(
                "{name} needs about {needed} for a step of {batch} × {seq:,} tokens (modeled); {free} are free on "
                "{type}",
                name=spec.name,
                needed=Bytes(needed),
                batch=settings.batch,
                seq=settings.seq,
                free=Bytes(free),
                type=device.type,
            )
        )


def _resume(session: Session, folders: list[Path]) -> Session:
    """Restore the last complete checkpoint; note the ones that were skipped."""
    for path in reversed(folders):
        try:
            run = restore(path, session.dataset.spec, session.model, session.optimizer)
        except InputError as error:
            session.notes.append(msg("skipped: {error}", error=error))
            continue
        _check_same(run, session.run, path)
        session.run, session.last_checkpoint = run, path
        return session
    raise InputError(msg("has no whole checkpoint ({notes})", notes=session.notes[0]), file=str(session.folder))


def _check_same(run: RunState, requested: RunState, path: Path) -> None:
    for name in Settings.__struct_fields__:
        saved, now = getattr(run.settings, name), getattr(requested.settings, name)
        if saved != now:
            raise InputError(
                msg("found {found}", found=now), where=name, allowed=msg("{was}, as in {path}", was=saved, path=path)
            )
    if run.data != requested.data:
        raise InputError(
            msg("learned from another text"), file=str(path), allowed=msg("the text that the run began with")
        )
