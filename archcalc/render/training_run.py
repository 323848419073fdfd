"""A training run as a page."""

from __future__ import annotations

from archcalc.render.page import Block, Page, Text
from archcalc.render.tables import table
from archcalc.run.train.result import TrainingRun, Validation
from archcalc.units import human
from archcalc.words import Message, msg


def view(result: TrainingRun, options: None = None) -> Page:
    """Return the page of the run's figures and of its losses at each checkpoint."""
    checkpoint = result.checkpoint
    blocks: list[Block] = [
        Text("", _figures(result)),
        table(msg("Losses at each checkpoint: measured"), result.validations, Validation),
        Text(msg("The model"), [f"{checkpoint}: archcalc generate {checkpoint} --prompt …"]),
    ]
    return Page(msg("{name}: training run", name=result.name), "", blocks)


def _figures(result: TrainingRun) -> list[Message]:
    return [
        msg(
            "exact: {steps:,} steps, {tokens:,} tokens, {flops} FLOPs",
            steps=result.steps,
            tokens=result.tokens,
            flops=human(result.flops),
        ),
        msg(
            "measured: {seconds:.2f} s, {rate:,.0f} tokens/s",
            seconds=result.seconds,
            rate=result.tokens_per_second,
        ),
    ]
