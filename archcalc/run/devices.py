"""Where a model runs: a device, the memory it has left, and the processes that share a job."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from archcalc.analysis.shards import Engine
from archcalc.errors import InputError
from archcalc.words import msg

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

_CONTROL_GROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Ranks:
    """This process among those of a job; `mesh` holds them all, `device` is this one's."""

    engine: Engine
    mesh: DeviceMesh
    device: torch.device

    @property
    def rank(self) -> int:
        """This one's number, from 0."""
        return self.mesh.get_rank()

    @property
    def n(self) -> int:
        """How many there are."""
        return self.mesh.size()

    @property
    def n_here(self) -> int:
        """How many share this machine."""
        return int(os.environ.get("LOCAL_WORLD_SIZE", self.n))


def device_of(name: str | torch.device) -> torch.device:
    """The device of this name. Raises InputError if it is none, or is not there."""
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(msg("found {name}", name=repr(name)), where="device", allowed="cpu, cuda, cuda:0 …") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(
            msg("found {name}, which is not here", name=name),
            where="device",
            allowed=msg("cpu, or one of this machine's GPUs"),
        )
    if device.type not in ("cpu", "cuda"):
        raise InputError(msg("found {type}", type=device.type), where="device", allowed="cpu, cuda, cuda:0 …")
    return device


def free_memory(device: torch.device) -> int:
    """Bytes that can be had on a device: of the machine's memory, or what its control group leaves of it."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    import psutil

    return min(psutil.virtual_memory().available, _left_by_group())


def _left_by_group() -> int:
    """Bytes that the control group (a container's, say) leaves: its limit less what is not a file's. No limit: 2^63."""
    try:
        limit = (_CONTROL_GROUP / "memory.max").read_text().strip()
        stat = dict(line.split() for line in (_CONTROL_GROUP / "memory.stat").read_text().splitlines())
    except OSError:
        return 2**63
    return 2**63 if limit == "max" else int(limit) - int(stat["anon"])
