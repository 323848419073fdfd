"""Measure the memory of a real training step: with PyTorch's tracker on fake tensors, or of a process.

Only this module uses torch.distributed._tools, whose tracker is not a public interface.
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

from archcalc.analysis.peak import Category
from archcalc.errors import InputError, MissingExtraError
from archcalc.extras import require
from archcalc.nn import build
from archcalc.nn.dtypes import torch_dtype
from archcalc.run.devices import free_memory
from archcalc.spec import Spec
from archcalc.spec.execution import Execution
from archcalc.spec.workload import Workload
from archcalc.words import msg

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
    "sgd-momentum": lambda parameters: torch.optim.SGD(parameters, momentum=0.9),
}

_M_MMAP_THRESHOLD = -3  # of malloc.h

# The tracker's names of each category.
_CATEGORIES: dict[Category, tuple[str, ...]] = {
    "weights": ("PARAM", "BUFFER"),
    "gradients": ("GRAD",),
    "optimizer": ("OPT",),
    "activations": ("ACT",),
    "temporary": ("TEMP",),
}


def tracked_peak(spec: Spec, work: Workload, execution: Execution, optimizer: str = "adamw") -> dict[Category, int]:
    """Return the bytes at the peak of a second step by category.

    It is measured by torch's memory tracker on fake CPU tensors; nothing is allocated. The optimizer updates the
    weights directly; the loss is cross-entropy in float32. Token ids are not counted. Raise InputError for an optimizer
    that is not in OPTIMIZERS, MissingExtraError if this torch has no tracker.
    """
    try:
        from torch.distributed._tools.mem_tracker import MemTracker
    except ImportError:
        raise MissingExtraError(msg("torch.distributed's memory tracker"), "model") from None
    model = build(spec, "meta", torch_dtype(execution.dtype), execution=execution).train()
    with FakeTensorMode():
        to_fake_cpu(model)
        step = _TrainingStep(spec, model, work, _make_optimizer(optimizer, model))
        tracker = MemTracker()
        tracker.track_external(model, step.optimizer, *step.ids)
        with tracker:
            step()
            tracker.reset_mod_stats()
            step()
        (categories,) = tracker.get_tracker_snapshot("peak").values()
    sizes = {str(kind).rpartition(".")[2]: size for kind, size in categories.items()}
    return {category: sum(sizes[kind] for kind in kinds) for category, kinds in _CATEGORIES.items()}


def process_peak(spec: Spec, work: Workload, execution: Execution, needed_bytes: int, optimizer: str = "adamw") -> int:
    """Return the bytes by which a fresh process grows in two steps on the CPU: its peak minus its memory before.

    A small step runs first to load libraries, and freed memory is returned at once (glibc's mallopt); what threads and
    kernels allocate is included. Raise InputError if `needed_bytes` exceed the machine's free memory.
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
        return pool.apply(_peak_growth, (spec, work, execution, optimizer))


def training_step(
    spec: Spec, work: Workload, execution: Execution, device: str, optimizer: str = "adamw"
) -> Callable[[], None]:
    """Return a training step of a new model on a device; each call makes one."""
    model = build(spec, device, torch_dtype(execution.dtype), execution=execution).train()
    return _TrainingStep(spec, model, work, _make_optimizer(optimizer, model), device)


def _peak_growth(spec: Spec, work: Workload, execution: Execution, optimizer: str) -> int:
    _warm_up()
    before = _high_water_bytes()
    step = training_step(spec, work, execution, "cpu", optimizer)
    step()
    step()
    return _high_water_bytes() - before


def _high_water_bytes() -> int:
    """Return the peak memory of this process (getrusage would include its parent's)."""
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
    """Load libraries, and make malloc map blocks of 64 KiB and more, so that freed memory is returned."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").mallopt(_M_MMAP_THRESHOLD, 64 * 1024)
    layer = nn.Linear(64, 64)
    optimizer = torch.optim.AdamW(layer.parameters())
    F.cross_entropy(layer(torch.zeros(64, 64)), torch.zeros(64, dtype=torch.long)).backward()  # type: ignore[no-untyped-call]
    optimizer.step()


class _TrainingStep:
    """A training step on zeros, as a plain loop would write it."""

    def __init__(
        self, spec: Spec, model: nn.Module, work: Workload, optimizer: torch.optim.Optimizer, device: str = "cpu"
    ) -> None:
        self.model, self.optimizer = model, optimizer
        lengths = [work.source_seq, work.seq] if spec.family == "encoder-decoder" else [work.seq]
        self.ids = [torch.zeros(work.batch, length, dtype=torch.long, device=device) for length in lengths]
        self.logits: Tensor | None = None

    def __call__(self) -> None:
        self.logits = self.model(*self.ids)
        _loss(self.model, self.logits, self.ids[-1]).backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.optimizer.zero_grad()


def _loss(model: nn.Module, logits_BTV: Tensor, ids_BT: Tensor) -> Tensor:
    """Return the cross-entropy; without a head, the sum of the states."""
    if getattr(model, "head", None) is None:
        return logits_BTV.float().sum()
    return F.cross_entropy(logits_BTV.flatten(0, 1).float(), ids_BT.flatten())


def _make_optimizer(name: str, model: nn.Module) -> torch.optim.Optimizer:
    if name not in OPTIMIZERS:
        raise InputError(
            msg("{name} is not measured", name=repr(name)), where="optimizer", allowed=", ".join(OPTIMIZERS)
        )
    return OPTIMIZERS[name](model.parameters())


def to_fake_cpu(model: nn.Module) -> None:
    """Within a FakeTensorMode, replace meta tensors of a model by fake CPU tensors (`Module.to` cannot)."""
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                fake = torch.empty(parameter.shape, dtype=parameter.dtype, device="cpu")
                module._parameters[name] = nn.Parameter(fake, parameter.requires_grad)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype, device="cpu")
