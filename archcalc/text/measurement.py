"""Measure tokenizers: how they split a text, and what their vocabularies cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from msgspec import Struct

from archcalc.results import Result, Row, Sureness, count, data, number, text
from archcalc.words import Message, msg

if TYPE_CHECKING:
    from archcalc.text.tokenizer import Tokenizer

YES_NO = {True: msg("yes"), False: msg("no")}


class Sample(Struct, frozen=True):
    """A sentence to split and a text to measure on; `of` describes the text."""

    sentence: str
    text: str
    of: str | Message
    d_model: int


class TextToken(Row, frozen=True):
    """A token of the sentence: its vocabulary entry, and its part of the sentence."""

    id: Annotated[int, number(msg("id"), "words")]
    token: Annotated[str, text(msg("in the vocabulary"))]
    text: Annotated[str, number(msg("of the text"), "quoted")]


class Measurement(Row, frozen=True, kw_only=True):
    """One tokenizer's figures; `mismatch`: how the text differs after encoding and decoding, if it does."""

    name: Annotated[str, text(msg("tokenizer"))]
    vocab_size: Annotated[int, count(msg("vocabulary"))]
    embedding_parameters: Annotated[int, count(msg("embedding parameters"))]
    n_tokens: Annotated[int, count(msg("tokens"))]
    characters_per_token: Annotated[float | None, number(msg("characters per token"), "decimal")]
    is_lossless: Annotated[bool, text(msg("gives the text back"), names=YES_NO)]
    mismatch: Annotated[str | Message | None, text(msg("what differs"))]
    tokens: Annotated[tuple[TextToken, ...], data(msg("tokens of the sentence"))]


class Tokenization(Result, frozen=True, kw_only=True):
    """How tokenizers split a sentence, and how many tokens they take for a text; all figures are exact."""

    text: Annotated[str, data(msg("the sentence that is split"))]
    measured_on: Annotated[str | Message, data(msg("the text that is measured on"))]
    n_characters: Annotated[int, data(msg("characters of the text that is measured on"))]
    d_model: Annotated[int, data(msg("width of the embedding"))]
    tokenizers: Annotated[tuple[Measurement, ...], data(msg("figures of each tokenizer"))]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "exact"


def measure_all(tokenizers: Mapping[str, Tokenizer], sample: Sample) -> Tokenization:
    """Return the measurement of each tokenizer on a sample, by its name."""
    return Tokenization(
        text=sample.sentence,
        measured_on=sample.of,
        n_characters=len(sample.text),
        d_model=sample.d_model,
        tokenizers=tuple(_measurement(name, tokenizer, sample) for name, tokenizer in tokenizers.items()),
    )


def _measurement(name: str, tokenizer: Tokenizer, sample: Sample) -> Measurement:
    """Return how a tokenizer splits a sample's sentence and encodes its text."""
    from archcalc.text.tokenizer_training import round_trip_mismatch

    mismatch = round_trip_mismatch(tokenizer, sample.sentence) or round_trip_mismatch(tokenizer, sample.text)
    n_tokens = len(tokenizer.encode(sample.text, special=False))
    return Measurement(
        name=name,
        vocab_size=tokenizer.n_vocab,
        embedding_parameters=tokenizer.n_vocab * sample.d_model,
        n_tokens=n_tokens,
        characters_per_token=len(sample.text) / n_tokens if n_tokens else None,
        is_lossless=mismatch is None,
        mismatch=None if mismatch is None else mismatch.message,
        tokens=tuple(
            TextToken(token_id, tokenizer.piece(token_id), part) for token_id, part in tokenizer.splits(sample.sentence)
        ),
    )
