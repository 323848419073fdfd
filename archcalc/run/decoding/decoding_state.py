"""A model in the middle of decoding: its cache, and the logits of the next token.

Axes: B batch, T tokens, S the source's tokens, V vocab.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from archcalc.errors import InputError
from archcalc.nn.cache import Cache
from archcalc.run.decoding.prompts import decoder_start
from archcalc.spec import Spec
from archcalc.words import msg

Ids = Sequence[int]


class DecodingState(ABC):
    """The cache after `token_ids` of each row; `logits_BV` predict each row's next token."""

    logits_BV: Tensor  # noqa: N815

    def __init__(self, model: Any, cache: Cache, token_ids: Sequence[Ids]) -> None:
        self.model, self.cache, self.token_ids = model, cache, [list(ids) for ids in token_ids]

    def append(self, ids: Ids) -> None:
        """Append one token to each row, and compute the next logits."""
        for row, token in zip(self.token_ids, ids, strict=True):
            row.append(token)
        self.logits_BV = self._next(self._tensor([[token] for token in ids]))

    def reorder(self, rows: Sequence[int]) -> None:
        """Replace each row by the one at the given index."""
        if list(rows) != list(range(len(rows))):
            self.cache.reorder(self._tensor(rows))
            self.token_ids = [list(self.token_ids[row]) for row in rows]

    @abstractmethod
    def _next(self, ids_BT: Tensor) -> Tensor:
        """Run the model on these ids; return the logits [B, V] after the last."""

    def _tensor(self, rows: Sequence[Any]) -> Tensor:
        return torch.tensor(rows, device=self.cache.config.device)

    def _batch(self, token_ids: Sequence[Ids]) -> tuple[Tensor, Tensor | None]:
        """Return ids [B, T], padded on the left, and the padding mask [B, T], None without padding."""
        length = max(map(len, token_ids))
        ids_BT = self._tensor([[0] * (length - len(ids)) + list(ids) for ids in token_ids])
        if all(len(ids) == length for ids in token_ids):
            return ids_BT, None
        return ids_BT, self._tensor([[position < length - len(ids) for position in range(length)] for ids in token_ids])


class DecoderState(DecodingState):
    """The state of a decoder: prompt and continuation are one text. The cache holds the first `n_read` ids."""

    def __init__(self, model: Any, cache: Cache, token_ids: Sequence[Ids], n_read: int = 0) -> None:
        super().__init__(model, cache, token_ids)
        self.logits_BV = self._next(*self._batch([ids[n_read:] for ids in self.token_ids]))

    def _next(self, ids_BT: Tensor, padding_BT: Tensor | None = None) -> Tensor:
        logits_B1V: Tensor = self.model(ids_BT, cache=self.cache, padding_BT=padding_BT, n_logits=1)
        return logits_B1V[:, -1]


class EncoderDecoderState(DecodingState):
    """The state of an encoder-decoder: prompts are sources, and each target begins with `start_id`."""

    def __init__(self, model: Any, cache: Cache, sources: Sequence[Ids], start_id: int) -> None:
        super().__init__(model, cache, [[start_id]] * len(sources))
        ids_BS, padding_BS = self._batch(sources)
        self.logits_BV = self._next(self._tensor(self.token_ids), ids_BS, padding_BS)

    def _next(self, ids_BT: Tensor, ids_BS: Tensor | None = None, padding_BS: Tensor | None = None) -> Tensor:
        logits_B1V: Tensor = self.model(ids_BS, ids_BT, cache=self.cache, source_padding_BS=padding_BS, n_logits=1)
        return logits_B1V[:, -1]


def prefill(model: Any, prompts: Sequence[Ids], max_tokens: int, start_id: int | None = None) -> DecodingState:
    """Run the prompts; return the state after them, with capacity for `max_tokens` more.

    `start_id` is the first token of an encoder-decoder's targets. Raise InputError for an empty prompt, an id outside
    the vocabulary, a model that does not continue texts, or more tokens than the context holds.
    """
    check_prompts(model.spec, prompts)
    if model.spec.family == "decoder":
        capacity = max(map(len, prompts)) + max_tokens
        return DecoderState(model, model.new_cache(len(prompts), capacity), prompts)
    start = decoder_start(start_id)
    cache = model.new_cache(len(prompts), 1 + max_tokens, source=max(map(len, prompts)))
    return EncoderDecoderState(model, cache, prompts, start)


def free_context(spec: Spec, prompts: Sequence[Ids]) -> int:
    """Return the number of tokens that the context holds after the longest prompt.

    Raise InputError if it is none.
    """
    longest = max(map(len, prompts)) if spec.encoder is None else 1
    if longest >= spec.n_ctx:
        raise InputError(
            msg("has {longest:,} tokens", longest=longest),
            where="prompt",
            allowed=msg("fewer than the context's {n_ctx:,}", n_ctx=spec.n_ctx),
        )
    return spec.n_ctx - longest


def check_prompts(spec: Spec, prompts: Sequence[Ids]) -> None:
    """Raise InputError if the model does not continue texts, or cannot read a prompt."""
    if spec.decoder is None or not spec.predicts_tokens:
        raise InputError(msg("it does not predict the next token"), allowed=msg("a decoder with a head"))
    for number, ids in enumerate(prompts):
        where = "prompt" if len(prompts) == 1 else f"prompt {number + 1}"
        if not ids:
            raise InputError(msg("has no tokens"), where=where, allowed=msg("one or more"))
        vocab_size = spec.stacks[0].model.vocab_size
        if wrong := [token for token in ids if not 0 <= token < vocab_size]:
            raise InputError(
                msg("found id {wrong}", wrong=wrong[0]),
                where=where,
                allowed=msg("0 to {vocab_size:,}", vocab_size=vocab_size - 1),
            )
