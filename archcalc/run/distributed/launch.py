"""The processes that torchrun starts, met: who this one is, and what becomes of those that wait for a lost one."""

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
_SAID_BY_TORCH = ("gloo", "nccl", "timed out", "timeout", "connection", "store", "socket", "process group")


class LostRankError(ArchcalcError):
    """Another process has ended, or does not answer."""

    exit_code = 1


def started() -> int:
    """How many processes torchrun has started; 0 without it."""
    return int(os.environ["WORLD_SIZE"]) if "RANK" in os.environ and "WORLD_SIZE" in os.environ else 0


@contextmanager
def joined(engine: Engine, n: int | None, device: str, seconds: float) -> Iterator[Ranks]:
    """The processes of this job, met; `n` is how many are asked for.

    Raises InputError without torchrun, for another number of processes than it started, or a device that is not there;
    LostRankError where another process ends, or does not answer within so many seconds, or torchrun ends this one.
    """
    if not (there := started()):
        asked = f"torchrun --nproc-per-node {n or 'N'} -m archcalc …"
        raise InputError(msg("asks for several processes, and this is one"), where=engine, allowed=asked)
    if n not in (None, there):
        raise InputError(
            msg("found {n}, and torchrun started {there}", n=n, there=there), where=engine, allowed=str(there)
        )
    here, processes = _device(device), list[tuple[str, int]]()
    _on_end(_end)
    try:
        dist.init_process_group(BACKENDS[here.type], timeout=timedelta(seconds=seconds))
        processes = _processes()
        yield Ranks(engine, init_device_mesh(here.type, (there,)), here)
        dist.barrier()
    except RuntimeError as error:
        if not any(word in str(error).lower() for word in _SAID_BY_TORCH):
            raise
        _wake(processes)
        raise LostRankError(
            msg(
                "another process has ended, or did not answer within {seconds:g} s (`timeout`): {what}",
                seconds=seconds,
                what=_what(error),
            )
        ) from None
    finally:
        _on_end(signal.SIG_IGN)  # what went wrong is told before this process ends
    _on_end(signal.SIG_DFL)
    dist.destroy_process_group()


def _on_end(do: Any) -> None:
    """What rank 0, which speaks for all, does when torchrun ends it because another has ended."""
    if os.environ["RANK"] == "0" and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, do)


def _end(*_: Any) -> NoReturn:
    """Say so, once."""
    _on_end(signal.SIG_IGN)
    raise LostRankError(msg("another process has ended, or torchrun itself was told to: it sent SIGTERM"))


def _processes() -> list[tuple[str, int]]:
    """The machine and the number of each rank's process."""
    found: list[tuple[str, int]] = [("", 0)] * dist.get_world_size()
    dist.all_gather_object(found, (platform.node(), os.getpid()))
    return found


def _wake(processes: list[tuple[str, int]]) -> None:
    """Let those of this machine that were stopped go on, so that they hear that torchrun ends them."""
    for machine, pid in processes:
        if machine == platform.node() and pid != os.getpid():
            with suppress(OSError):
                os.kill(pid, signal.SIGCONT)


def _device(name: str) -> torch.device:
    """The device of this process: of several GPUs the one of its number on this machine."""
    if device_of(name).type != "cuda" or name != "cuda":
        return torch.device(name)
    os.environ.setdefault("TORCH_NCCL_BLOCKING_WAIT", "1")  # a timeout is raised, not fatal
    here = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(here)
    return here


def _what(error: Exception) -> str:
    """What torch says, without its stack, its own file's place, and its advice."""
    return str(error).strip().splitlines()[0].rpartition("] ")[2].partition(". This is")[0]
