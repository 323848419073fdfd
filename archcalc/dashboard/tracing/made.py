"""A trace as the page needs it: its model loaded once for all visitors, each text traced once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from archcalc.dashboard.lru_cache import LruCache
from archcalc.errors import InputError
from archcalc.extras import require_running
from archcalc.run.decoding.prompts import prompt_ids
from archcalc.spec import Spec
from archcalc.spec.set_options import changes
from archcalc.units import human_bytes
from archcalc.words import msg

if TYPE_CHECKING:
    from archcalc.interp.trace.run import Trace
    from archcalc.interp.trace.trace_input import TraceInput
    from archcalc.interp.trace.worked_example import StepCheck, WorkedExample
    from archcalc.run.loading.source import LoadedModel, ModelSource

# What is read where nothing is told and no worked example comes with the weights.
PROMPT, IDS = "In the beginning", "1,2,3"
# A page shows small models: bytes of weights, and of one trace.
MOST_WEIGHTS_BYTES, MOST_TRACE_BYTES = 2_000_000_000, 400_000_000


class Source(msgspec.Struct, frozen=True):
    """Which model: `name` as the command line is told it, the architecture as JSON where its weights are random."""

    name: str
    document: str = ""
    settings: tuple[str, ...] = ()
    seed: int = 0

    @property
    def is_random(self) -> bool:
        """Whether the weights are drawn."""
        return bool(self.document)


@dataclass(frozen=True)
class Made:
    """A trace and what it is of; `prompt` or `ids` is the text as the command line is told it.

    `example` is the worked example that it is a trace of, if it is one.
    """

    opened: ModelSource
    model: Any
    trace: Trace
    example: WorkedExample | None
    prompt: str | None
    ids: str | None

    def held(self, trace: Trace) -> list[StepCheck]:
        """What texts print of the example, beside the trace looked at where they do."""
        from archcalc.interp.trace import worked_example

        return worked_example.step_checks(self.example, trace) if self.example else []


_MODELS: Final[LruCache[LoadedModel]] = LruCache(3)
_MADE: Final[LruCache[Made]] = LruCache(12)


def kept(source: Source, prompt: str, ids: str) -> Made | None:
    """The trace, if it is there already."""
    return _MADE.get((source, prompt, ids))


def made(source: Source, prompt: str, ids: str) -> Made:
    """The trace of a text, or of ids, at its last place; of neither, of what comes with the model.

    Raises InputError as the command line does, and for models that are not small.
    """
    return _MADE.get_or_create((source, prompt, ids), lambda: _made(source, prompt or None, ids or None))


def _made(source: Source, prompt: str | None, ids: str | None) -> Made:
    require_running()
    from archcalc.interp.trace import worked_example
    from archcalc.interp.trace.run import trace
    from archcalc.interp.trace.trace_input import trace_input

    opened, example = _opened(source), None
    if prompt is None and ids is None:
        example = None if source.is_random else worked_example.example_of(source.name)
        prompt = example.prompt if example else PROMPT if opened.tokenizer else None
        ids = None if prompt else IDS
    (read,) = prompt_ids(opened, [prompt] if prompt is not None else [], [ids] if ids is not None else [])
    told = trace_input(opened, read)
    _check_small(opened.spec, told)
    ready = _MODELS.get_or_create(source, lambda: opened.load(told.work, packed=False, seed=source.seed))
    found = trace(ready.model, told.ids, told.target)
    return Made(opened, ready.model, found, example, prompt, ids)


def _opened(source: Source) -> ModelSource:
    from archcalc.run.loading.source import open_source

    if not source.is_random:
        return open_source(source.name)
    return open_source(json.loads(source.document), random_weights=True, changes=changes(source.settings))


def _check_small(spec: Spec, told: TraceInput) -> None:
    """Raise InputError for what takes more than a page's share of the machine."""
    from archcalc.analysis.memory import summary
    from archcalc.interp.trace.trace_input import recorded_bytes
    from archcalc.ledger.build import build

    weights_bytes = summary(build(spec), told.work, "fp32")["weights_bytes"]
    if weights_bytes > MOST_WEIGHTS_BYTES:
        problem = f"needs {human_bytes(weights_bytes)} of weights in fp32"
        raise InputError(
            problem,
            where=spec.name,
            allowed=msg("up to {most_weights_bytes} on this page", most_weights_bytes=human_bytes(MOST_WEIGHTS_BYTES)),
        )
    trace_bytes = recorded_bytes(spec, told.work)
    if trace_bytes > MOST_TRACE_BYTES:
        problem = f"{len(told.ids):,} tokens make a trace of {human_bytes(trace_bytes)}"
        raise InputError(
            problem,
            where="prompt",
            allowed=msg("up to {most_trace_bytes} on this page", most_trace_bytes=human_bytes(MOST_TRACE_BYTES)),
        )
