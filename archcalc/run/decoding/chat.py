"""A conversation with a model, turn by turn."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from archcalc.errors import InputError
from archcalc.nn.cache import Cache
from archcalc.run.decoding.reading import DecoderReading
from archcalc.run.decoding.sampling import Sampling
from archcalc.run.decoding.steps import steps
from archcalc.run.decoding.timing import Timing
from archcalc.run.decoding.transcript import Transcript
from archcalc.run.loading.source import Ready
from archcalc.text.chat_template import render
from archcalc.words import msg


class Chat:
    """What was said, and a cache of it: only what is new is read at each turn.

    Raises InputError for a model that is no decoder, or has no tokenizer with a chat template.
    """

    def __init__(self, ready: Ready, *, n_ctx: int | None = None, system: str | None = None) -> None:
        tokenizer, spec = ready.opened.tokenizer, ready.opened.spec
        if spec.family != "decoder":
            raise InputError(msg("is an {family}", family=spec.family), where="source", allowed=msg("a decoder"))
        if tokenizer is None or tokenizer.chat_template is None:
            raise InputError(
                msg("its tokenizer has no chat template"), where="source", allowed=msg("a model made for chat")
            )
        self._ready, self._tokenizer, self._template = ready, tokenizer, tokenizer.chat_template
        self.n_ctx, self._system = n_ctx or spec.n_ctx, system
        self._cache: Cache | None = None
        self._read: list[int] = []
        self.timing = Timing()
        self.reset()

    def reset(self) -> None:
        """Forget what was said."""
        self.messages: list[dict[str, str]] = []
        if self._system:
            self.messages.append({"role": "system", "content": self._system})

    def say(
        self, text: str, *, max_tokens: int = 512, sampling: Sampling | None = None, seed: int = 0
    ) -> Iterator[str]:
        """The model's answer as it comes. Cut short, what there is of it counts as the answer.

        Raises InputError where the conversation has become longer than the context.
        """
        asked = [*self.messages, {"role": "user", "content": text}]
        ids = self._ids(asked)
        if len(ids) >= self.n_ctx:
            raise InputError(
                msg("{n_ids:,} tokens", n_ids=len(ids)),
                where="conversation",
                allowed=msg("fewer than {n_ctx:,}", n_ctx=self.n_ctx),
            )
        row = Transcript(self._ready.stream(), eos_ids=self._ready.opened.eos_ids)
        self.timing = Timing(len(ids) - self._n_known(ids))
        try:
            found = self._steps(ids, row, min(max_tokens, self.n_ctx - len(ids)), sampling or Sampling(), seed)
            for _ in self.timing.clocked(found):
                if piece := row.told():
                    yield piece
            if piece := row.told(last=True):
                yield piece
        finally:
            self.messages = [*asked, {"role": "assistant", "content": row.text}]

    def _steps(
        self, ids: list[int], row: Transcript, max_tokens: int, sampling: Sampling, seed: int
    ) -> Iterator[list[int | None]]:
        """The steps of an answer; afterwards the cache is known to hold what was read."""
        n_known = self._n_known(ids)
        with torch.inference_mode():
            if self._cache is None or not n_known:
                self._cache = self._ready.model.new_cache(1, self.n_ctx)
            self._read = []  # nothing is known of a cache while it is being written
            reading = DecoderReading(self._ready.model, self._cache, [ids], n_known)
        try:
            yield from steps(
                reading,
                max_tokens=max_tokens,
                sampling=sampling,
                seed=seed,
                goes_on=lambda _, token: row.add(token),
            )
        finally:
            self._read = reading.texts[0][: self._cache.past]  # without an id that an interruption left half-read

    def _n_known(self, ids: list[int]) -> int:
        """How many of these ids the cache holds: all that it has read, or none, for a cache is never turned back."""
        n_read = len(self._read)
        return n_read if n_read < len(ids) and ids[:n_read] == self._read else 0

    def _ids(self, messages: list[dict[str, str]]) -> list[int]:
        """The conversation as tokens; the template writes the special ones itself."""
        said = self._tokenizer
        bos = "" if said.bos_id is None else said.piece(said.bos_id)
        eos = said.piece(said.eos_ids[0]) if said.eos_ids else ""
        text = render(self._template, messages, bos=bos, eos=eos)
        return said.encode(text, special=False)
