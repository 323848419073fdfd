"""The text of one row, as its ids arrive."""

from __future__ import annotations

from collections.abc import Sequence

from archcalc.errors import InputError
from archcalc.run.decoding.completion import FinishReason
from archcalc.text.tokenizer import Stream
from archcalc.words import msg


class Transcript:
    """Ids and text so far; `ended` says why the text ends ("length" by default).

    `decode` gives the text that each new id completes (`Tokenizer.stream()`). Text that may begin a stop string is
    withheld until that is known; the text contains neither the stop string nor the end token.
    """

    def __init__(self, decode: Stream, *, eos_ids: Sequence[int] = (), stops: Sequence[str] = ()) -> None:
        if "" in stops:
            raise InputError(msg("found an empty text"), where="stop", allowed=msg("one or more characters"))
        self.ids: list[int] = []
        self.text = ""
        self.ended: FinishReason = "length"
        self._decode, self._eos_ids, self._stops = decode, frozenset(eos_ids), tuple(stops)
        self._n_returned = 0

    def add(self, token: int) -> bool:
        """Append an id; return whether the text continues after it."""
        if token in self._eos_ids:
            self.ended = "eos"
            return False
        self.ids.append(token)
        return self._append(self._decode(token))

    def new_text(self, *, last: bool = False) -> str:
        """Return text that is certain and was not returned before; with `last`, all that remains."""
        if last and self.ended != "stop":
            self._append(self._decode.rest())
        stop = len(self.text) if last or self.ended == "stop" else len(self.text) - self._n_withheld()
        piece = self.text[self._n_returned : stop]
        self._n_returned = max(self._n_returned, stop)
        return piece

    def _append(self, piece: str) -> bool:
        """Append text; return whether it continues, which it does not after a stop string."""
        first = len(self.text) - max(map(len, self._stops), default=1) + 1
        self.text += piece
        stop_positions = [at for stop in self._stops if (at := self.text.find(stop, max(first, 0))) >= 0]
        if stop_positions:
            self.text, self.ended = self.text[: min(stop_positions)], "stop"
        return not stop_positions

    def _n_withheld(self) -> int:
        """Return how many of the last characters may begin a stop string."""
        lengths = (n for stop in self._stops for n in range(1, len(stop)) if self.text.endswith(stop[:n]))
        return max(lengths, default=0)
