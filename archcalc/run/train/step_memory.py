"""The memory of a real training step, measured: by PyTorch's tracker on fake tensors, or of a process.

The only file that reaches into torch.distributed._tools, whose tracker is no public interface.
"""

from __future__ import annotations

import ctypes
import multiprocessing
from collections.abc import Callable
from contextlib import suppress

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from archcalc.analysis.peak import Moment
from archcalc.errors import InputError, MissingExtraError
from archcalc.extras import require
from archcalc.nn import build
from archcalc.nn.dtypes import torch_dtype
from archcalc.run.devices import free_memory
from archcalc.spec import Spec
from archcalc.spec.execution import Execution
from archcalc.spec.workload import Workload
from archcalc.words import msg

OPTIMISERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
    "sgd-momentum": lambda parameters: torch.optim.SGD(parameters, momentum=0.9),
}

_M_MMAP_THRESHOLD = -3  # of malloc.h

# The tracker's categories by ours.
_CATEGORIES = {
    "weights": ("PARAM", "BUFFER"),
    "gradients": ("GRAD",),
    "optimiser": ("OPT",),
    "activations": ("ACT",),
    "temporary": ("TEMP",),
}


def tracked_peak(spec: Spec, work: Workload, how: Execution, optimiser: str = "adamw") -> Moment:
    """The fullest moment of a second step, as torch's memory tracker sees it on fake CPU tensors: nothing is allocated.

    The optimiser steps on the weights themselves; the loss is cross-entropy in float32. Token ids are left out.
    Raises InputError for an optimiser that is none of OPTIMISERS, MissingExtraError where this torch has no tracker.
    """
    try:
        from torch.distributed._tools.mem_tracker import MemTracker
    except ImportError:
        raise MissingExtraError(msg("torch.distributed's memory tracker"), "model") from None
    model = build(spec, "meta", torch_dtype(how.dtype), execution=how).train()
    with FakeTensorMode():
        put_on_cpu(model)
        step = _Step(spec, model, work, _optimiser(optimiser, model))
        tracker = MemTracker()
        tracker.track_external(model, step.optimiser, *step.ids)
        with tracker:
            step()
            tracker.reset_mod_stats()
            step()
        (found,) = tracker.get_tracker_snapshot("peak").values()
    sizes = {str(kind).rpartition(".")[2]: size for kind, size in found.items()}
    return Moment("tracked", **{ours: sum(sizes[kind] for kind in kinds) for ours, kinds in _CATEGORIES.items()})


def process_peak(spec: Spec, work: Workload, how: Execution, needed_bytes: int, optimiser: str = "adamw") -> int:
    """Bytes that a process of its own grows by in two steps on the CPU: its peak less what it had before the model.

    A small step runs first, so that libraries are loaded, and freed memory is given back at once (glibc's mallopt);
    what threads and kernels take for themselves is still part of it. Raises InputError where `needed_bytes`
    are more than the machine has free.
    """
    require("psutil", does=msg("measuring a process"), extra="run")
    free = free_memory(torch.device("cpu"))
    if needed_bytes > free:
        raise InputError(
            msg(
                "{name} needs about {needed_bytes:.1f} GB; {free:.1f} GB are free here",
                name=spec.name,
                needed_bytes=needed_bytes / 1000000000.0,
                free=free / 1000000000.0,
            ),
            where="measure process",
            allowed=msg("a smaller model or workload, or `measure` fake"),
        )
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_grown, (spec, work, how, optimiser))


def _grown(spec: Spec, work: Workload, how: Execution, optimiser: str) -> int:
    _warm_up()
    before = _high_water_bytes()
    model = build(spec, "cpu", torch_dtype(how.dtype), execution=how).train()
    step = _Step(spec, model, work, _optimiser(optimiser, model))
    step()
    step()
    return _high_water_bytes() - before


def _high_water_bytes() -> int:
    """The most that this process has held (getrusage would tell what it inherited from its parent)."""
    path = "/proc/self/status"
    try:
        with open(path, encoding="ascii") as file:
            entries = dict(line.split(":", 1) for line in file)
    except OSError:
        raise InputError(
            msg("there is no {path} here", path=path), where="measure process", allowed=msg("Linux, or `measure` fake")
        ) from None
    return int(entries["VmHWM"].split()[0]) * 1024


def _warm_up() -> None:
    """Load what a step needs, and have freed memory given back: blocks from 64 KiB on are mapped, each for itself."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").mallopt(_M_MMAP_THRESHOLD, 64 * 1024)
    small = nn.Linear(64, 64)
    optimiser = torch.optim.AdamW(small.parameters())
    F.cross_entropy(small(torch.zeros(64, 64)), torch.zeros(64, dtype=torch.long)).backward()  # type: ignore[no-untyped-call]
    optimiser.step()


class _Step:
    """A training step on zeros, as a loop would write it."""

    def __init__(self, spec: Spec, model: nn.Module, work: Workload, optimiser: torch.optim.Optimizer) -> None:
        self.model, self.optimiser = model, optimiser
        lengths = [work.source_seq, work.seq] if spec.family == "encoder-decoder" else [work.seq]
        self.ids = [torch.zeros(work.batch, length, dtype=torch.long) for length in lengths]
        self.logits: Tensor | None = None

    def __call__(self) -> None:
        self.logits = self.model(*self.ids)
        _loss(self.model, self.logits, self.ids[-1]).backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        self.optimiser.zero_grad()


def _loss(model: nn.Module, logits_BTV: Tensor, ids_BT: Tensor) -> Tensor:
    """Cross-entropy; of a model without a head the sum of its states."""
    if getattr(model, "head", None) is None:
        return logits_BTV.float().sum()
    return F.cross_entropy(logits_BTV.flatten(0, 1).float(), ids_BT.flatten())


def _optimiser(name: str, model: nn.Module) -> torch.optim.Optimizer:
    if name not in OPTIMISERS:
        raise InputError(
            msg("{name} is not measured", name=repr(name)), where="optimizer", allowed=", ".join(OPTIMISERS)
        )
    return OPTIMISERS[name](model.parameters())


def put_on_cpu(model: nn.Module) -> None:
    """Within a FakeTensorMode, fake CPU tensors in the place of a model's meta ones (`Module.to` cannot swap those)."""
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                fake = torch.empty(parameter.shape, dtype=parameter.dtype, device="cpu")
                module._parameters[name] = nn.Parameter(fake, parameter.requires_grad)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype, device="cpu")
