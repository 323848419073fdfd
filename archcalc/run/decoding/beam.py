"""Beam search: find a likely continuation by keeping the best few at each step.

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
from archcalc.run.decoding.decoding_state import DecodingState, Ids, check_prompts, prefill
from archcalc.words import msg


@dataclass(frozen=True)
class Hypothesis:
    """A finished continuation: its ids, end token included, and its log-probability / length^length_penalty."""

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
    """Return the best continuation of each prompt, at most `max_tokens` long; greedy with one beam.

    At each step the candidates are the likeliest tokens after all beams, enough that `beams` remain if every beam ends
    with every end token (Wu et al. 2016, section 7; transformers' generate is the reference). The score of a candidate
    that ends among the `beams` best is log-probability / length^`length_penalty`. A prompt is done when `beams`
    hypotheses have ended and, without `early_stopping`, the best running beam scores no better than them. `start_id` is
    the first token of an encoder-decoder's targets; the prompts are its sources. Raise InputError as `prefill` does,
    and for sizes below 1.
    """
    for name, size in {"beams": beams, "max_tokens": max_tokens}.items():
        if size < 1:
            raise InputError(msg("found {found}", found=size), where=name, allowed=msg("1 or more"))
    check_prompts(model.spec, prompts)
    # One beam has nothing to compare with: its first end is final.
    early_stopping = early_stopping or beams == 1
    searches = [_Search(beams, max_tokens, frozenset(eos_ids), length_penalty, early_stopping) for _ in prompts]
    n_candidates = max(2, 1 + len(set(eos_ids))) * beams
    state = prefill(model, [ids for ids in prompts for _ in range(beams)], max_tokens, start_id)
    scores_B = torch.full((len(prompts), beams), -math.inf, device=state.logits_BV.device)
    scores_B[:, 0] = 0.0  # all beams are equal at first
    scores_B = scores_B.flatten()
    for _ in range(max_tokens):
        totals_BV = state.logits_BV.float().log_softmax(-1) + scores_B.unsqueeze(1)
        totals_PZ = totals_BV.view(len(prompts), -1)
        totals_PK, indices_PK = totals_PZ.topk(min(n_candidates, totals_PZ.shape[1]))
        for search, totals_K, indices_K in zip(searches, totals_PK, indices_PK, strict=True):
            search.step(totals_K, indices_K.tolist(), totals_BV.shape[1])
        if all(search.is_done for search in searches):
            break
        scores_B = torch.tensor([beam.total for search in searches for beam in search.running], device=scores_B.device)
        _advance(state, searches)
    return [search.finished[0] for search in searches]


@dataclass(frozen=True)
class _Beam:
    """A running continuation: its ids, their log-probability, and the beam that it extends."""

    ids: tuple[int, ...]
    total: float
    parent: int


@dataclass
class _Search:
    """The search of one prompt: running beams, and the best finished hypotheses, best first."""

    beams: int
    max_tokens: int
    eos_ids: frozenset[int]
    length_penalty: float
    early_stopping: bool
    running: list[_Beam] = field(default_factory=list)
    finished: list[Hypothesis] = field(default_factory=list)
    is_done: bool = False

    def __post_init__(self) -> None:
        self.running = [_Beam((), 0.0, beam) for beam in range(self.beams)]

    def step(self, totals_K: Tensor, indices: list[int], n_vocab: int) -> None:
        """Add the candidates, best first: log-probabilities, and indices beam · n_vocab + token."""
        if self.is_done:
            return
        length = len(self.running[0].ids) + 1
        scores = (totals_K / length**self.length_penalty).tolist()
        running: list[_Beam] = []
        for rank, (total, score, index) in enumerate(zip(totals_K.tolist(), scores, indices, strict=True)):
            parent, token = divmod(index, n_vocab)
            ids = (*self.running[parent].ids, token)
            if token not in self.eos_ids and length < self.max_tokens:
                running.append(_Beam(ids, total, parent))
            elif rank < self.beams and total > -math.inf:
                self.finished.append(Hypothesis(ids, score))
        self.finished = sorted(self.finished, key=lambda hypothesis: -hypothesis.score)[: self.beams]
        self.running = running[: self.beams]
        self.is_done = length == self.max_tokens or not running or self._is_settled(length)

    def _is_settled(self, length: int) -> bool:
        """Return whether no beam is expected to beat the finished hypotheses."""
        if len(self.finished) < self.beams:
            return False
        return self.early_stopping or self.running[0].total / length**self.length_penalty <= self.finished[-1].score


def _advance(state: DecodingState, searches: list[_Search]) -> None:
    """Reorder the rows to the beams' parents, and append each beam's last token."""
    parents = [number * search.beams + beam.parent for number, search in enumerate(searches) for beam in search.running]
    state.reorder(parents)
    state.append([beam.ids[-1] for search in searches for beam in search.running])
