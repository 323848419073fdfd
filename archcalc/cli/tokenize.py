"""`archcalc tokenize`: compare tokenizers and the cost of their vocabularies."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Literal, get_args

import click

from archcalc.cli.language import emit_result, note
from archcalc.cli.options import output
from archcalc.errors import InputError, parameter
from archcalc.extras import require
from archcalc.render.output import Format, write
from archcalc.words import msg

if TYPE_CHECKING:
    from archcalc.text.measurement import Sample
    from archcalc.text.tokenizer import Tokenizer

Algorithm = Literal["bpe", "wordpiece", "unigram"]


@click.command("tokenize")
@click.argument("arguments", metavar="SOURCE... TEXT", nargs=-1)
@click.option(
    "--train",
    "kind",
    type=click.Choice(get_args(Algorithm)),
    help="Train a tokenizer on a file: tokenize --train bpe FILE.",
)
@click.option("--text", help="Text to tokenize (default with --train: the first line of the file).")
@click.option("--vocab-size", type=click.IntRange(min=2), help="With --train: vocabulary size (default: 1000).")
@click.option("--d-model", type=click.IntRange(min=1), help="Embedding width (default: that of the preset tiny).")
@click.option("--save", type=click.Path(dir_okay=False), help="With --train: write tokenizer.json to this file.")
@output
def command(
    arguments: tuple[str, ...],
    kind: Algorithm | None,
    text: str | None,
    vocab_size: int | None,
    d_model: int | None,
    save: str | None,
    form: Format,
    output: str | None,
    no_color: bool,
) -> None:
    """Compare how tokenizers split a text, and what their vocabularies cost.

    SOURCE is a folder in Hugging Face layout, a tokenizer.json, a .gguf file, a repo id, or a preset with weights. With
    --train, a tokenizer is trained on FILE and compared with other kinds (bpe, wordpiece, unigram, char, word) of the
    same vocabulary size. A larger vocabulary costs parameters (vocabulary × d_model in the embedding) and saves tokens.
    """
    require("tokenizers", does=msg("tokenizing"), extra="run")
    if kind is None:
        if vocab_size is not None or save is not None:
            name = "save" if vocab_size is None else "vocab_size"
            raise InputError(
                msg("{name} has no effect without `train`", name=parameter(name)),
                advice=msg("Leave out {name}.", name=parameter(name)),
            )
        tokenizers, sample = _from_sources(arguments, text, d_model or _default_width())
    else:
        tokenizers, sample = _from_training(
            kind, arguments, text, vocab_size or 1000, d_model or _default_width(), save
        )
    from archcalc.render.tokenize import view
    from archcalc.text.measurement import measure_all

    result = measure_all(tokenizers, sample)
    emit_result(lambda: result, view, None, form, output=output, color=not no_color)


def _default_width() -> int:
    from archcalc.sources import load

    return load("tiny").d_model


def _from_sources(arguments: tuple[str, ...], text: str | None, d_model: int) -> tuple[dict[str, Tokenizer], Sample]:
    """Return the tokenizers and the text of SOURCE… TEXT, or of SOURCE… --text TEXT."""
    sources, sentence = (
        (arguments, text) if text is not None else (arguments[:-1], arguments[-1] if arguments else None)
    )
    if not sources or sentence is None:
        raise InputError(
            msg("a source and a text are needed"), allowed=msg('archcalc tokenize SOURCE "text", or --train KIND FILE')
        )
    from archcalc.text.measurement import Sample

    return _open_all(sources), Sample(sentence, sentence, msg("the text"), d_model)


def _open_all(sources: tuple[str, ...]) -> dict[str, Tokenizer]:
    duplicate = next((source for i, source in enumerate(sources) if source in sources[:i]), None)
    if duplicate is not None:
        raise InputError(msg("{twice} stands twice", twice=repr(duplicate)), allowed=msg("each source once"))
    from archcalc.text.open import open_tokenizer

    return {source: open_tokenizer(source) for source in sources}


def _from_training(
    kind: Algorithm, arguments: tuple[str, ...], sentence: str | None, vocab_size: int, d_model: int, save: str | None
) -> tuple[dict[str, Tokenizer], Sample]:
    """Train all kinds on one text; `kind` must reach the vocabulary size and is what --save writes."""
    if len(arguments) != 1:
        problem = msg("found {n} files to train on", n=len(arguments)) if arguments else msg("no file to train on")
        raise InputError(problem, where="train", allowed=msg("one text file, and what to split by `text`"))
    from archcalc.text import tokenizer_training as training
    from archcalc.text.measurement import Sample

    text = training.read_text(arguments[0])
    progress = sys.stderr.isatty()
    trained = training.train(kind, text, vocab_size, progress=progress)
    if save is not None:
        write(save, training.as_json(trained))
    tokenizers: dict[str, Tokenizer] = {}
    for name in training.KINDS:
        try:
            tokenizers[name] = trained if name == kind else training.train(name, text, vocab_size, whole=False)
        except InputError as error:
            reason = error.at()
            note(msg("{kind} is left out: {error}", kind=name, error=reason))
    if sentence is None:
        sentence = next(line.strip() for line in text.splitlines() if line.strip())
    return tokenizers, Sample(sentence, text, arguments[0], d_model)
