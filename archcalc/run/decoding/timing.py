"""How fast tokens come, measured, and how near that is to what the memory allows."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

import msgspec

Step = list[int | None]


class Timing(msgspec.Struct):
    """Seconds to the first token (the prompts are read in them), then of the decode steps, each a token of every row.

    `n_decoded`: the tokens of those steps, of rows that had not ended.
    """

    n_prompt_tokens: int = 0
    n_rows: int = 1
    first_seconds: float = 0.0
    n_steps: int = 0
    n_decoded: int = 0
    decode_seconds: float = 0.0

    def clocked(self, steps: Iterable[Step]) -> Iterator[Step]:
        """The steps as they come, counted; what happens between one and the asking for the next is left out."""
        waiting = iter(steps)
        while True:
            began = time.perf_counter()
            step = next(waiting, None)
            seconds = time.perf_counter() - began
            if step is None:
                return
            self._count(step, seconds)
            yield step

    def _count(self, step: Step, seconds: float) -> None:
        self.n_steps += 1
        if self.n_steps == 1:
            self.first_seconds = seconds
            return
        self.decode_seconds += seconds
        self.n_decoded += sum(token is not None for token in step)

    @property
    def tokens_per_second(self) -> float | None:
        """Tokens of all rows a second, after the first; None where there was but one step."""
        return self.n_decoded / self.decode_seconds if self.n_decoded else None

    @property
    def steps_per_second(self) -> float | None:
        """Decode steps a second: each reads all the weights once, whatever the batch."""
        return (self.n_steps - 1) / self.decode_seconds if self.n_steps > 1 else None
