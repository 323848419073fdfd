"""The result of predicting masked tokens."""

from __future__ import annotations

from typing import Annotated

from archcalc.results import Result, Row, Sureness, data, number, probability
from archcalc.words import Message, msg


class MaskPrediction(Row, frozen=True, kw_only=True):
    """A token at the position of a mask; `text` is None without a tokenizer."""

    position: Annotated[int, number(msg("position"), "words")]
    text: Annotated[str | None, number(msg("token"), "quoted")]
    id: Annotated[int, number(msg("id"), "words")]
    probability: Annotated[float, probability(msg("probability"))]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "measured"


class MaskPredictions(Result, frozen=True, kw_only=True):
    """The likeliest tokens for each mask in turn, best first."""

    name: Annotated[str, data(msg("name of the model"))]
    label: Annotated[str | Message, data(msg("title of the model"))]
    predictions: Annotated[tuple[MaskPrediction, ...], data(msg("the likeliest tokens for each mask"))]
