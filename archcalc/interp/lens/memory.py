"""The memory of making a lens, checked before it is taken."""

from __future__ import annotations

from typing import Any

from archcalc.interp.memory import FLOAT_BYTES, recorded_bytes
from archcalc.run.devices import free_memory
from archcalc.run.loading.memory_check import check_fits
from archcalc.spec.workload import Workload
from archcalc.words import Bytes, msg


def check_maps_memory(model: Any, n_maps: int, *, copies: int, batch: int, n_tokens: int) -> None:
    """Raise TooLargeError if maps, each `copies` times, and the values of a pass exceed the device's free memory."""
    spec, device = model.spec, model.embed.tokens.weight.device
    maps = copies * n_maps * spec.d_model**2 * FLOAT_BYTES
    needed = maps + 2 * recorded_bytes(spec, Workload(batch=batch, seq=n_tokens, source_seq=n_tokens))
    problem = msg(
        "the lens needs {needed}, of which {maps} for {n_maps} maps; {free_bytes} are free on {type}",
        maps=Bytes(maps),
        n_maps=n_maps,
        type=device.type,
    )
    check_fits(needed, free_memory(device), problem)
