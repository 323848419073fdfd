"""A run from its beginning, or from the checkpoint that it goes on from, to its end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from msgspec.structs import replace

from archcalc.analysis import optimisers, training
from archcalc.analysis.peak import moments, peak
from archcalc.errors import InputError
from archcalc.ledger.build import build as build_ledger
from archcalc.nn import build
from archcalc.run.devices import free_memory
from archcalc.run.loading.memory_check import TooLargeError, check_parts
from archcalc.run.train.checkpoints import Run, keep, kept, restore
from archcalc.run.train.dataset import Lesson
from archcalc.run.train.loop import HeldOut, Step, held_out, optimiser, steps
from archcalc.run.train.settings import Settings, seed_of
from archcalc.spec import Spec
from archcalc.spec.execution import Execution
from archcalc.spec.workload import workload
from archcalc.units import human_bytes
from archcalc.words import Message, msg

if TYPE_CHECKING:
    from archcalc.run.devices import Ranks


@dataclass
class Session:
    """A model that learns, and what has come of it so far; `notes` are what a user should know of its beginning."""

    model: Any
    stepper: torch.optim.Optimizer
    lesson: Lesson
    folder: Path
    run: Run
    notes: list[Message] = field(default_factory=list)
    newest: Path | None = None
    writes: bool = True

    def __iter__(self) -> Iterator[tuple[Step, HeldOut | None]]:
        """Each step, and after every so many of them how good the model is by now; it is saved then."""
        settings = self.run.settings
        for step in steps(self.model, self.lesson.batches, self.stepper, settings, first=self.run.step):
            self.run.losses.append(step.loss)  # in place: a copy each step would grow with the square of their number
            self.run = replace(self.run, step=step.number, seconds=self.run.seconds + step.seconds)
            due = step.number % settings.every == 0 or step.number == settings.steps
            yield step, self._saved() if due else None

    def _saved(self) -> HeldOut:
        found = held_out(self.model, self.lesson.batches.held_out(), self.lesson.batches.n_characters)
        line = (self.run.step, found.nats, found.nats_a_character, found.right)
        self.run = replace(self.run, held_out=[*self.run.held_out, line])
        shown = self.folder, self.run, self.model, self.lesson.spec, self.stepper, self.lesson.files
        self.newest = keep(*shown, writes=self.writes)
        return found


def begin(
    lesson: Lesson,
    settings: Settings,
    folder: Path,
    *,
    device: torch.device,
    resume: bool = False,
    ranks: Ranks | None = None,
) -> Session:
    """A session in `folder`, from its newest checkpoint that is whole if it is to `resume`.

    With `ranks` the model is theirs: each is shown every batch, and the first writes.

    Raises TooLargeError before anything is allocated if a step does not fit; InputError for a folder that has a run
    already, or, resumed, none, one of other settings, or one that learned from something else.
    """
    check_room(lesson.spec, settings, device, ranks)
    there = kept(folder)
    if there and not resume:
        raise InputError(msg("holds a run already"), file=str(folder), allowed=msg("`resume`, or another folder"))
    if resume and not there:
        raise InputError(msg("holds no run to go on from"), file=str(folder), allowed=msg("a folder with checkpoints"))
    how = Execution(dtype="fp32", device="cuda" if device.type == "cuda" else "cpu")
    model = _first(lesson.spec, seed_of(settings.seed, "weights"), device, how, ranks)
    found = Session(model, optimiser(model, settings), lesson, folder, Run(settings=settings, data=lesson.data))
    found.writes = ranks is None or ranks.rank == 0
    return _resumed(found, there) if resume else found


def _first(spec: Spec, seed: int, device: torch.device, how: Execution, ranks: Ranks | None) -> Any:
    """The model before its first step: the same weights of a seed, on however many ranks."""
    if ranks is None:
        torch.manual_seed(seed)
        return build(spec, device, torch.float32, execution=how)
    from archcalc.run.distributed.load import draw, spread

    model = build(spec, dtype=torch.float32, execution=how)
    spread(model, ranks)
    draw(model, seed)
    return model


def check_room(spec: Spec, settings: Settings, device: torch.device, ranks: Ranks | None = None) -> None:
    """Raise TooLargeError if a training step's modelled peak is more than the device has free.

    Of `ranks`, if what each keeps (weights, gradients, two states) is more than its share of that.
    """
    if ranks is not None:
        check_parts(spec, None, torch.float32, ranks, copies=4)
        return
    work = workload(spec, batch=settings.batch, seq=settings.seq)
    how = Execution(dtype="fp32", device="cuda" if device.type == "cuda" else "cpu")
    lines = training.kept(build_ledger(spec).rows, training.recipe("pure").precision("fp32"), optimisers.named("adamw"))
    needed, free = peak(moments(spec, work, how, lines)).total, free_memory(device)
    if needed > free:
        raise TooLargeError(
            msg(
                "{name} needs about {needed} for a step of {batch} × {seq:,} tokens (modelled); {free} are free on "
                "{type}",
                name=spec.name,
                needed=human_bytes(needed),
                batch=settings.batch,
                seq=settings.seq,
                free=human_bytes(free),
                type=device.type,
            )
        )


def _resumed(found: Session, there: list[Path]) -> Session:
    """From the newest checkpoint that is whole; what was passed over is noted."""
    for path in reversed(there):
        try:
            run = restore(path, found.lesson.spec, found.model, found.stepper)
        except InputError as error:
            found.notes.append(msg("passed over: {error}", error=error))
            continue
        _check_same(run, found.run, path)
        found.run, found.newest = run, path
        return found
    raise InputError(msg("has no whole checkpoint ({notes})", notes=found.notes[0]), file=str(found.folder))


def _check_same(run: Run, asked: Run, path: Path) -> None:
    for name in Settings.__struct_fields__:
        was, now = getattr(run.settings, name), getattr(asked.settings, name)
        if was != now:
            raise InputError(
                msg("found {now}", now=now), where=name, allowed=msg("{was}, as in {path}", was=was, path=path)
            )
    if run.data != asked.data:
        raise InputError(
            msg("learned from another text"), file=str(path), allowed=msg("the text that the run began with")
        )
