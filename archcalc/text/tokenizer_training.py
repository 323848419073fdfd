"""Trains a tokenizer on a text: byte-level BPE, WordPiece, Unigram; characters and words beside them.

The same text and size give the same tokenizer, byte for byte. The library's trainers alone do not: two of them walk
hash tables whose order changes from run to run, so what they found is put in an order of its own.

BPE: Sennrich et al. 2016 (1508.07909), over bytes as in GPT-2. WordPiece: Schuster and Nakajima 2012, as BERT has it.
Unigram: Kudo 2018 (1804.10959).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, get_args

from msgspec import Struct
from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as Backend

from archcalc.errors import InputError
from archcalc.text.tokenizer import UNKNOWN as NAMES_OF_UNKNOWN
from archcalc.text.tokenizer import Subwords, Tokenizer, subwords
from archcalc.words import Message, msg, plural

Kind = Literal["bpe", "wordpiece", "unigram", "char", "word"]
KINDS: tuple[Kind, ...] = get_args(Kind)
UNKNOWN = "[UNK]"
CONTEXT = 12  # characters shown on both sides of the first difference


class Loss(Struct, frozen=True):
    """What a tokenizer does not give back of a text."""

    n_unknown: int  # characters that became [UNK]
    given: str  # the text around the first difference
    back: str  # what came back there

    @property
    def message(self) -> str | Message:
        """Return it in words."""
        changed = f"{self.given!r} → {self.back!r}"
        if not self.n_unknown:
            return changed
        return plural(
            "{n:,} character → {unknown}; {changed}",
            "{n:,} characters → {unknown}; {changed}",
            n=self.n_unknown,
            unknown=UNKNOWN,
            changed=changed,
        )

    def __str__(self) -> str:
        return str(self.message)


def read_text(path: str) -> str:
    """A text file, line ends as they are. InputError if it is empty or not UTF-8."""
    try:
        found = Path(path).read_bytes()
    except OSError as error:
        raise InputError(msg("cannot be read ({strerror})", strerror=error.strerror), file=path) from None
    try:
        text = found.decode()
    except UnicodeDecodeError as error:
        raise InputError(
            msg("is not UTF-8 (byte {start:,})", start=error.start), file=path, allowed=msg("a text in UTF-8")
        ) from None
    if not text.strip():
        raise InputError(msg("has no text"), file=path, allowed=msg("a text to train on"))
    return text


def train(kind: Kind, text: str, vocab_size: int, *, whole: bool = True, progress: bool = False) -> Subwords:
    """Return a tokenizer of `vocab_size` tokens that is trained on a text, [UNK] among them where it has one.

    `whole`: InputError if the text does not give as many; else what it gives. InputError always if the characters
    alone are more than `vocab_size` (of words and characters the most frequent are kept, so theirs is never too small).
    """
    backend = TRAINERS[kind](text, vocab_size, progress)
    found = backend.get_vocab_size()
    if found > vocab_size:
        problem = f"a vocabulary of {vocab_size:,} has no room for this text's characters ({kind})"
        raise InputError(problem, where="vocab_size", allowed=msg("{found:,} or more", found=found))
    if found < vocab_size and whole:
        problem = f"the text is too small for {vocab_size:,} tokens ({kind})"
        raise InputError(problem, where="vocab_size", allowed=msg("{found:,} or less, or a longer text", found=found))
    return subwords(backend, label=kind)


def as_json(tokenizer: Subwords) -> str:
    """The content of its tokenizer.json."""
    return tokenizer.backend.to_str(pretty=True) + "\n"


def loss(tokenizer: Tokenizer, text: str) -> Loss | None:
    """What `tokenizer` does not give back of `text`; None if it gives back all of it."""
    ids = tokenizer.encode(text, special=False)
    back = tokenizer.decode(ids, special=True)
    if back == text:
        return None
    first = next((i for i, (a, b) in enumerate(zip(text, back, strict=False)) if a != b), min(len(text), len(back)))
    around = slice(max(0, first - CONTEXT), first + CONTEXT)
    return Loss(_n_unknown(tokenizer, text), text[around], back[around])


def _n_unknown(tokenizer: Tokenizer, text: str) -> int:
    """Characters that stand under a token for what is unknown."""
    return sum(len(part) for one, part in tokenizer.splits(text) if tokenizer.piece(one) in NAMES_OF_UNKNOWN)


def _lines(text: str) -> Iterator[str]:
    yield from text.splitlines(keepends=True)


def _bpe(text: str, vocab_size: int, progress: bool) -> Backend:
    """256 bytes, then a token for each merge."""
    if vocab_size < 256:
        problem = f"a vocabulary of {vocab_size} has no room for 256 bytes (bpe)"
        raise InputError(problem, where="vocab_size", allowed=msg("256 or more"))
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, initial_alphabet=alphabet, show_progress=progress)
    backend.train_from_iterator(_lines(text), trainer)
    return backend


def _wordpiece(text: str, vocab_size: int, progress: bool) -> Backend:
    """[UNK], each character at a word's beginning and within, then a token for each merge.

    The characters are given to the trainer in an order of ours; its own is a hash table's.
    """
    splits = pre_tokenizers.BertPreTokenizer()
    words = {word for line in set(_lines(text)) for word, _ in splits.pre_tokenize_str(line)}
    characters = sorted({c for word in words for c in word})
    within = sorted({"##" + c for word in words for c in word[1:]})
    first = [UNKNOWN, *characters, *within]
    backend = Backend(models.WordPiece(unk_token=UNKNOWN))
    backend.pre_tokenizer = splits
    if len(first) <= vocab_size:
        trainer = trainers.WordPieceTrainer(vocab_size=vocab_size, special_tokens=first, show_progress=progress)
        backend.train_from_iterator(_lines(text), trainer)
        vocabulary = backend.get_vocab()
    else:
        vocabulary = {token: i for i, token in enumerate(first)}
    trained = Backend(models.WordPiece(vocabulary, unk_token=UNKNOWN, max_input_chars_per_word=100))
    trained.pre_tokenizer = splits
    trained.decoder = decoders.WordPiece(cleanup=False)
    return _with_unknown(trained)


def _unigram(text: str, vocab_size: int, progress: bool) -> Backend:
    """The likeliest pieces, by expectation maximisation, and every character.

    Characters that are no piece of their own get the least score, and steps of 0.0001 above it in a hash table's order:
    all of them get the least here. The rest differ in the last bits of their sums.
    """
    backend = Backend(models.Unigram())
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    least_size = 1 + len(set(text.replace(" ", "▁")) | {"▁"})
    if vocab_size < least_size:
        problem = f"a vocabulary of {vocab_size:,} has no room for this text's characters (unigram)"
        raise InputError(problem, where="vocab_size", allowed=msg("{least_size:,} or more", least_size=least_size))
    trainer = trainers.UnigramTrainer(
        vocab_size=vocab_size, special_tokens=[UNKNOWN], unk_token=UNKNOWN, show_progress=progress
    )
    try:
        backend.train_from_iterator(_lines(text), trainer)
    except Exception as error:  # the library raises bare Exceptions
        raise InputError(
            msg(
                "no vocabulary of {vocab_size:,} comes of this text ({error}) (unigram)",
                vocab_size=vocab_size,
                error=error,
            )
        ) from None
    pieces = {piece: score for piece, score in json.loads(backend.to_str())["model"]["vocab"] if piece != UNKNOWN}
    least = min(pieces.values())
    n_characters = sum(len(piece) == 1 for piece in pieces)
    settled = {
        piece: round(least if len(piece) == 1 and score <= least + 1e-4 * (n_characters + 1) else score, 6)
        for piece, score in pieces.items()
    }
    room = vocab_size - 1 - n_characters  # the trainer does not stop where the characters fill it exactly
    longer = sorted((piece for piece in settled if len(piece) > 1), key=lambda piece: (-settled[piece], piece))
    kept = settled.keys() - set(longer[room:])
    ordered = sorted(((piece, settled[piece]) for piece in kept), key=lambda one: (-one[1], one[0]))
    trained = Backend(models.Unigram([(UNKNOWN, 0.0), *ordered], 0, False))
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    trained.decoder = decoders.Metaspace()
    return _with_unknown(trained)


def _char(text: str, vocab_size: int, progress: bool) -> Backend:
    """[UNK] and the most frequent characters."""
    backend = _levels(text, vocab_size, progress, pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated"))
    backend.decoder = decoders.Fuse()
    return backend


def _word(text: str, vocab_size: int, progress: bool) -> Backend:
    """[UNK] and the most frequent words; of what lies between words nothing is kept."""
    return _levels(text, vocab_size, progress, pre_tokenizers.Whitespace())


def _levels(text: str, vocab_size: int, progress: bool, splits: pre_tokenizers.PreTokenizer) -> Backend:
    backend = Backend(models.WordLevel({UNKNOWN: 0}, unk_token=UNKNOWN))
    backend.pre_tokenizer = splits
    trainer = trainers.WordLevelTrainer(vocab_size=vocab_size, special_tokens=[UNKNOWN], show_progress=progress)
    backend.train_from_iterator(_lines(text), trainer)
    return backend


def _with_unknown(backend: Backend) -> Backend:
    backend.add_special_tokens([AddedToken(UNKNOWN, special=True, normalized=False)])
    return backend


TRAINERS: dict[Kind, Callable[[str, int, bool], Backend]] = {
    "bpe": _bpe,
    "wordpiece": _wordpiece,
    "unigram": _unigram,
    "char": _char,
    "word": _word,
}
