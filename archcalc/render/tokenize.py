"""How tokenizers split a text and what their vocabularies cost, as a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from archcalc.errors import printable
from archcalc.render.page import Block, Column, Page, Table, Text
from archcalc.words import Message, in_context, msg, plural

if TYPE_CHECKING:
    from archcalc.text.measurement import Measurement, Sample

COLUMNS = (
    Column(msg("tokenizer")),
    Column(msg("vocabulary"), "count"),
    Column(msg("embedding parameters"), "count"),
    Column(msg("tokens"), "count"),
    Column(msg("characters per token"), "words"),
    Column(msg("gives the text back")),
)

UNKNOWN = ("[UNK]", "<unk>")


def page(sample: Sample, found: list[Measurement]) -> Page:
    """Vocabularies, what they cost and how many tokens they take; then each one's splits of the sentence."""
    rows = [
        (
            one.name,
            one.n_vocab,
            one.embedding,
            one.n_tokens,
            f"{one.characters_per_token:.2f}" if one.characters_per_token else "",
            msg("yes") if one.mismatch is None else msg("no: {lost}", lost=one.mismatch),
        )
        for one in found
    ]
    measured = msg(
        "tokens of {of}, {n:,} characters; embedding of d_model {d_model:,} (--d-model); exact",
        of=sample.of,
        n=len(sample.text),
        d_model=sample.d_model,
    )
    blocks: list[Block] = [Table("", COLUMNS, rows)]
    blocks += [Text(_title(one), [_split(one), _ids(one)]) for one in found]
    return Page(msg("Splits of {sentence}", sentence=repr(sample.sentence)), measured, blocks)


def _title(one: Measurement) -> Message:
    return plural("{name}: {n:,} token", "{name}: {n:,} tokens", name=one.name, n=len(one.splits))


def _split(one: Measurement) -> str | Message:
    """The tokens between bars; a part of a character by its name, what is unknown with what it becomes."""
    if not one.splits:
        return in_context("of an empty text", "nothing")
    parts = (f"{part}→{piece}" if piece in UNKNOWN else part for _, piece, part in one.splits)
    return printable("│" + "│".join(parts) + "│")


def _ids(one: Measurement) -> str:
    return " ".join(str(token_id) for token_id, _, _ in one.splits)


def data(sample: Sample, found: list[Measurement]) -> dict[str, Any]:
    """The same, as plain data."""
    return {
        "text": sample.sentence,
        "measured_on": str(sample.of),
        "n_characters": len(sample.text),
        "d_model": sample.d_model,
        "kind": "exact",
        "tokenizers": [
            {
                "name": one.name,
                "vocab_size": one.n_vocab,
                "embedding_parameters": one.embedding,
                "n_tokens": one.n_tokens,
                "characters_per_token": one.characters_per_token,
                "lossless": one.mismatch is None,
                "lost": None if one.mismatch is None else str(one.mismatch),
                "tokens": [{"id": i, "token": piece, "text": part} for i, piece, part in one.splits],
            }
            for one in found
        ],
    }
