"""The trace of a page: the model is loaded once for all visitors, each text is traced once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from archcalc.dashboard.lru_cache import LruCache
from archcalc.dashboard.running import canonical_models
from archcalc.dashboard.running.model_choice import ModelChoice
from archcalc.errors import InputError
from archcalc.extras import require_running
from archcalc.run.decoding.prompts import one_prompt
from archcalc.spec import Spec
from archcalc.words import Bytes, msg

if TYPE_CHECKING:
    from archcalc.interp.text_input import TextInput
    from archcalc.interp.trace.result import ForwardTrace
    from archcalc.interp.trace.run import Trace
    from archcalc.interp.trace.worked_example import StepCheck, WorkedExample
    from archcalc.run.loading.source import ModelSource

# The default prompt, and the default ids of a model without a tokenizer.
PROMPT, IDS = "In the beginning", "1,2,3"
# Bytes of one trace, at most.
MAX_TRACE_BYTES = 400_000_000


@dataclass(frozen=True)
class TraceSession:
    """A trace at the last position, and its model. `prompt` or `ids` is the text as on the command line.

    `example` is the worked example that it is a trace of, None for other texts.
    """

    source: ModelSource
    model: Any
    trace: Trace
    example: WorkedExample | None
    prompt: str | None
    ids: str | None

    def checks(self, trace: Trace) -> list[StepCheck]:
        """Return the checks of the published steps at the position of a trace."""
        from archcalc.interp.trace import worked_example

        return worked_example.step_checks(self.example, trace) if self.example else []

    def result(self, trace: Trace, lang: str) -> ForwardTrace:
        """Return the result of a trace, as the command line has it."""
        from archcalc.interp.trace.result import forward_trace

        return forward_trace(self.source, trace, self.checks(trace), lang=lang)


_SESSIONS: Final[LruCache[TraceSession]] = LruCache(12)


def cached(source: ModelChoice, prompt: str, ids: str) -> TraceSession | None:
    """Return the trace of a text if it is in the cache."""
    return _SESSIONS.get((source, prompt, ids))


def trace_session(source: ModelChoice, prompt: str, ids: str) -> TraceSession:
    """Return the trace of a prompt or of ids; without either, of the worked example or a default.

    Raises InputError as the command line does, and for a model or a text beyond the limits of the page.
    """
    return _SESSIONS.get_or_create((source, prompt, ids), lambda: _trace(source, prompt or None, ids or None))


def _trace(source: ModelChoice, prompt: str | None, ids: str | None) -> TraceSession:
    require_running()
    from archcalc.interp.text_input import text_input
    from archcalc.interp.trace import worked_example
    from archcalc.interp.trace.run import trace

    model_source, example = canonical_models.open_model(source), None
    if prompt is None and ids is None:
        example = None if source.is_random else worked_example.example_of(source.name)
        prompt = example.prompt if example else PROMPT if model_source.tokenizer else None
        ids = None if prompt else IDS
    input_ids = one_prompt(model_source, prompt, ids)
    inputs = text_input(model_source, input_ids)
    _check_size(model_source.spec, inputs)
    model = canonical_models.load_model(source, inputs.work)
    return TraceSession(model_source, model, trace(model, inputs.ids, inputs.target), example, prompt, ids)


def _check_size(spec: Spec, inputs: TextInput) -> None:
    """Raise InputError for a text whose trace is beyond the limit of the page."""
    from archcalc.interp.memory import recorded_bytes

    trace_bytes = recorded_bytes(spec, inputs.work)
    if trace_bytes > MAX_TRACE_BYTES:
        raise InputError(
            msg("{n:,} tokens make a trace of {size}", n=len(inputs.ids), size=Bytes(trace_bytes)),
            where="prompt",
            allowed=msg("up to {size} on this page", size=Bytes(MAX_TRACE_BYTES)),
        )
