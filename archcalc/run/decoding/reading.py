"""A model in the middle of some texts: its cache, and the logits of what comes next.

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
from archcalc.spec import Spec
from archcalc.words import msg

Ids = Sequence[int]


class Reading(ABC):
    """What `logits_BV` say comes next in each row, after the ids `texts`."""

    logits_BV: Tensor  # noqa: N815

    def __init__(self, model: Any, cache: Cache, texts: Sequence[Ids]) -> None:
        self.model, self.cache, self.texts = model, cache, [list(ids) for ids in texts]

    def read(self, ids: Ids) -> None:
        """Take in one more id of each row."""
        for text, token in zip(self.texts, ids, strict=True):
            text.append(token)
        self.logits_BV = self._next(self._tensor([[token] for token in ids]))

    def reorder(self, rows: Sequence[int]) -> None:
        """Let each row go on from the one at this place."""
        if list(rows) != list(range(len(rows))):
            self.cache.reorder(self._tensor(rows))
            self.texts = [list(self.texts[row]) for row in rows]

    @abstractmethod
    def _next(self, ids_BT: Tensor) -> Tensor:
        """Read these ids; the logits [B, V] after the last of them."""

    def _tensor(self, rows: Sequence[Any]) -> Tensor:
        return torch.tensor(rows, device=self.cache.config.device)

    def _batch(self, texts: Sequence[Ids]) -> tuple[Tensor, Tensor | None]:
        """Texts as one tensor [B, T], the shorter ones padded on the left, and where they are padded, if any is."""
        length = max(map(len, texts))
        ids_BT = self._tensor([[0] * (length - len(ids)) + list(ids) for ids in texts])
        if all(len(ids) == length for ids in texts):
            return ids_BT, None
        return ids_BT, self._tensor([[place < length - len(ids) for place in range(length)] for ids in texts])


class DecoderReading(Reading):
    """Of a decoder: prompt and continuation are one text. With `n_read`, the cache holds the first so many ids."""

    def __init__(self, model: Any, cache: Cache, texts: Sequence[Ids], n_read: int = 0) -> None:
        super().__init__(model, cache, texts)
        self.logits_BV = self._next(*self._batch([ids[n_read:] for ids in self.texts]))

    def _next(self, ids_BT: Tensor, padding_BT: Tensor | None = None) -> Tensor:
        logits_B1V: Tensor = self.model(ids_BT, cache=self.cache, padding_BT=padding_BT, n_logits=1)
        return logits_B1V[:, -1]


class EncoderDecoderReading(Reading):
    """Of an encoder-decoder: the prompts are sources, and each text begins with the token `start_id`."""

    def __init__(self, model: Any, cache: Cache, sources: Sequence[Ids], start_id: int) -> None:
        super().__init__(model, cache, [[start_id]] * len(sources))
        ids_BS, padding_BS = self._batch(sources)
        self.logits_BV = self._next(self._tensor(self.texts), ids_BS, padding_BS)

    def _next(self, ids_BT: Tensor, ids_BS: Tensor | None = None, padding_BS: Tensor | None = None) -> Tensor:
        logits_B1V: Tensor = self.model(ids_BS, ids_BT, cache=self.cache, source_padding_BS=padding_BS, n_logits=1)
        return logits_B1V[:, -1]


def start(model: Any, prompts: Sequence[Ids], max_tokens: int, start_id: int | None = None) -> Reading:
    """A reading of some prompts, with room for `max_tokens` more.

    `start_id` is the first token of an encoder-decoder's texts. Raises InputError for a prompt without tokens, an id
    that the vocabulary does not have, a model that does not go on with texts, or more tokens than it has room for.
    """
    check(model.spec, prompts)
    if model.spec.family == "decoder":
        capacity = max(map(len, prompts)) + max_tokens
        return DecoderReading(model, model.new_cache(len(prompts), capacity), prompts)
    if start_id is None:
        raise InputError(
            msg("not known"), where="decoder_start_token_id", allowed=msg("a token id that the decoder begins with")
        )
    cache = model.new_cache(len(prompts), 1 + max_tokens, source=max(map(len, prompts)))
    return EncoderDecoderReading(model, cache, prompts, start_id)


def room(spec: Spec, prompts: Sequence[Ids]) -> int:
    """How many tokens the context has room for after these prompts; each is a text of its own.

    Raises InputError for a prompt that leaves room for none.
    """
    longest = max(map(len, prompts)) if spec.encoder is None else 1
    if longest >= spec.n_ctx:
        raise InputError(
            msg("has {longest:,} tokens", longest=longest),
            where="prompt",
            allowed=msg("fewer than the context's {n_ctx:,}", n_ctx=spec.n_ctx),
        )
    return spec.n_ctx - longest


def check(spec: Spec, prompts: Sequence[Ids]) -> None:
    """Raise InputError for a model that does not go on with texts, or a prompt that it cannot read."""
    if spec.decoder is None or not spec.predicts_tokens:
        raise InputError(msg("it does not say which token comes next"), allowed=msg("a decoder with a head"))
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
