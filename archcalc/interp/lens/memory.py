"""The memory of making a lens, checked before it is taken."""

from __future__ import annotations

from typing import Any

from archcalc.interp.trace.trace_input import recorded_bytes
from archcalc.run.devices import free_memory
from archcalc.run.loading.memory_check import TooLargeError
from archcalc.spec.workload import Workload
from archcalc.units import human_bytes
from archcalc.words import msg

FLOAT_BYTES = 4


def check_maps_memory(model: Any, n_maps: int, *, copies: int, batch: int, n_tokens: int) -> None:
    """Raise TooLargeError if maps, each `copies` times, and the values of a pass exceed the device's free memory."""
    spec, device = model.spec, model.embed.tokens.weight.device
    maps = copies * n_maps * spec.d_model**2 * FLOAT_BYTES
    needed = maps + 2 * recorded_bytes(spec, Workload(batch=batch, seq=n_tokens, source_seq=n_tokens))
    free_bytes = free_memory(device)
    if needed > free_bytes:
        raise TooLargeError(
            msg(
                "the lens needs {needed}, of which {maps} for {n_maps} maps; {free_bytes} are free on {type}",
                needed=human_bytes(needed),
                maps=human_bytes(maps),
                n_maps=n_maps,
                free_bytes=human_bytes(free_bytes),
                type=device.type,
            )
        )
