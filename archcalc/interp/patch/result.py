"""The result of `archcalc patch`. Reading it needs no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isnan
from typing import TYPE_CHECKING, Annotated, Any

from archcalc.results import Field, Result, Row, Sureness, data, number, text
from archcalc.words import Message, msg

if TYPE_CHECKING:
    from archcalc.interp.patch.run import EffectMap, Patching
    from archcalc.run.loading.source import ModelSource

COMPONENT_NAMES: dict[str, Message] = {
    "residual": msg("residual stream"),
    "attention": msg("attention output"),
    "ffn": msg("FFN output"),
    "head": msg("heads"),
    "neuron": msg("neurons"),
}
METRIC_NAMES: dict[str, Message] = {
    "probability": msg("probability of the answer"),
    "logit difference": msg("logit of the answer minus that of the wrong token"),
}
RUN_NAMES: dict[str, Message] = {"clean": msg("clean"), "corrupted": msg("corrupted")}


class PatchToken(Row, frozen=True, kw_only=True):
    """A token of a text in the clean and in the corrupted pass; `stack` is `encoder`, `decoder` or empty."""

    stack: Annotated[str, text(msg("stack"), shown="varied")]
    position: Annotated[int, number(msg("position"), "words")]
    clean: Annotated[str, number(msg("clean"), "words")]
    clean_id: Annotated[int, number(msg("id"), "words")]
    corrupted: Annotated[str, number(msg("corrupted"), "words")]
    corrupted_id: Annotated[int, number(msg("id"), "words")]
    is_noisy: Annotated[bool, data(msg("whether noise is added"))]


class PatchRun(Row, frozen=True, kw_only=True):
    """What a pass predicts: the metric, and the answer and the likeliest token with their probabilities."""

    run: Annotated[str, text(msg("pass"), names=RUN_NAMES)]
    value: Annotated[float, number(msg("metric"), "decimal")]
    probability: Annotated[float, number(msg("P(answer)"), "decimal")]
    rank: Annotated[int, number(msg("rank"), "words")]
    wrong_probability: Annotated[float | None, Field(heading=msg("P(wrong)"), kind="decimal", shown="varied")]
    top: Annotated[str, number(msg("likeliest"), "words")]
    top_id: Annotated[int, data(msg("id of the likeliest token"))]
    top_probability: Annotated[float, number(msg("P(likeliest)"), "decimal")]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "measured"


class RestoredEffect(Row, frozen=True, kw_only=True):
    """The effect of restoring one target; `position` is empty for all positions at once.

    `value` is the metric after restoring, `effect` its share of the way from the corrupted (0) to the clean pass (1),
    and `estimate` the effect that attribution patching estimates. They are empty where they were not computed, and
    where both passes have the same metric.
    """

    component: Annotated[str, text(msg("component"), names=COMPONENT_NAMES)]
    path: Annotated[str, text(msg("site"))]
    stack: Annotated[str, data(msg("stack"))]
    layer: Annotated[int, data(msg("layer"))]
    index: Annotated[int | None, text(msg("head or neuron"), shown="varied")]
    position: Annotated[int | None, number(msg("position"), "words")]
    token: Annotated[str, number(msg("token"), "words")]
    value: Annotated[float | None, number(msg("metric"), "decimal")]
    effect: Annotated[float | None, number(msg("effect"), "decimal")]
    estimate: Annotated[float | None, number(msg("estimate"), "decimal")]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "measured"


class EstimateError(Row, frozen=True, kw_only=True):
    """How far the estimates of one component are from the exact effects, position by position.

    `correlation` is Pearson's, empty where either does not vary. The largest difference is at `path` and `position`.
    """

    component: Annotated[str, text(msg("component"), names=COMPONENT_NAMES)]
    stack: Annotated[str, text(msg("stack"), shown="varied")]
    n: Annotated[int, number(msg("cells"), "words")]
    correlation: Annotated[float | None, number(msg("correlation"), "decimal")]
    largest_difference: Annotated[float, number(msg("largest difference"), "decimal")]
    path: Annotated[str, text(msg("site"))]
    index: Annotated[int | None, text(msg("head or neuron"), shown="varied")]
    position: Annotated[int, number(msg("position"), "words")]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "measured"


class PatchNoise(Row, frozen=True, kw_only=True):
    """Gaussian noise on the embeddings at `positions`, with the standard deviation `scale` times theirs."""

    positions: Annotated[tuple[int, ...], data(msg("positions"))]
    scale: Annotated[float, data(msg("standard deviations"))]
    n_samples: Annotated[int, data(msg("samples"))]
    seed: Annotated[int, data(msg("random seed"))]


class ActivationPatching(Result, frozen=True, kw_only=True):
    """The effect of restoring parts of a clean forward pass in a corrupted one."""

    name: Annotated[str, data(msg("name of the model"))]
    label: Annotated[str | Message, data(msg("title of the model"))]
    metric: Annotated[str, data(msg("metric"))]
    answer: Annotated[str, data(msg("answer"))]
    answer_id: Annotated[int, data(msg("id of the answer"))]
    wrong: Annotated[str | None, data(msg("wrong token"))]
    wrong_id: Annotated[int | None, data(msg("id of the wrong token"))]
    position: Annotated[int, data(msg("position whose prediction is measured"))]
    noise: Annotated[PatchNoise | None, data(msg("noise on the embeddings"))]
    window: Annotated[int, data(msg("layers restored together"))]
    tokens: Annotated[tuple[PatchToken, ...], data(msg("input tokens"))]
    runs: Annotated[tuple[PatchRun, ...], data(msg("clean and corrupted pass"))]
    effects: Annotated[tuple[RestoredEffect, ...], data(msg("effects"))]
    errors: Annotated[tuple[EstimateError, ...], data(msg("errors of the estimates"))]


def activation_patching(source: ModelSource, patching: Patching, *, window: int = 1) -> ActivationPatching:
    """Return the result of a patching of a source's model."""
    metric, noise = patching.metric, patching.noise
    stacks = [stack.prefix.rstrip(".") for stack in source.spec.stacks]
    return ActivationPatching(
        name=source.spec.name,
        label=source.label,
        metric=metric.name,
        answer=source.piece(metric.answer),
        answer_id=metric.answer,
        wrong=None if metric.wrong is None else source.piece(metric.wrong),
        wrong_id=metric.wrong,
        position=patching.position,
        noise=None
        if noise is None
        else PatchNoise(positions=noise.positions, scale=noise.scale, n_samples=noise.n_samples, seed=noise.seed),
        window=window,
        tokens=tuple(_tokens(source, patching, stacks)),
        runs=(
            _run(source, patching, "clean", patching.clean, patching.clean_probabilities_V),
            _run(source, patching, "corrupted", patching.corrupted, patching.corrupted_probabilities_V),
        ),
        effects=tuple(row for each in patching.maps for row in _effects(source, patching, each, stacks)),
        errors=tuple(row for each in patching.maps for row in _errors(each, stacks)),
    )


def _tokens(source: ModelSource, patching: Patching, stacks: Sequence[str]) -> Iterator[PatchToken]:
    for index, (clean, corrupted) in enumerate(zip(patching.texts, patching.corrupted_texts, strict=True)):
        noisy = patching.noise.positions if patching.noise is not None and index == 0 else ()
        for position, (token, other) in enumerate(zip(clean, corrupted, strict=True)):
            yield PatchToken(
                stack=stacks[index],
                position=position,
                clean=source.piece(token),
                clean_id=token,
                corrupted=source.piece(other),
                corrupted_id=other,
                is_noisy=position in noisy,
            )


def _run(source: ModelSource, patching: Patching, name: str, value: float, p_V: Any) -> PatchRun:
    answer, wrong, top = patching.metric.answer, patching.metric.wrong, int(p_V.argmax())
    return PatchRun(
        run=name,
        value=value,
        probability=float(p_V[answer]),
        rank=1 + int((p_V > p_V[answer]).sum()),
        wrong_probability=None if wrong is None else float(p_V[wrong]),
        top=source.piece(top),
        top_id=top,
        top_probability=float(p_V[top]),
    )


def _effects(
    source: ModelSource, patching: Patching, each: EffectMap, stacks: Sequence[str]
) -> Iterator[RestoredEffect]:
    ids = patching.texts[each.stack]
    for row, target in enumerate(each.targets):
        for column in range(len(ids) + 1):
            is_whole = column == len(ids)
            yield RestoredEffect(
                component=each.component,
                path=target.name,
                stack=stacks[each.stack],
                layer=target.layer,
                index=target.index,
                position=None if is_whole else column,
                token="" if is_whole else source.piece(ids[column]),
                value=_at(each.values_RP, row, column),
                effect=_at(each.effects_RP, row, column),
                estimate=_at(each.estimates_RP, row, column),
            )


def _at(x_RP: Any, row: int, column: int) -> float | None:
    value = None if x_RP is None else float(x_RP[row, column])
    return None if value is None or isnan(value) else value


def _errors(each: EffectMap, stacks: Sequence[str]) -> Iterator[EstimateError]:
    """Yield the error of a map's estimates, over single positions."""
    if each.effects_RP is None or each.estimates_RP is None or bool(each.effects_RP.isnan().any()):
        return
    exact_RT, estimated_RT = each.effects_RP[:, :-1], each.estimates_RP[:, :-1]
    differences_RT = (exact_RT - estimated_RT).abs()
    row, column = divmod(int(differences_RT.argmax()), differences_RT.shape[1])
    yield EstimateError(
        component=each.component,
        stack=stacks[each.stack],
        n=exact_RT.numel(),
        correlation=correlation(exact_RT, estimated_RT),
        largest_difference=float(differences_RT[row, column]),
        path=each.targets[row].name,
        index=each.targets[row].index,
        position=column,
    )


def correlation(x: Any, y: Any) -> float | None:
    """Return Pearson's correlation of two tensors; None where one does not vary."""
    x, y = x.flatten() - x.mean(), y.flatten() - y.mean()
    norms = float(x.norm() * y.norm())
    return float((x * y).sum()) / norms if norms > 0 else None
