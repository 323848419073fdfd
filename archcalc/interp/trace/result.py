"""The result of `archcalc trace`: the input, every step, and the next token. Reading it needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import isinf
from typing import TYPE_CHECKING, Annotated, Any, Literal

from archcalc.interp.trace.glossary import functions_of
from archcalc.results import Result, Row, Sureness, data, number, probability, text
from archcalc.units import vector
from archcalc.words import Message, in_context, msg

if TYPE_CHECKING:
    from archcalc.interp.trace.run import Trace, TracedStep
    from archcalc.interp.trace.worked_example import StepCheck
    from archcalc.run.loading.source import ModelSource

# A trace has all its values if it has at most so many numbers; a value of at most so many is printed whole.
N_TRACE_NUMBERS, N_PRINTED_NUMBERS = 20_000, 12
# The largest numbers of a value, and the likeliest next tokens.
N_LARGEST = 5

Verdict = Literal["equal", "different"]
VERDICTS: dict[str, Message] = {"equal": msg("as published"), "different": msg("different")}


class InputToken(Row, frozen=True, kw_only=True):
    """A token of the input; `path` is the step that has its id: `ids`, `encoder.ids` or `decoder.ids`."""

    path: Annotated[str, text(in_context("of a trace", "step"), shown="varied")]
    position: Annotated[int, number(in_context("of a trace", "position"), "words")]
    id: Annotated[int, number(msg("id"), "words")]
    token: Annotated[str, number(msg("token"), "quoted")]


class StepSummary(Row, frozen=True, kw_only=True):
    """A step: the expression that gives its value, the value's axes and shape, and its numbers at the position.

    `layer_path` is `layers.0` or `encoder.layers.0`, empty outside of layers; `key_ids` is the path of the ids of the
    tokens along a key axis S. `norm` and `excerpt` are of the value at
    the position, or of the whole value if it has no token axis.
    """

    path: Annotated[str, text(in_context("of a trace", "step"))]
    step_kind: Annotated[str, data(msg("kind of step"))]
    layer_path: Annotated[str, data(msg("path of the layer"))]
    key_ids: Annotated[str, data(msg("ids of the key tokens"))]
    expression: Annotated[str, text(msg("expression"))]
    axes: Annotated[str, data(msg("axes"))]
    shape: Annotated[tuple[int, ...], data(msg("shape"))]
    n_lead: Annotated[int, data(msg("rows of a soft prompt before the tokens"))] = 0
    n_learned: Annotated[int, data(msg("learned keys before the others"))] = 0
    norm: Annotated[float, data(msg("Euclidean norm at the position"))]
    excerpt: Annotated[str | Message, text(msg("value at the position"))]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "measured"


class LargestNumber(Row, frozen=True, kw_only=True):
    """One of the numbers furthest from zero in a step's value at the position, which is flattened."""

    path: Annotated[str, data(in_context("of a trace", "step"))]
    index: Annotated[int, data(msg("index"))]
    value: Annotated[float, data(msg("value"))]


class PredictedToken(Row, frozen=True, kw_only=True):
    """A token and its probability as the next one after the position."""

    token: Annotated[str, number(msg("token"), "quoted")]
    id: Annotated[int, number(msg("id"), "words")]
    probability: Annotated[float, probability(msg("probability"))]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "measured"


class PublishedValue(Row, frozen=True, kw_only=True):
    """A published value of a step beside the computed one; `reason` says why the published one cannot be right."""

    path: Annotated[str, text(in_context("of a trace", "step"))]
    published: Annotated[tuple[float, ...], number(msg("published"), "vector")]
    computed: Annotated[tuple[float, ...], number(msg("computed"), "vector")]
    verdict: Annotated[Verdict, text(msg("verdict"), names=VERDICTS)]
    reason: Annotated[str, data(msg("reason"))]


class ExpressionFunction(Row, frozen=True, kw_only=True):
    """A function of the expressions: how it is called, and what it computes."""

    call: Annotated[str, text(msg("function"))]
    meaning: Annotated[Message, text(msg("meaning"))]


class ForwardTrace(Result, frozen=True, kw_only=True):
    """A forward pass step by step; the next token is predicted after `position`.

    `values` has the value of every step, by its path, as nested lists (−∞ is null); of a large trace it is empty, and
    `largest` has the largest numbers of each step instead.
    """

    name: Annotated[str, data(msg("name of the model"))]
    label: Annotated[str | Message, data(msg("title of the model"))]
    position: Annotated[int, data(in_context("of a trace", "position"))]
    tokens: Annotated[tuple[InputToken, ...], data(msg("input tokens"))]
    steps: Annotated[tuple[StepSummary, ...], data(msg("steps"))]
    values: Annotated[dict[str, Any], data(msg("values of the steps"))]
    largest: Annotated[tuple[LargestNumber, ...], data(msg("largest numbers of each step"))]
    next_tokens: Annotated[tuple[PredictedToken, ...], data(msg("likeliest next tokens"))]
    published: Annotated[tuple[PublishedValue, ...], data(msg("published values"))]
    functions: Annotated[tuple[ExpressionFunction, ...], data(msg("functions"))]


def forward_trace(
    source: ModelSource,
    trace: Trace,
    checks: Sequence[StepCheck] = (),
    *,
    is_full: bool | None = None,
    lang: str = "en",
) -> ForwardTrace:
    """Return the result of a trace. `is_full`: with all values (default: if it is small). `lang`: of the reasons."""
    if is_full is None:
        is_full = sum(traced.value.numel() for traced in trace.steps) <= N_TRACE_NUMBERS
    expressions = [traced.step.expression for traced in trace.steps]
    return ForwardTrace(
        name=source.spec.name,
        label=source.label,
        position=trace.position,
        tokens=tuple(_tokens(trace, source.piece)),
        steps=tuple(_step(traced, trace.position, is_full=is_full) for traced in trace.steps),
        values={traced.step.name: _finite(traced.value.tolist()) for traced in trace.steps} if is_full else {},
        largest=() if is_full else tuple(_largest(trace)),
        next_tokens=next_tokens(trace, source.piece),
        published=tuple(_published(check, lang) for check in checks),
        functions=tuple(ExpressionFunction(call=call, meaning=meaning) for call, meaning in functions_of(expressions)),
    )


def next_tokens(trace: Trace, piece: Callable[[int], str]) -> tuple[PredictedToken, ...]:
    """Return the likeliest tokens after the position, none without a head."""
    if "probabilities" not in {traced.step.name for traced in trace.steps}:
        return ()
    p_V = trace["probabilities"][trace.position]
    best = p_V.topk(min(N_LARGEST, p_V.numel()))
    pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return tuple(PredictedToken(token=piece(token), id=token, probability=p) for token, p in pairs)


def _tokens(trace: Trace, piece: Callable[[int], str]) -> Iterator[InputToken]:
    for path, ids in trace.ids.items():
        for position, token in enumerate(ids):
            yield InputToken(path=path, position=position, id=token, token=piece(token))


def _step(traced: TracedStep, position: int, *, is_full: bool) -> StepSummary:
    step, value = traced.step, traced.at(position)
    norm, largest = _norm(value), _largest_numbers(value)
    if is_full and value.numel() <= N_PRINTED_NUMBERS:
        excerpt: str | Message = vector(value.tolist())
    else:
        numbers = ", ".join(f"[{i}] {x:.3f}" for i, x in largest)
        excerpt = msg("‖x‖ = {norm}; largest: {largest}", norm=f"{norm:.3f}", largest=numbers)
    return StepSummary(
        path=step.name,
        step_kind=step.kind,
        layer_path=step.layer,
        key_ids=step.key_ids,
        expression=str(step.expression or ""),
        axes=traced.axes,
        shape=tuple(traced.value.shape),
        n_lead=traced.n_lead,
        n_learned=traced.n_learned,
        norm=norm,
        excerpt=excerpt,
    )


def _norm(value: Any) -> float:
    return float(_unmasked(value).norm())


def _largest(trace: Trace) -> Iterator[LargestNumber]:
    for traced in trace.steps:
        for index, value in _largest_numbers(traced.at(trace.position)):
            yield LargestNumber(path=traced.step.name, index=index, value=value)


def _largest_numbers(value: Any) -> list[tuple[int, float]]:
    """Return the indices and the values of the numbers furthest from zero."""
    flat = _unmasked(value)
    largest = flat.abs().topk(min(N_LARGEST, flat.numel())).indices.tolist()
    return [(i, float(flat[i])) for i in largest]


def _unmasked(value: Any) -> Any:
    """Return the numbers of a value in one dimension, −∞ (masked) as 0."""
    return value.flatten().float().nan_to_num(neginf=0.0)


def _finite(value: Any) -> Any:
    """Return nested lists with null for −∞, which JSON has no number for."""
    if isinstance(value, list):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and isinf(value) else value


def _published(check: StepCheck, lang: str) -> PublishedValue:
    reference = check.reference
    return PublishedValue(
        path=reference.step,
        published=tuple(reference.published),
        computed=tuple(check.computed),
        verdict="equal" if check.is_equal else "different",
        reason=getattr(reference, lang) if reference.en else "",
    )
