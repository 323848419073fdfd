"""Beam search: the continuation whose tokens are together the most likely, of those that a few beams come by.

Axes: B rows (every prompt's beams, one prompt after another), P prompts, K candidates, Z beams · vocab, V vocab.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from archcalc.errors import InputError
from archcalc.run.decoding.reading import Ids, Reading, check, start
from archcalc.words import msg


@dataclass(frozen=True)
class Hypothesis:
    """A continuation: its ids, an end token with them, and the log-probability of all over length^length_penalty."""

    ids: tuple[int, ...]
    score: float


@torch.inference_mode()
def beam_search(
    model: Any,
    prompts: Sequence[Ids],
    *,
    beams: int,
    max_tokens: int,
    eos_ids: Sequence[int] = (),
    start_id: int | None = None,
    length_penalty: float = 1.0,
    early_stopping: bool = False,
) -> list[Hypothesis]:
    """The best continuation of each prompt, at most `max_tokens` long; with one beam, the greedy one.

    At each step the likeliest tokens after all beams are the candidates, so many that `beams` are left to go on if
    each beam ends by every end token (Wu et al. 2016, section 7; transformers' generate is the definition). Of an ended
    candidate among the `beams` best, log-probability / length^`length_penalty` is its score. A prompt is done when
    `beams` hypotheses have ended and, without `early_stopping`, the best beam's score so far is no better than theirs.
    `start_id` is what an encoder-decoder's targets begin with; the prompts are its sources. Raises InputError as
    `reading.start` does, and for sizes that cannot be.
    """
    for name, size in {"beams": beams, "max_tokens": max_tokens}.items():
        if size < 1:
            raise InputError(msg("found {size}", size=size), where=name, allowed=msg("1 or more"))
    check(model.spec, prompts)
    # One beam has no other to be held against: its end is the end.
    early_stopping = early_stopping or beams == 1
    searches = [_Search(beams, max_tokens, frozenset(eos_ids), length_penalty, early_stopping) for _ in prompts]
    n_kept = max(2, 1 + len(set(eos_ids))) * beams
    reading = start(model, [ids for ids in prompts for _ in range(beams)], max_tokens, start_id)
    scores_B = torch.full((len(prompts), beams), -math.inf, device=reading.logits_BV.device)
    scores_B[:, 0] = 0.0  # all beams are the same as yet
    scores_B = scores_B.flatten()
    for _ in range(max_tokens):
        totals_BV = reading.logits_BV.float().log_softmax(-1) + scores_B.unsqueeze(1)
        totals_PZ = totals_BV.view(len(prompts), -1)
        totals_PK, places_PK = totals_PZ.topk(min(n_kept, totals_PZ.shape[1]))
        for search, totals_K, places_K in zip(searches, totals_PK, places_PK, strict=True):
            search.step(totals_K, places_K.tolist(), totals_BV.shape[1])
        if all(search.done for search in searches):
            break
        scores_B = torch.tensor([beam.total for search in searches for beam in search.running], device=scores_B.device)
        _read(reading, searches)
    return [search.ended[0] for search in searches]


@dataclass(frozen=True)
class _Beam:
    """A text that goes on: its ids so far, their log-probability, and which beam of the step before it goes on from."""

    ids: tuple[int, ...]
    total: float
    parent: int


@dataclass
class _Search:
    """The search of one prompt: beams that go on, and the best hypotheses that have ended, best first."""

    beams: int
    max_tokens: int
    eos_ids: frozenset[int]
    length_penalty: float
    early_stopping: bool
    running: list[_Beam] = field(default_factory=list)
    ended: list[Hypothesis] = field(default_factory=list)
    done: bool = False

    def __post_init__(self) -> None:
        self.running = [_Beam((), 0.0, beam) for beam in range(self.beams)]

    def step(self, totals_K: Tensor, places: list[int], n_vocab: int) -> None:
        """Take in the candidates, best first: log-probabilities, and places beam · n_vocab + token."""
        if self.done:
            return
        length = len(self.running[0].ids) + 1
        scores = (totals_K / length**self.length_penalty).tolist()
        running: list[_Beam] = []
        for rank, (total, score, place) in enumerate(zip(totals_K.tolist(), scores, places, strict=True)):
            parent, token = divmod(place, n_vocab)
            ids = (*self.running[parent].ids, token)
            if token not in self.eos_ids and length < self.max_tokens:
                running.append(_Beam(ids, total, parent))
            elif rank < self.beams and total > -math.inf:
                self.ended.append(Hypothesis(ids, score))
        self.ended = sorted(self.ended, key=lambda found: -found.score)[: self.beams]
        self.running = running[: self.beams]
        self.done = length == self.max_tokens or not running or self._is_settled(length)

    def _is_settled(self, length: int) -> bool:
        """Whether no beam is expected to do better than what has ended."""
        if len(self.ended) < self.beams:
            return False
        return self.early_stopping or self.running[0].total / length**self.length_penalty <= self.ended[-1].score


def _read(reading: Reading, searches: list[_Search]) -> None:
    """Read each beam's last token, the rows put where the beams went on from."""
    parents = [number * search.beams + beam.parent for number, search in enumerate(searches) for beam in search.running]
    reading.reorder(parents)
    reading.read([beam.ids[-1] for search in searches for beam in search.running])
