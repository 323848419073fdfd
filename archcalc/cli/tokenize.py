"""`archcalc tokenize`: how texts split into tokens, and what a vocabulary costs."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import click
from msgspec import Struct

from archcalc.cli.options import output
from archcalc.errors import InputError, printable
from archcalc.extras import require
from archcalc.render.output import Format, emit, write
from archcalc.render.page import Block, Column, Page, Table, Text

if TYPE_CHECKING:
    from archcalc.run.tokenizer import Tokenizer

Trained = Literal["bpe", "wordpiece", "unigram"]

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


@click.command("tokenize")
@click.argument("given", metavar="SOURCE... TEXT", nargs=-1)
@click.option(
    "--train", "kind", type=click.Choice(get_args(Trained)), help="Train one on a file: tokenize --train bpe FILE."
)
@click.option("--text", help="The text to split (with --train, instead of the file's first line).")
@click.option(
    "--vocab-size", type=click.IntRange(min=2), help="With --train: tokens of each vocabulary (default: 1000)."
)
@click.option(
    "--d-model", type=click.IntRange(min=1), help="Width of the embedding (default: that of the preset tiny)."
)
@click.option("--save", type=click.Path(dir_okay=False), help="With --train: write the trained tokenizer.json here.")
@output
def command(
    given: tuple[str, ...],
    kind: Trained | None,
    text: str | None,
    vocab_size: int | None,
    d_model: int | None,
    save: str | None,
    form: Format,
    output: str | None,
    no_color: bool,
) -> None:
    """How tokenizers split a text, side by side, with ids, and what their vocabularies cost.

    SOURCE is a folder in Hugging Face layout, a tokenizer.json, a .gguf file or a repo id. With --train, one is trained
    on a FILE and shown beside the other kinds (bpe, wordpiece, unigram, char, word) of the same vocabulary size on the
    same text.
    A vocabulary costs parameters (vocabulary × d_model in the embedding) and saves tokens.
    """
    require("tokenizers", does="tokenizing", extra="run")
    if kind is None:
        if vocab_size is not None or save is not None:
            option = "--save" if vocab_size is None else "--vocab-size"
            raise InputError(f"{option} has no effect without --train", allowed=f"to leave out {option}")
        subject = _of_sources(given, text, d_model or _usual_width())
    else:
        subject = _of_training(kind, given, text, vocab_size or 1000, d_model or _usual_width(), save)
    found = [_measured(name, one, subject) for name, one in subject.tokenizers.items()]
    emit(lambda: _page(subject, found), lambda: _data(subject, found), form, output=output, color=not no_color)


def _usual_width() -> int:
    from archcalc.sources import load

    return load("tiny").d_model


def _of_sources(given: tuple[str, ...], text: str | None, d_model: int) -> Subject:
    """SOURCE… TEXT, or SOURCE… --text TEXT."""
    sources, sentence = (given, text) if text is not None else (given[:-1], given[-1] if given else None)
    if not sources or sentence is None:
        raise InputError(
            "a source and a text are needed", allowed='archcalc tokenize SOURCE "text", or --train KIND FILE'
        )
    return Subject(_named(sources), sentence, sentence, "the text", d_model)


def _named(sources: tuple[str, ...]) -> dict[str, Tokenizer]:
    twice = next((source for i, source in enumerate(sources) if source in sources[:i]), None)
    if twice is not None:
        raise InputError(f"{twice!r} stands twice", allowed="each source once")
    return {source: _opened(source) for source in sources}


def _opened(source: str) -> Tokenizer:
    from archcalc.run.tokenizer import of_folder, of_gguf

    if os.path.isfile(source) and source.lower().endswith(".gguf"):
        require("gguf", does="reading a GGUF file", extra="run")
        from archcalc.formats.gguf_file import read_header

        try:
            return of_gguf(read_header(Path(source)).metadata, label=source)
        except InputError as error:
            raise error.within(source) from None
    if os.path.isdir(source) or (os.path.isfile(source) and source.lower().endswith(".json")):
        return of_folder(source)
    if source.count("/") == 1 and source[0].isalnum() and not os.path.exists(source):
        from archcalc.hf.hub import snapshot_path

        return of_folder(snapshot_path(source, weights=False))
    problem = "has no tokenizer" if os.path.exists(source) else "is not there"
    raise InputError(
        problem, file=source, allowed="a folder with tokenizer.json, a tokenizer.json, a .gguf file, a repo id"
    )


def _of_training(
    kind: Trained, given: tuple[str, ...], sentence: str | None, vocab_size: int, d_model: int, save: str | None
) -> Subject:
    """All kinds trained on one text; the one asked for must reach its size, and is what --save writes."""
    if len(given) != 1:
        problem = "no file to train on" if not given else f"found {len(given)} files to train on"
        raise InputError(problem, where="--train", allowed="one text file, and what to split by --text")
    from archcalc.run import train_tokenizer as training

    text = training.read_text(given[0])
    progress = sys.stderr.isatty()
    asked = training.train(kind, text, vocab_size, progress=progress)
    if save is not None:
        write(save, training.as_json(asked))
    tokenizers: dict[str, Tokenizer] = {}
    for one in training.KINDS:
        try:
            tokenizers[one] = asked if one == kind else training.train(one, text, vocab_size, whole=False)
        except InputError as error:
            click.echo(f"archcalc: {one} is left out: {error}", err=True)
    if sentence is None:
        sentence = next(line.strip() for line in text.splitlines() if line.strip())
    return Subject(tokenizers, sentence, text, given[0], d_model)


def _measured(name: str, tokenizer: Tokenizer, subject: Subject) -> Measured:
    from archcalc.run.train_tokenizer import loss

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


def _page(subject: Subject, found: list[Measured]) -> Page:
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


def _data(subject: Subject, found: list[Measured]) -> dict[str, Any]:
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
