"""Measure tokenizers: how they split a text, and what their vocabularies cost."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from archcalc.text.tokenizer import Tokenizer
from archcalc.words import Message


class Sample(Struct, frozen=True):
    """A sentence to split and a text to measure on; `of` describes the text."""

    sentence: str
    text: str
    of: str | Message
    d_model: int


class Measurement(Struct, frozen=True):
    """One tokenizer's figures, all exact; `mismatch`: how the text differs after encoding and decoding, if it does."""

    name: str
    n_vocab: int
    embedding: int
    n_tokens: int
    n_characters: int
    mismatch: str | Message | None
    splits: list[tuple[int, str, str]]  # id, vocabulary entry, part of the sentence

    @property
    def characters_per_token(self) -> float | None:
        """Return the characters per token."""
        return self.n_characters / self.n_tokens if self.n_tokens else None


def measure_all(tokenizers: Mapping[str, Tokenizer], sample: Sample) -> list[Measurement]:
    """Return the measurement of each tokenizer on a sample, by its name."""
    return [measure(name, tokenizer, sample) for name, tokenizer in tokenizers.items()]


def measure(name: str, tokenizer: Tokenizer, sample: Sample) -> Measurement:
    """Return how a tokenizer splits a sample's sentence and encodes its text."""
    from archcalc.text.tokenizer_training import round_trip_mismatch

    splits = [(token_id, tokenizer.piece(token_id), part) for token_id, part in tokenizer.splits(sample.sentence)]
    mismatch = round_trip_mismatch(tokenizer, sample.sentence) or round_trip_mismatch(tokenizer, sample.text)
    return Measurement(
        name=name,
        n_vocab=tokenizer.n_vocab,
        embedding=tokenizer.n_vocab * sample.d_model,
        n_tokens=len(tokenizer.encode(sample.text, special=False)),
        n_characters=len(sample.text),
        mismatch=None if mismatch is None else mismatch.message,
        splits=splits,
    )
