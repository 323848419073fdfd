"""Measure the speed of decoding."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

import msgspec

StepIds = list[int | None]


class Timing(msgspec.Struct):
    """Seconds to the first token, prefill included; then of the decode steps, each one token per row.

    `n_decoded`: tokens of those steps, without rows that had ended.
    """

    n_prompt_tokens: int = 0
    n_rows: int = 1
    first_seconds: float = 0.0
    n_steps: int = 0
    n_decoded: int = 0
    decode_seconds: float = 0.0

    def timed(self, steps: Iterable[StepIds]) -> Iterator[StepIds]:
        """Yield the steps, timed; the caller's time between two steps is not counted."""
        iterator = iter(steps)
        while True:
            start = time.perf_counter()
            step = next(iterator, None)
            seconds = time.perf_counter() - start
            if step is None:
                return
            self._count(step, seconds)
            yield step

    def _count(self, step: StepIds, seconds: float) -> None:
        self.n_steps += 1
        if self.n_steps == 1:
            self.first_seconds = seconds
            return
        self.decode_seconds += seconds
        self.n_decoded += sum(token is not None for token in step)

    @property
    def tokens_per_second(self) -> float | None:
        """Return the tokens of all rows per second after the first step; None if there was only one."""
        return self.n_decoded / self.decode_seconds if self.n_decoded else None

    @property
    def steps_per_second(self) -> float | None:
        """Return decode steps per second; each reads all weights once, for any batch size."""
        return (self.n_steps - 1) / self.decode_seconds if self.n_steps > 1 else None
