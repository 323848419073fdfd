"""Tokens after a prompt, one step at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from archcalc.run.decoding.reading import Reading
from archcalc.run.decoding.sampling import Sampling, choose

GoesOn = Callable[[int, int], bool]
Watch = Callable[[torch.Tensor], None]


def _always(row: int, token: int) -> bool:
    return True


@torch.inference_mode()
def steps(
    reading: Reading,
    *,
    max_tokens: int,
    sampling: Sampling,
    seed: int = 0,
    goes_on: GoesOn = _always,
    watch: Watch | None = None,
) -> Iterator[list[int | None]]:
    """At each step an id of each row, None of one that has ended; up to `max_tokens` steps.

    `goes_on(row, id)` is asked for each id that comes whether its row goes on. Row b draws by a generator of its own,
    seeded `seed` + b. `watch` is shown the logits [B, V] that each step chooses from.
    Raises NotNumbersError where the logits are no numbers.
    """
    seen = [set(ids) for ids in reading.texts]
    dice = [torch.Generator().manual_seed(seed + row) for row in range(len(seen))]
    running = [True] * len(seen)
    ids: list[int] = []
    for step in range(max_tokens):
        if step:
            reading.read(ids)
        if watch is not None:
            watch(reading.logits_BV)
        ids = choose(reading.logits_BV, sampling, seen, dice)
        came = [token if runs else None for token, runs in zip(ids, running, strict=True)]
        for row, token in enumerate(ids):
            seen[row].add(token)
            running[row] = running[row] and goes_on(row, token)
        yield came
        if not any(running):
            return
