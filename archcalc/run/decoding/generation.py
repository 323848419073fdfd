"""Generate texts after prompts, as they arrive, and time it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest

from msgspec.structs import replace

from archcalc.errors import InputError
from archcalc.run.decoding.beam import beam_search
from archcalc.run.decoding.completion import Completion, GeneratedTexts
from archcalc.run.decoding.decoding_state import Ids, check_prompts, free_context, prefill
from archcalc.run.decoding.sampling_options import Sampling
from archcalc.run.decoding.steps import LogitsCallback, decode_steps
from archcalc.run.decoding.timing import Timing
from archcalc.run.decoding.transcript import Transcript
from archcalc.run.loading.source import IdStream, LoadedModel
from archcalc.spec import Spec
from archcalc.spec.workload import Workload
from archcalc.words import msg


class Generation:
    """Continues some prompts: iterate over it for (row, new text).

    `max_tokens` is cut to what the context holds. With `as_ids` the text is the ids themselves. With `beams`, beam
    search replaces sampling, and all text comes at the end. `on_logits` is called with the logits [B, V] of each step,
    except with beams. `completions` and `timing` can be read at any time. Raise InputError as `prefill` does,
    NonFiniteLogitsError if logits are not finite.
    """

    def __init__(
        self,
        loaded_model: LoadedModel,
        prompts: Sequence[Ids],
        *,
        max_tokens: int = 128,
        sampling: Sampling | None = None,
        seed: int = 0,
        stops: Sequence[str] = (),
        ignore_eos: bool = False,
        as_ids: bool = False,
        beams: int | None = None,
        on_logits: LogitsCallback | None = None,
    ) -> None:
        self.loaded_model, self.prompts = loaded_model, prompts
        self.timing = Timing(sum(map(len, prompts)), len(prompts))
        check_prompts(loaded_model.source.spec, prompts)
        self.max_tokens = min(max_tokens, free_context(loaded_model.source.spec, prompts))
        self._sampling, self._seed, self._beams, self._on_logits = sampling or Sampling(), seed, beams, on_logits
        if beams is not None and self._sampling != Sampling():
            raise InputError(
                msg("beam search does not sample"), where="beams", allowed=msg("temperature 0, no penalty")
            )
        self._eos_ids = eos_ids = () if ignore_eos else loaded_model.source.eos_ids
        self._rows = [
            Transcript(IdStream() if as_ids else loaded_model.stream(), eos_ids=eos_ids, stops=stops) for _ in prompts
        ]

    @property
    def completions(self) -> list[Completion]:
        """Return what has been generated so far, one completion per prompt."""
        return [
            Completion(list(ids), list(row.ids), row.text, row.ended)
            for ids, row in zip(self.prompts, self._rows, strict=True)
        ]

    def result(self, prompts: Sequence[str] = ()) -> GeneratedTexts:
        """Return what has been generated so far; `prompts` are the texts of the prompts, if they had one."""
        source = self.loaded_model.source
        texts = zip_longest(self.completions, prompts)
        return GeneratedTexts(
            name=source.spec.name,
            label=source.label,
            completions=tuple(replace(completion, prompt=prompt) for completion, prompt in texts),
            timing=self.timing,
        )

    def __iter__(self) -> Iterator[tuple[int, str]]:
        for ids in self.timing.timed(self._steps() if self._beams is None else self._beam_step(self._beams)):
            for row, token in enumerate(ids):
                if token is not None and (piece := self._rows[row].new_text()):
                    yield row, piece
        for row, transcript in enumerate(self._rows):
            if piece := transcript.new_text(last=True):
                yield row, piece

    def _steps(self) -> Iterator[list[int | None]]:
        state = prefill(self.loaded_model.model, self.prompts, self.max_tokens, self.loaded_model.source.start_id)
        yield from decode_steps(
            state,
            max_tokens=self.max_tokens,
            sampling=self._sampling,
            seed=self._seed,
            continue_row=self._continue_row,
            on_logits=self._on_logits,
        )

    def _beam_step(self, beams: int) -> Iterator[list[int | None]]:
        """Yield one step, after the whole search."""
        hypotheses = beam_search(
            self.loaded_model.model,
            self.prompts,
            beams=beams,
            max_tokens=self.max_tokens,
            eos_ids=self._eos_ids,
            start_id=self.loaded_model.source.start_id,
        )
        for row, hypothesis in enumerate(hypotheses):
            for token in hypothesis.ids:
                if not self._continue_row(row, token):
                    break
        yield [hypothesis.ids[-1] for hypothesis in hypotheses]

    def _continue_row(self, row: int, token: int) -> bool:
        return self._rows[row].add(token)


def generation_workload(spec: Spec, prompts: Sequence[Ids], max_tokens: int, beams: int = 1) -> Workload:
    """Return the workload of this generation; caches are sized from it.

    Raise InputError for a prompt that the model cannot read or that fills the context.
    """
    check_prompts(spec, prompts)
    longest, n_new = max(map(len, prompts)), min(max_tokens, free_context(spec, prompts))
    if spec.family == "encoder-decoder":
        return Workload(batch=len(prompts) * beams, seq=1 + n_new, source_seq=longest)
    return Workload(batch=len(prompts) * beams, seq=longest + n_new)
