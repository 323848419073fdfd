"""Texts after prompts, as they arrive, and how fast they came."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from archcalc.errors import InputError
from archcalc.run.decoding.beam import beam_search
from archcalc.run.decoding.reading import Ids, check, room, start
from archcalc.run.decoding.sampling import Sampling
from archcalc.run.decoding.steps import Watch, steps
from archcalc.run.decoding.timing import Timing
from archcalc.run.decoding.transcript import Ended, Transcript
from archcalc.run.loading.source import Numbers, Ready
from archcalc.spec import Spec
from archcalc.spec.workload import Workload
from archcalc.words import msg


class Completion(msgspec.Struct, frozen=True):
    """What came after one prompt: its ids, their text ("" without a tokenizer), and why it ended.

    `ended`: at an end-of-text token ("eos"), at a stop string ("stop"), or for want of room or tokens ("length").
    """

    prompt_ids: list[int]
    ids: list[int]
    text: str
    ended: Ended


class Generation:
    """Goes through some prompts' continuations: iterate over it for (row, piece of text), then see what there is.

    `max_tokens` is cut to what the context has room for; with `as_ids` the text is the ids themselves; with `beams` the
    likeliest text that so many come by is searched for, and told when it is complete. `watch` is shown the logits
    [B, V] that each token is chosen from (beams choose otherwise, and show none). `completions` and `timing` are
    as of now, while it runs too.
    Raises InputError as `reading.start` does, NotNumbersError where the logits are no numbers.
    """

    def __init__(
        self,
        ready: Ready,
        prompts: Sequence[Ids],
        *,
        max_tokens: int = 128,
        sampling: Sampling | None = None,
        seed: int = 0,
        stops: Sequence[str] = (),
        ignore_eos: bool = False,
        as_ids: bool = False,
        beams: int | None = None,
        watch: Watch | None = None,
    ) -> None:
        self.ready, self.prompts, self.timing = ready, prompts, Timing(sum(map(len, prompts)), len(prompts))
        check(ready.opened.spec, prompts)
        self.max_tokens = min(max_tokens, room(ready.opened.spec, prompts))
        self._sampling, self._seed, self._beams, self._watch = sampling or Sampling(), seed, beams, watch
        if beams is not None and self._sampling != Sampling():
            raise InputError(
                msg("searches for the likeliest text"), where="beams", allowed=msg("temperature 0, no penalty")
            )
        self._eos_ids = eos_ids = () if ignore_eos else ready.opened.eos_ids
        self._rows = [
            Transcript(Numbers() if as_ids else ready.stream(), eos_ids=eos_ids, stops=stops) for _ in prompts
        ]

    @property
    def completions(self) -> list[Completion]:
        """What has come so far, a row for each prompt."""
        return [
            Completion(list(ids), list(row.ids), row.text, row.ended)
            for ids, row in zip(self.prompts, self._rows, strict=True)
        ]

    def __iter__(self) -> Iterator[tuple[int, str]]:
        for ids in self.timing.clocked(self._steps() if self._beams is None else self._searched(self._beams)):
            for row, token in enumerate(ids):
                if token is not None and (piece := self._rows[row].told()):
                    yield row, piece
        for row, transcript in enumerate(self._rows):
            if piece := transcript.told(last=True):
                yield row, piece

    def _steps(self) -> Iterator[list[int | None]]:
        """The prompts are read when the first step is asked for."""
        reading = start(self.ready.model, self.prompts, self.max_tokens, self.ready.opened.start_id)
        yield from steps(
            reading,
            max_tokens=self.max_tokens,
            sampling=self._sampling,
            seed=self._seed,
            goes_on=self._goes_on,
            watch=self._watch,
        )

    def _searched(self, beams: int) -> Iterator[list[int | None]]:
        """One step, at which all is there."""
        found = beam_search(
            self.ready.model,
            self.prompts,
            beams=beams,
            max_tokens=self.max_tokens,
            eos_ids=self._eos_ids,
            start_id=self.ready.opened.start_id,
        )
        for row, hypothesis in enumerate(found):
            for token in hypothesis.ids:
                if not self._goes_on(row, token):
                    break
        yield [hypothesis.ids[-1] for hypothesis in found]

    def _goes_on(self, row: int, token: int) -> bool:
        return self._rows[row].add(token)


def work_of(spec: Spec, prompts: Sequence[Ids], max_tokens: int, beams: int = 1) -> Workload:
    """What going on from these prompts comes to, all told: the caches that it fills are those of this workload.

    Raises InputError for a prompt that the model cannot read, or that leaves no room.
    """
    check(spec, prompts)
    longest, more = max(map(len, prompts)), min(max_tokens, room(spec, prompts))
    if spec.family == "encoder-decoder":
        return Workload(batch=len(prompts) * beams, seq=1 + more, source_seq=longest)
    return Workload(batch=len(prompts) * beams, seq=longest + more)
