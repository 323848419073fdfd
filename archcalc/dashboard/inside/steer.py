"""The view Steering: a direction from contrasting prompts, added to the residual stream or projected out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import msgspec
import streamlit as st

from archcalc.dashboard import blocks, charts
from archcalc.dashboard.inside import cell_map
from archcalc.dashboard.inside.view import Output, Subject, View
from archcalc.dashboard.job import Progress
from archcalc.dashboard.session import IN_URL, choice, say, text_in_url
from archcalc.interp.steer.result import Steering
from archcalc.render import steer as pages
from archcalc.render.charts.steer import chart
from archcalc.words import msg

if TYPE_CHECKING:
    from archcalc.nn.taps.edits import Edit

_OPERATIONS: Final = {
    "add": msg("Add the direction"),
    "project": msg("Project it out"),
}
# Times the mean norm of the residual stream; the plain text comes first.
STRENGTHS: Final = (0.25, 0.5, 1.0)
MAX_TOKENS: Final = 64


class SteerOptions(msgspec.Struct, frozen=True):
    """The contrasting prompts, one on each line, the steered layer, the operation and its largest strength."""

    positive: tuple[str, ...]
    negative: tuple[str, ...]
    layer: int
    is_projected: bool
    strength: float
    max_tokens: int


def _options(subject: Subject) -> SteerOptions:
    say_, example = say(), subject.example
    left, right = st.columns(2)
    help_ = say_(msg("One prompt on each line."))
    with left:
        positive = text_in_url(say_(msg("Steer towards")), "steer_positive", example.positive, height=70, help=help_)
    with right:
        negative = text_in_url(say_(msg("Steer away from")), "steer_negative", example.negative, height=70, help=help_)
    left, right = st.columns(2)
    with left:
        operation = choice(st.segmented_control, say_(msg("Operation")), _OPERATIONS, key="steer_operation")
        n_layers = _n_layers(subject)
        layer = cell_map.step(say_(msg("Layer")), "steer_layer", [str(i) for i in range(n_layers)], n_layers // 2)
    with right:
        strength = 0.0
        if operation == "add":
            label = say_(msg("Largest strength"))
            help_ = say_(msg("Norm of what is added, relative to the residual stream's mean norm."))
            strength = st.slider(label, -2.0, 2.0, 1.0, 0.25, key="steer_strength", help=help_, **IN_URL)
        n = st.slider(say_(msg("Maximum tokens")), 1, MAX_TOKENS, 16, key="steer_tokens", **IN_URL)
    return SteerOptions(_lines(positive), _lines(negative), layer, operation == "project", float(strength), int(n))


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line for line in text.splitlines() if line.strip())


def _n_layers(subject: Subject) -> int:
    from archcalc.interp.steer.layers import stack_of

    return stack_of(subject.source.spec, None)[0].stack.n_layers or 0


def _compute(subject: Subject, options: SteerOptions, progress: Progress) -> Steering:
    from archcalc.interp.steer.direction import direction
    from archcalc.interp.steer.layers import stack_of
    from archcalc.interp.steer.prompts import contrast_prompts
    from archcalc.interp.steer.result import direction_rows, steered_row
    from archcalc.interp.steer.states import check_prompts
    from archcalc.interp.steer.texts import steered_text
    from archcalc.run.decoding.generation import generation_workload

    source, ids = subject.source, subject.inputs.ids
    groups = {"positive": list(options.positive), "negative": list(options.negative)}
    nothing: dict[str, list[str]] = {"positive": [], "negative": []}
    texts, id_lists = (groups, nothing) if subject.has_tokenizer else (nothing, groups)
    prompts = contrast_prompts(source, texts, id_lists, chat=False)
    stack = stack_of(source.spec, None)[1]
    check_prompts(source.spec, prompts.ids, "last", stack)
    model = subject.model(generation_workload(source.spec, [ids], options.max_tokens))
    found = direction(model, prompts.ids["positive"], prompts.ids["negative"], stack=stack, start_id=source.start_id)
    found = replace(found, origin={**found.origin, **prompts.shown, "chat": False})
    first, plan = _first_token(subject, options), _edits(subject, options, found)
    progress.start(options.max_tokens * len(plan))
    rows = []
    for strength, edits in plan.items():
        text = steered_text(
            model,
            ids,
            edits,
            max_tokens=options.max_tokens,
            eos_ids=source.eos_ids,
            start_id=source.start_id,
            progress=progress,
        )
        rows.append(steered_row(source, text, strength))
    return Steering(
        name=source.spec.name,
        label=source.label,
        origin=dict(found.origin),
        stack=found.stack,
        layers=(options.layer,),
        from_layer=None,
        from_token=first,
        prompt=subject.text[0],
        prompt_ids=tuple(ids),
        texts=tuple(rows),
        directions=direction_rows(found, (options.layer,)),
    )


def _first_token(subject: Subject, options: SteerOptions) -> int:
    """Return the first steered position: the prompt's last, if a direction is added to a decoder."""
    is_added_to_decoder = subject.source.spec.family == "decoder" and not options.is_projected
    return len(subject.inputs.ids) - 1 if is_added_to_decoder else 0


def _strengths(options: SteerOptions) -> list[float]:
    return list(dict.fromkeys([0.0, *(options.strength * part for part in STRENGTHS)]))


def _edits(subject: Subject, options: SteerOptions, found: Any) -> dict[float | None, tuple[Edit, ...]]:
    """Return the edits of each text by its strength; None is that of projecting out."""
    from archcalc.interp.steer.edits import steer

    at, layers = slice(_first_token(subject, options), None), [options.layer]
    if options.is_projected:
        return {0.0: (), None: steer(found, project_out=True, layers=layers, at=at)}
    return {strength: steer(found, strength, layers=layers, at=at) for strength in _strengths(options)}


def _show(subject: Subject, options: SteerOptions, result: Steering) -> Output:
    page = pages.view(result)
    charts.show(chart(result), name="steer.chart")
    blocks.show(page, name="steer")
    return Output(result, lambda: page, _command(subject, options), _python(subject, options))


def _command(subject: Subject, options: SteerOptions) -> str:
    how = "--project-out" if options.is_projected else f"--strength={','.join(f'{x:g}' for x in _strengths(options))}"
    return subject.command(
        "steer",
        *(subject.option("positive", text) for text in options.positive),
        *(subject.option("negative", text) for text in options.negative),
        f"--layers {options.layer}",
        how,
        f"--max-tokens {options.max_tokens}",
    )


def _python(subject: Subject, options: SteerOptions) -> str:
    source = subject.source
    groups = ", ".join(repr([subject.ids_of(text) for text in group]) for group in (options.positive, options.negative))
    start = f", start_id={source.start_id}" if source.start_id is not None else ""
    stack = ", stack='decoder'" if source.spec.family == "encoder-decoder" else ""
    how = "project_out=True" if options.is_projected else f"{options.strength:g}"
    at = f"slice({_first_token(subject, options)}, None)"
    end = f", eos_ids={tuple(source.eos_ids)!r}" if source.eos_ids else ""
    return subject.python(
        f"direction = archcalc.inside.direction(model, {groups}{stack}{start})",
        f"edits = archcalc.inside.steer(direction, {how}, layers=[{options.layer}], at={at})",
        f"archcalc.inside.steered_text(model, {subject.inputs.ids!r}, edits, max_tokens={options.max_tokens}"
        f"{end}{start})",
    )


VIEW: Final = View(
    msg("Steering"),
    msg(
        "A direction from contrasting prompts is added to the residual stream after a layer while the model generates, "
        "or projected out."
    ),
    _options,
    _compute,
    _show,
)
