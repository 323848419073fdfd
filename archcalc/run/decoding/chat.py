"""Chat with a model, turn by turn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch

from archcalc.errors import InputError
from archcalc.nn.cache import Cache
from archcalc.run.decoding.decoding_state import DecoderState
from archcalc.run.decoding.sampling_options import Sampling
from archcalc.run.decoding.steps import decode_steps
from archcalc.run.decoding.timing import Timing
from archcalc.run.decoding.transcript import Transcript
from archcalc.run.loading.source import LoadedModel
from archcalc.text.chat_template import render
from archcalc.text.tokenizer import Tokenizer
from archcalc.words import msg


class Chat:
    """The messages of a conversation, and a cache of them: each turn reads only what is new.

    Raise InputError for a model that is not a decoder, or has no tokenizer with a chat template.
    """

    def __init__(self, loaded_model: LoadedModel, *, n_ctx: int | None = None, system: str | None = None) -> None:
        tokenizer, spec = loaded_model.source.tokenizer, loaded_model.source.spec
        if spec.family != "decoder":
            raise InputError(msg("is an {family}", family=spec.family), where="source", allowed=msg("a decoder"))
        if tokenizer is None or tokenizer.chat_template is None:
            raise InputError(
                msg("its tokenizer has no chat template"), where="source", allowed=msg("a model made for chat")
            )
        self._loaded_model, self._tokenizer = loaded_model, tokenizer
        self.n_ctx, self._system = n_ctx or spec.n_ctx, system
        self._cache: Cache | None = None
        self._cached_ids: list[int] = []
        self.timing = Timing()
        self.reset()

    def reset(self) -> None:
        """Forget the conversation."""
        self.messages: list[dict[str, str]] = []
        if self._system:
            self.messages.append({"role": "system", "content": self._system})

    def say(
        self, text: str, *, max_tokens: int = 512, sampling: Sampling | None = None, seed: int = 0
    ) -> Iterator[str]:
        """Stream the reply. If interrupted, the partial reply is kept as the answer.

        Raise InputError if the conversation is longer than the context.
        """
        messages = [*self.messages, {"role": "user", "content": text}]
        ids = self._ids(messages)
        if len(ids) >= self.n_ctx:
            raise InputError(
                msg("{n_ids:,} tokens", n_ids=len(ids)),
                where="conversation",
                allowed=msg("fewer than {n_ctx:,}", n_ctx=self.n_ctx),
            )
        row = Transcript(self._loaded_model.stream(), eos_ids=self._loaded_model.source.eos_ids)
        self.timing = Timing(len(ids) - self._n_cached(ids))
        try:
            steps = self._steps(ids, row, min(max_tokens, self.n_ctx - len(ids)), sampling or Sampling(), seed)
            for _ in self.timing.timed(steps):
                if piece := row.new_text():
                    yield piece
            if piece := row.new_text(last=True):
                yield piece
        finally:
            self.messages = [*messages, {"role": "assistant", "content": row.text}]

    def _steps(
        self, ids: list[int], row: Transcript, max_tokens: int, sampling: Sampling, seed: int
    ) -> Iterator[list[int | None]]:
        """Yield the steps of a reply; then record which ids the cache holds."""
        n_cached = self._n_cached(ids)
        with torch.inference_mode():
            if self._cache is None or not n_cached:
                self._cache = self._loaded_model.model.new_cache(1, self.n_ctx)
            self._cached_ids = []  # until the steps end, the cache's content is unknown
            state = DecoderState(self._loaded_model.model, self._cache, [ids], n_cached)
        try:
            yield from decode_steps(
                state,
                max_tokens=max_tokens,
                sampling=sampling,
                seed=seed,
                continue_row=lambda _, token: row.add(token),
            )
        finally:
            # An interruption may leave the last id uncached.
            self._cached_ids = state.token_ids[0][: self._cache.n_text]

    def _n_cached(self, ids: list[int]) -> int:
        """Return how many of these ids the cache holds: all that it has read, or none, since it is never truncated."""
        n_read = len(self._cached_ids)
        return n_read if n_read < len(ids) and ids[:n_read] == self._cached_ids else 0

    def _ids(self, messages: list[dict[str, str]]) -> list[int]:
        return conversation_ids(self._tokenizer, messages)


def conversation_ids(tokenizer: Tokenizer, messages: Sequence[Mapping[str, str]]) -> list[int]:
    """Return a conversation, up to the reply, as token ids; the template writes special tokens itself.

    Raise InputError for a tokenizer without a chat template.
    """
    bos = "" if tokenizer.bos_id is None else tokenizer.piece(tokenizer.bos_id)
    eos = tokenizer.piece(tokenizer.eos_ids[0]) if tokenizer.eos_ids else ""
    return tokenizer.encode(render(tokenizer.chat_template, messages, bos=bos, eos=eos), special=False)
