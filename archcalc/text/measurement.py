"""What tokenizers make of a text, and what their vocabularies cost."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from archcalc.text.tokenizer import Tokenizer
from archcalc.words import Message


class Sample(Struct, frozen=True):
    """The sentence that tokenizers split, and the text that they are measured on; `of` says what that text is."""

    sentence: str
    text: str
    of: str | Message
    d_model: int


class Measurement(Struct, frozen=True):
    """One tokenizer's figures, all exact; `lost` says where a text does not come back."""

    name: str
    n_vocab: int
    embedding: int
    n_tokens: int
    n_characters: int
    lost: str | Message | None
    splits: list[tuple[int, str, str]]  # id, the vocabulary's name for it, the part of the sentence

    @property
    def per_token(self) -> float | None:
        """Return the characters per token."""
        return self.n_characters / self.n_tokens if self.n_tokens else None


def measure_all(tokenizers: Mapping[str, Tokenizer], sample: Sample) -> list[Measurement]:
    """Return the measurement of each tokenizer on a sample, by its name."""
    return [measure(name, tokenizer, sample) for name, tokenizer in tokenizers.items()]


def measure(name: str, tokenizer: Tokenizer, sample: Sample) -> Measurement:
    """Return what a tokenizer makes of a sample's sentence and text."""
    from archcalc.text.tokenizer_training import loss

    splits = [(one, tokenizer.piece(one), part) for one, part in tokenizer.splits(sample.sentence)]
    lost = loss(tokenizer, sample.sentence) or loss(tokenizer, sample.text)
    return Measurement(
        name=name,
        n_vocab=tokenizer.n_vocab,
        embedding=tokenizer.n_vocab * sample.d_model,
        n_tokens=len(tokenizer.encode(sample.text, special=False)),
        n_characters=len(sample.text),
        lost=None if lost is None else lost.message,
        splits=splits,
    )
