"""Decode one token per row and step."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from archcalc.run.decoding.decoding_state import DecodingState
from archcalc.run.decoding.sampling import choose_tokens
from archcalc.run.decoding.sampling_options import Sampling

ContinueRow = Callable[[int, int], bool]
LogitsCallback = Callable[[torch.Tensor], None]


def _always(row: int, token: int) -> bool:
    return True


@torch.inference_mode()
def decode_steps(
    state: DecodingState,
    *,
    max_tokens: int,
    sampling: Sampling,
    seed: int = 0,
    continue_row: ContinueRow = _always,
    on_logits: LogitsCallback | None = None,
) -> Iterator[list[int | None]]:
    """Yield the next id of each row, None for rows that have ended, for up to `max_tokens` steps.

    `continue_row(row, id)` returns whether a row continues after an id. Row b samples with its own generator, seeded
    `seed` + b. `on_logits` is called with the logits [B, V] of each step. Raise NonFiniteLogitsError if they are not
    finite.
    """
    seen = [set(ids) for ids in state.token_ids]
    generators = [torch.Generator().manual_seed(seed + row) for row in range(len(seen))]
    is_running = [True] * len(seen)
    ids: list[int] = []
    for step in range(max_tokens):
        if step:
            state.append(ids)
        if on_logits is not None:
            on_logits(state.logits_BV)
        ids = choose_tokens(state.logits_BV, sampling, seen, generators)
        step_ids = [token if is_row_running else None for token, is_row_running in zip(ids, is_running, strict=True)]
        for row, token in enumerate(ids):
            seen[row].add(token)
            is_running[row] = is_running[row] and continue_row(row, token)
        yield step_ids
        if not any(is_running):
            return
