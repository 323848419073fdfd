"""Beam search: the continuation whose tokens are together the most likely, of those that a few beams come by.

Axes: B rows (every prompt's beams, one prompt after another), P prompts, K candidates, T tokens, S the source's
tokens, V vocab.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from archcalc.errors import InputError
from archcalc.nn.cache import Cache

Ids = Sequence[int]


@dataclass(frozen=True)
class Hypothesis:
    """A continuation: its ids, an end token with them, and the log-probability of all over length^length_penalty."""

    ids: tuple[int, ...]
    score: float


@torch.inference_mode()
def beam_search(
    model: nn.Module,
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
    `start_id` is what an encoder-decoder's targets begin with; the prompts are its sources. Raises InputError for a
    model that does not say which token comes next, and for prompts, sizes or ids that cannot be.
    """
    _check(model, prompts, start_id, beams=beams, max_tokens=max_tokens)
    # One beam has no other to be held against: its end is the end.
    early_stopping = early_stopping or beams == 1
    searches = [_Search(beams, max_tokens, frozenset(eos_ids), length_penalty, early_stopping) for _ in prompts]
    n_kept = max(2, 1 + len(set(eos_ids))) * beams
    rows = [ids for ids in prompts for _ in range(beams)]
    logits_BV, cache = _begun(model, rows, max_tokens, start_id)
    scores_B = torch.full((len(prompts), beams), -math.inf, device=logits_BV.device)
    scores_B[:, 0] = 0.0  # all beams are the same as yet
    scores_B = scores_B.flatten()
    for _ in range(max_tokens):
        totals_BV = logits_BV.float().log_softmax(-1) + scores_B.unsqueeze(1)
        totals_PZ = totals_BV.view(len(prompts), -1)
        totals_PK, places_PK = totals_PZ.topk(min(n_kept, totals_PZ.shape[1]))
        for search, totals_K, places_K in zip(searches, totals_PK, places_PK, strict=True):
            search.step(totals_K, places_K.tolist(), logits_BV.shape[1])
        if all(search.done for search in searches):
            break
        scores_B = torch.tensor([beam.total for search in searches for beam in search.running], device=scores_B.device)
        logits_BV = _next(model, searches, cache)
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


def _next(model: Any, searches: list[_Search], cache: Cache) -> Tensor:
    """The logits [B, V] after each beam's last token, the cache's rows put where the beams went on from."""
    device = cache.room.device
    parents = [number * search.beams + beam.parent for number, search in enumerate(searches) for beam in search.running]
    if parents != list(range(len(parents))):
        cache.reorder(torch.tensor(parents, device=device))
    ids_B1 = torch.tensor([[beam.ids[-1]] for search in searches for beam in search.running], device=device)
    logits_B1V: Tensor = model(*_source(model), ids_B1, cache=cache, n_logits=1)
    return logits_B1V[:, -1]


def _begun(model: Any, rows: list[Ids], max_tokens: int, start_id: int | None) -> tuple[Tensor, Cache]:
    """The logits [B, V] after each prompt, and a cache that has read them."""
    longest = max(map(len, rows))
    if start_id is None:
        cache: Cache = model.new_cache(len(rows), longest + max_tokens - 1)
        ids_BT, padding_BT = _batch(rows, longest, cache.room.device)
        logits_B1V: Tensor = model(ids_BT, cache=cache, padding_BT=padding_BT, n_logits=1)
        return logits_B1V[:, -1], cache
    cache = model.new_cache(len(rows), max_tokens, source=longest)
    ids_BS, padding_BS = _batch(rows, longest, cache.room.device)
    starts_B1 = torch.full((len(rows), 1), start_id, device=ids_BS.device)
    logits_B1V = model(ids_BS, starts_B1, cache=cache, source_padding_BS=padding_BS, n_logits=1)
    return logits_B1V[:, -1], cache


def _batch(rows: list[Ids], longest: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Rows of ids as one tensor, padded on the left, and where they are."""
    ids = torch.tensor([[0] * (longest - len(row)) + list(row) for row in rows], device=device)
    n_padding_B = torch.tensor([[longest - len(row)] for row in rows], device=device)
    return ids, torch.arange(longest, device=device) < n_padding_B


def _source(model: Any) -> tuple[None, ...]:
    """What an encoder-decoder is given in place of a source that its cache has read."""
    return (None,) if _has_source(model) else ()


def _has_source(model: Any) -> bool:
    return bool(model.spec.family == "encoder-decoder")


def _check(model: Any, prompts: Sequence[Ids], start_id: int | None, **sizes: int) -> None:
    spec = model.spec
    if spec.decoder is None or spec.head is None:
        raise InputError("the model does not say which token comes next", allowed="a decoder with a head")
    for name, size in sizes.items():
        if size < 1:
            raise InputError(f"found {size}", where=name, allowed="1 or more")
    if _has_source(model) != (start_id is not None):
        allowed = "a token id that the targets begin with" if _has_source(model) else "left out for a decoder alone"
        raise InputError(f"found {start_id}", where="start_id", allowed=allowed)
    top: int = spec.vocab_size
    for number, ids in enumerate(prompts):
        if not ids:
            raise InputError("has no tokens", where=f"prompt {number + 1}", allowed="one or more")
        if wrong := [token for token in ids if not 0 <= token < top]:
            raise InputError(f"found id {wrong[0]}", where=f"prompt {number + 1}", allowed=f"0 to {top - 1:,}")
