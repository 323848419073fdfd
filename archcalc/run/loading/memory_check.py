"""Refuse a model that does not fit into memory, before anything is allocated."""

from __future__ import annotations

import torch

from archcalc.analysis.memory import Dtype, summary
from archcalc.analysis.shards import caches, check_parts, split_bytes, weights
from archcalc.errors import ArchcalcError
from archcalc.formats.element_types import element_bytes
from archcalc.ledger.build import build
from archcalc.nn.dtypes import MODEL_DTYPES
from archcalc.run.devices import Ranks, free_memory
from archcalc.spec import Spec
from archcalc.spec.workload import Workload
from archcalc.words import Bytes, Message, joined, msg

# The ledger's names of dtypes.
DTYPE_NAMES: dict[torch.dtype, Dtype] = {dtype: name for name, dtype in MODEL_DTYPES.items()}


class TooLargeError(ArchcalcError):
    """A model that does not fit into the machine's memory."""


def check(spec: Spec, work: Workload | None, dtype: torch.dtype, device: torch.device) -> None:
    """Raise TooLargeError if the weights of a spec and the caches of a workload exceed the device's free memory."""
    ledger, name, free_bytes = build(spec), DTYPE_NAMES[dtype], free_memory(device)
    needed = ledger.total() * element_bytes(name)
    needs = [msg("{size} of weights in {dtype}", size=Bytes(needed), dtype=name)]
    if work is not None:
        memory = summary(ledger, work, name)
        cache_bytes = memory["kv_cache_bytes"] + memory["state_bytes"]
        needed += cache_bytes
        tokens = {"batch": work.batch, "tokens": work.past + work.seq}
        needs.append(msg("{size} of cache for {batch} × {tokens:,} tokens", size=Bytes(cache_bytes), **tokens))
    problem = msg("{name} needs {needs}; {free_bytes} are free on {type}", name=spec.name, type=device.type)
    check_fits(needed, free_bytes, problem.fill(needs=joined(msg(" and "), needs)))


def check_rank(spec: Spec, work: Workload | None, dtype: torch.dtype, ranks: Ranks, *, copies: int = 1) -> None:
    """Raise TooLargeError if `copies` of a rank's part of a model, and its caches, exceed the rank's free memory.

    Ranks on one machine share the CPU's memory.
    """
    check_parts(spec, ranks.engine, ranks.n)
    ledger, name = build(spec), DTYPE_NAMES[dtype]
    needed = copies * max(split_bytes(weights(ledger, ranks.engine, ranks.n, name)))
    if work is not None:
        needed += max(split_bytes(caches(ledger, work, ranks.engine, ranks.n, name)))
    free_bytes = free_memory(ranks.device) // (ranks.n_local if ranks.device.type == "cpu" else 1)
    problem = msg(
        "{name} needs {needed} in {name_2} on each of {n} ranks; {free_bytes} are free for one on {type}",
        name=spec.name,
        name_2=name,
        n=ranks.n,
        type=ranks.device.type,
    )
    check_fits(needed, free_bytes, problem)


def check_fits(needed: int, free_bytes: int, problem: Message) -> None:
    """Raise TooLargeError if more bytes are needed than are free, which the problem calls {needed} and {free_bytes}."""
    if needed > free_bytes:
        raise TooLargeError(problem.fill(needed=Bytes(needed), free_bytes=Bytes(free_bytes)))
