"""Devices: look one up, read its free memory, and describe the ranks that share a job."""

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

_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Ranks:
    """One rank of a job: `mesh` holds all ranks, `device` is this one's."""

    engine: Engine
    mesh: DeviceMesh
    device: torch.device

    @property
    def rank(self) -> int:
        """Return this rank's index, from 0."""
        return self.mesh.get_rank()

    @property
    def n(self) -> int:
        """Return the number of ranks."""
        return self.mesh.size()

    @property
    def n_local(self) -> int:
        """Return the number of ranks on this machine."""
        return int(os.environ.get("LOCAL_WORLD_SIZE", self.n))


def device_of(name: str | torch.device) -> torch.device:
    """Return the device of this name. Raise InputError if it is unknown or missing."""
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(
            msg("found {found}", found=repr(name)), where="device", allowed="cpu, cuda, cuda:0 …"
        ) from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(
            msg("found {name}, which is not here", name=name),
            where="device",
            allowed=msg("cpu, or one of this machine's GPUs"),
        )
    if device.type not in ("cpu", "cuda"):
        raise InputError(msg("found {found}", found=device.type), where="device", allowed="cpu, cuda, cuda:0 …")
    return device


def free_memory(device: torch.device) -> int:
    """Return the free bytes of a device; on the CPU, at most what its control group leaves."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    import psutil

    return min(psutil.virtual_memory().available, _cgroup_free_bytes())


def _cgroup_free_bytes() -> int:
    """Return what the control group (a container's) leaves: its limit minus anonymous memory; 2^63 without a limit."""
    try:
        limit = (_CGROUP / "memory.max").read_text().strip()
        stat = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
    except OSError:
        return 2**63
    return 2**63 if limit == "max" else int(limit) - int(stat["anon"])
