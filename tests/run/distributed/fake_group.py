"""This process as one of several, of which there are no others: what a rank holds needs no one to talk to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.testing._internal.distributed.fake_pg import FakeStore

from archcalc.analysis.shards import Engine
from archcalc.run.devices import Ranks


@contextmanager
def rank_of(engine: Engine, rank: int, n: int, device: str = "meta") -> Iterator[Ranks]:
    """Rank `rank` of n."""
    dist.init_process_group("fake", rank=rank, world_size=n, store=FakeStore())
    try:
        yield Ranks(engine, init_device_mesh("cpu", (n,)), torch.device(device))
    finally:
        dist.destroy_process_group()
