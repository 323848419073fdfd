"""How tokenizers split a text and what their vocabularies cost, as a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from archcalc.errors import printable
from archcalc.render.page import Block, Column, Page, Table, Text

if TYPE_CHECKING:
    from archcalc.text.tokenizer import Tokenizer

COLUMNS = (
    Column("tokenizer"),
    Column("vocabulary", "count"),
    Column("embedding parameters", "count"),
    Column("tokens", "count"),
    Column("characters per token", "words"),
    Column("gives the text back"),
)

UNKNOWN = ("[UNK]", "<unk>")


class Subject(Struct, frozen=True):
    """The tokenizers to show, the sentence they split, and the text on which they are measured."""

    tokenizers: dict[str, Any]
    sentence: str
    text: str
    of: str  # what the text is: 'the sentence', or a file
    d_model: int


class Measured(Struct, frozen=True):
    """One tokenizer's figures, all exact."""

    name: str
    n_vocab: int
    embedding: int
    n_tokens: int
    n_characters: int
    lost: str | None
    splits: list[tuple[int, str, str]]  # id, the vocabulary's name for it, the part of the sentence

    @property
    def per_token(self) -> float | None:
        """Characters per token."""
        return self.n_characters / self.n_tokens if self.n_tokens else None


def measured(name: str, tokenizer: Tokenizer, subject: Subject) -> Measured:
    """What a tokenizer makes of the subject's sentence and text."""
    from archcalc.text.tokenizer_training import loss

    splits = [(one, tokenizer.piece(one), part) for one, part in tokenizer.splits(subject.sentence)]
    lost = loss(tokenizer, subject.sentence) or loss(tokenizer, subject.text)
    return Measured(
        name=name,
        n_vocab=tokenizer.n_vocab,
        embedding=tokenizer.n_vocab * subject.d_model,
        n_tokens=len(tokenizer.encode(subject.text, special=False)),
        n_characters=len(subject.text),
        lost=None if lost is None else str(lost),
        splits=splits,
    )


def page(subject: Subject, found: list[Measured]) -> Page:
    """Vocabularies, what they cost and how many tokens they take; then each one's splits of the sentence."""
    rows = [
        (
            one.name,
            one.n_vocab,
            one.embedding,
            one.n_tokens,
            f"{one.per_token:.2f}" if one.per_token else "",
            "yes" if one.lost is None else f"no: {one.lost}",
        )
        for one in found
    ]
    width = f"embedding of d_model {subject.d_model:,} (--d-model)"
    measured = f"tokens of {subject.of}, {len(subject.text):,} characters; {width}; exact"
    blocks: list[Block] = [Table("", COLUMNS, rows)]
    blocks += [Text(f"{one.name}: {_count(len(one.splits))}", [_split(one), _ids(one)]) for one in found]
    return Page(f"Splits of {subject.sentence!r}", measured, blocks)


def _count(n: int) -> str:
    return f"{n:,} token{'s' * (n != 1)}"


def _split(one: Measured) -> str:
    """The tokens between bars; a part of a character by its name, what is unknown with what it becomes."""
    if not one.splits:
        return "nothing"
    parts = (f"{part}→{piece}" if piece in UNKNOWN else part for _, piece, part in one.splits)
    return printable("│" + "│".join(parts) + "│")


def _ids(one: Measured) -> str:
    return " ".join(str(token_id) for token_id, _, _ in one.splits)


def data(subject: Subject, found: list[Measured]) -> dict[str, Any]:
    """The same, as plain data."""
    return {
        "text": subject.sentence,
        "measured_on": subject.of,
        "n_characters": len(subject.text),
        "d_model": subject.d_model,
        "kind": "exact",
        "tokenizers": [
            {
                "name": one.name,
                "vocab_size": one.n_vocab,
                "embedding_parameters": one.embedding,
                "n_tokens": one.n_tokens,
                "characters_per_token": one.per_token,
                "lossless": one.lost is None,
                "lost": one.lost,
                "tokens": [{"id": i, "token": piece, "text": part} for i, piece, part in one.splits],
            }
            for one in found
        ],
    }
