"""The text of one row as its ids come in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from archcalc.errors import InputError
from archcalc.text.tokenizer import Stream
from archcalc.words import msg

Ended = Literal["eos", "stop", "length"]


class Transcript:
    """Ids to text: `ids` and `text` so far, and `ended`, why no more of it comes ("length" unless told otherwise).

    `decode` gives the text that each new id completes (`Tokenizer.stream()`). Text that may be the beginning of a stop
    string is held back until it is known; a stop string is no part of the text, nor is the id that ends it.
    """

    def __init__(self, decode: Stream, *, eos_ids: Sequence[int] = (), stops: Sequence[str] = ()) -> None:
        if "" in stops:
            raise InputError(msg("found an empty text"), where="stop", allowed=msg("one or more characters"))
        self.ids: list[int] = []
        self.text = ""
        self.ended: Ended = "length"
        self._decode, self._eos_ids, self._stops = decode, frozenset(eos_ids), tuple(stops)
        self._n_told = 0

    def add(self, token: int) -> bool:
        """Take in an id; whether the text goes on after it."""
        if token in self._eos_ids:
            self.ended = "eos"
            return False
        self.ids.append(token)
        return self._take(self._decode(token))

    def told(self, *, last: bool = False) -> str:
        """What is certain of the text and was not told before; with `last` all of it, also of a broken character."""
        if last and self.ended != "stop":
            self._take(self._decode.rest())
        stop = len(self.text) if last or self.ended == "stop" else len(self.text) - self._n_held()
        piece = self.text[self._n_told : stop]
        self._n_told = max(self._n_told, stop)
        return piece

    def _take(self, piece: str) -> bool:
        """More text; whether it goes on, which it does not after a stop string."""
        known = len(self.text) - max(map(len, self._stops), default=1) + 1
        self.text += piece
        found = [at for stop in self._stops if (at := self.text.find(stop, max(known, 0))) >= 0]
        if found:
            self.text, self.ended = self.text[: min(found)], "stop"
        return not found

    def _n_held(self) -> int:
        """How many of the last characters may begin a stop string."""
        ends = (n for stop in self._stops for n in range(1, len(stop)) if self.text.endswith(stop[:n]))
        return max(ends, default=0)
