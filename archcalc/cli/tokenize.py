"""`archcalc tokenize`: how texts split into tokens, and what a vocabulary costs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Literal, get_args

import click

from archcalc.cli.language import emit, note
from archcalc.cli.options import output
from archcalc.errors import InputError, parameter
from archcalc.extras import require
from archcalc.render.output import Format, write
from archcalc.render.tokenize import data, page
from archcalc.words import msg

if TYPE_CHECKING:
    from archcalc.text.measurement import Sample
    from archcalc.text.tokenizer import Tokenizer

Trained = Literal["bpe", "wordpiece", "unigram"]


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

    SOURCE is a folder in Hugging Face layout, a tokenizer.json, a .gguf file, a repo id, or a preset that comes with
    weights. With --train, one is trained
    on a FILE and shown beside the other kinds (bpe, wordpiece, unigram, char, word) of the same vocabulary size on the
    same text.
    A vocabulary costs parameters (vocabulary × d_model in the embedding) and saves tokens.
    """
    require("tokenizers", does=msg("tokenizing"), extra="run")
    if kind is None:
        if vocab_size is not None or save is not None:
            name = "save" if vocab_size is None else "vocab_size"
            raise InputError(
                msg("{name} has no effect without `train`", name=parameter(name)),
                allowed=msg("to leave out {name}", name=parameter(name)),
            )
        tokenizers, sample = _of_sources(given, text, d_model or _usual_width())
    else:
        tokenizers, sample = _of_training(kind, given, text, vocab_size or 1000, d_model or _usual_width(), save)
    from archcalc.text.measurement import measure_all

    found = measure_all(tokenizers, sample)
    emit(lambda: page(sample, found), lambda: data(sample, found), form, output=output, color=not no_color)


def _usual_width() -> int:
    from archcalc.sources import load

    return load("tiny").d_model


def _of_sources(given: tuple[str, ...], text: str | None, d_model: int) -> tuple[dict[str, Tokenizer], Sample]:
    """SOURCE… TEXT, or SOURCE… --text TEXT."""
    sources, sentence = (given, text) if text is not None else (given[:-1], given[-1] if given else None)
    if not sources or sentence is None:
        raise InputError(
            msg("a source and a text are needed"), allowed=msg('archcalc tokenize SOURCE "text", or --train KIND FILE')
        )
    from archcalc.text.measurement import Sample

    return _named(sources), Sample(sentence, sentence, msg("the text"), d_model)


def _named(sources: tuple[str, ...]) -> dict[str, Tokenizer]:
    twice = next((source for i, source in enumerate(sources) if source in sources[:i]), None)
    if twice is not None:
        raise InputError(msg("{twice} stands twice", twice=repr(twice)), allowed=msg("each source once"))
    from archcalc.text.open import open_tokenizer

    return {source: open_tokenizer(source) for source in sources}


def _of_training(
    kind: Trained, given: tuple[str, ...], sentence: str | None, vocab_size: int, d_model: int, save: str | None
) -> tuple[dict[str, Tokenizer], Sample]:
    """All kinds trained on one text; the one asked for must reach its size, and is what --save writes."""
    if len(given) != 1:
        problem = "no file to train on" if not given else f"found {len(given)} files to train on"
        raise InputError(problem, where="train", allowed=msg("one text file, and what to split by `text`"))
    from archcalc.text import tokenizer_training as training
    from archcalc.text.measurement import Sample

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
            reason = InputError(error.problem, allowed=error.allowed)
            note(msg("{kind} is left out: {error}", kind=one, error=reason))
    if sentence is None:
        sentence = next(line.strip() for line in text.splitlines() if line.strip())
    return tokenizers, Sample(sentence, text, given[0], d_model)
