"""The result of a training run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from archcalc.results import Result, Row, Sureness, count, data, number, share
from archcalc.words import Message, msg

if TYPE_CHECKING:
    from archcalc.run.train.session import Session
    from archcalc.run.train.settings import Settings
    from archcalc.spec import Spec


class Validation(Row, frozen=True, kw_only=True):
    """The losses at a checkpoint; those of the validation set are means over its targets and its characters."""

    step: Annotated[int, count(msg("step"))]
    loss: Annotated[float, number(msg("training loss, nats"), "decimal")]
    nats: Annotated[float, number(msg("validation loss, nats"), "decimal")]
    nats_per_character: Annotated[float | None, number(msg("per character"), "decimal")]
    accuracy: Annotated[float, share(msg("accuracy"))]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "measured"


class TrainingRun(Result, frozen=True, kw_only=True):
    """A finished run: steps, tokens and FLOPs are exact, times and losses measured."""

    name: Annotated[str, data(msg("name of the model"))]
    label: Annotated[str | Message, data(msg("title of the model"))]
    checkpoint: Annotated[str, data(msg("folder of the last checkpoint"))]
    steps: Annotated[int, data(msg("steps"))]
    tokens: Annotated[int, data(msg("tokens"))]
    flops: Annotated[int, data(msg("FLOPs"))]
    seconds: Annotated[float, data(msg("time"))]
    tokens_per_second: Annotated[float, data(msg("tokens per second"))]
    loss: Annotated[float, data(msg("training loss of the last step, nats"))]
    validations: Annotated[tuple[Validation, ...], data(msg("losses at each checkpoint"))]


def training_run(session: Session) -> TrainingRun:
    """Return the result of a run after its last step."""
    run, spec = session.run, session.dataset.spec
    tokens = run.step * run.settings.batch * run.settings.seq
    return TrainingRun(
        name=spec.name,
        label=spec.label,
        checkpoint=str(session.last_checkpoint),
        steps=run.step,
        tokens=tokens,
        flops=step_flops(spec, run.settings) * run.step,
        seconds=run.seconds,
        tokens_per_second=tokens / run.seconds,
        loss=run.losses[-1],
        validations=tuple(
            Validation(step=step, loss=run.losses[step - 1], nats=nats, nats_per_character=of_text, accuracy=accuracy)
            for step, nats, of_text, accuracy in run.held_out
        ),
    )


def step_flops(spec: Spec, settings: Settings) -> int:
    """Return the exact FLOPs of a training step."""
    from archcalc.contract import report

    return int(report(spec, batch=settings.batch, seq=settings.seq)["flops"]["train_step"])
