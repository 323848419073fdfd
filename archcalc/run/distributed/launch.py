"""Join the process group that torchrun started, and report ranks that are lost."""

from __future__ import annotations

import os
import platform
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh

from archcalc.analysis.shards import Engine
from archcalc.errors import ArchcalcError, InputError
from archcalc.run.devices import Ranks, device_of
from archcalc.words import msg

BACKENDS = {"cpu": "gloo", "cuda": "nccl"}
_CONNECTION_WORDS = ("gloo", "nccl", "timed out", "timeout", "connection", "store", "socket", "process group")


class LostRankError(ArchcalcError):
    """Another process ended, or does not answer."""

    exit_code = 1


def n_processes() -> int:
    """Return the number of processes that torchrun started; 0 without it."""
    return int(os.environ["WORLD_SIZE"]) if "RANK" in os.environ and "WORLD_SIZE" in os.environ else 0


@contextmanager
def process_group(engine: Engine, n: int | None, device: str, seconds: float) -> Iterator[Ranks]:
    """Join the processes of this job; `n` is the number that the user asked for.

    Raise InputError without torchrun, for another number than it started, or for a missing device; LostRankError if
    another process ends or does not answer within `seconds`, or if torchrun ends this one.
    """
    if not (n_started := n_processes()):
        expected = f"torchrun --nproc-per-node {n or 'N'} -m archcalc …"
        raise InputError(msg("asks for several processes, and this is one"), where=engine, allowed=expected)
    if n not in (None, n_started):
        raise InputError(
            msg("found {n}, and torchrun started {there}", n=n, there=n_started), where=engine, allowed=str(n_started)
        )
    own_device, processes = _device(device), list[tuple[str, int]]()
    _on_sigterm(_raise_lost_rank)
    try:
        dist.init_process_group(BACKENDS[own_device.type], timeout=timedelta(seconds=seconds))
        processes = _processes()
        yield Ranks(engine, init_device_mesh(own_device.type, (n_started,)), own_device)
        dist.barrier()
    except RuntimeError as error:
        if not any(word in str(error).lower() for word in _CONNECTION_WORDS):
            raise
        _continue_stopped(processes)
        raise LostRankError(
            msg(
                "another process has ended, or did not answer within {seconds:g} s (`timeout`): {what}",
                seconds=seconds,
                what=_reason(error),
            )
        ) from None
    finally:
        _on_sigterm(signal.SIG_IGN)  # report the error before this process ends
    _on_sigterm(signal.SIG_DFL)
    dist.destroy_process_group()


def _on_sigterm(handler: Any) -> None:
    """Set rank 0's SIGTERM handler: torchrun sends it when another rank has ended, and rank 0 reports for all."""
    if os.environ["RANK"] == "0" and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


def _raise_lost_rank(*_: Any) -> NoReturn:
    """Report the lost rank, once."""
    _on_sigterm(signal.SIG_IGN)
    raise LostRankError(msg("another process has ended, or torchrun is ending: it sent SIGTERM"))


def _processes() -> list[tuple[str, int]]:
    """Return host name and process id of each rank."""
    processes: list[tuple[str, int]] = [("", 0)] * dist.get_world_size()
    dist.all_gather_object(processes, (platform.node(), os.getpid()))
    return processes


def _continue_stopped(processes: list[tuple[str, int]]) -> None:
    """Resume stopped processes on this machine, so that they receive torchrun's signal to end."""
    for machine, pid in processes:
        if machine == platform.node() and pid != os.getpid():
            with suppress(OSError):
                os.kill(pid, signal.SIGCONT)


def _device(name: str) -> torch.device:
    """Return this process's device: for `cuda`, the GPU of its local rank."""
    if device_of(name).type != "cuda" or name != "cuda":
        return torch.device(name)
    os.environ.setdefault("TORCH_NCCL_BLOCKING_WAIT", "1")  # a timeout raises instead of aborting
    gpu = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(gpu)
    return gpu


def _reason(error: Exception) -> str:
    """Return torch's message without its stack, file position and advice."""
    return str(error).strip().splitlines()[0].rpartition("] ")[2].partition(". This is")[0]
