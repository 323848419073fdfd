"""The result of generating texts."""

from __future__ import annotations

from typing import Annotated, Literal

from archcalc.results import Result, Row, data, text
from archcalc.run.decoding.timing import Timing
from archcalc.words import Message, msg

FinishReason = Literal["eos", "stop", "length"]


class Completion(Row, frozen=True):
    """The continuation of one prompt: its ids, their text ("" without a tokenizer), and why it ended.

    `ended`: at an end token ("eos"), at a stop string ("stop"), or at the limit of tokens or context ("length").
    `prompt` is None if the prompt was token ids.
    """

    prompt_ids: Annotated[list[int], data(msg("token ids of the prompt"))]
    ids: Annotated[list[int], data(msg("token ids"))]
    text: Annotated[str, text(msg("text"))]
    ended: Annotated[FinishReason, text(msg("why it ended"))]
    prompt: Annotated[str | None, text(msg("prompt"))] = None


class GeneratedTexts(Result, frozen=True, kw_only=True):
    """The continuations of some prompts, and how long they took."""

    name: Annotated[str, data(msg("name of the model"))]
    label: Annotated[str | Message, data(msg("title of the model"))]
    completions: Annotated[tuple[Completion, ...], data(msg("a text for each prompt"))]
    timing: Annotated[Timing, data(msg("time of the prefill and of the decode steps"))]
