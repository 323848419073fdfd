"""Train a tokenizer on a text: byte-level BPE, WordPiece, Unigram, characters or words.

The same text and size give the same tokenizer, byte for byte. Two of the library's trainers walk hash tables whose
order changes from run to run, so their results are sorted here.

BPE: Sennrich et al. 2016 (1508.07909), over bytes as in GPT-2. WordPiece: Schuster and Nakajima 2012, as in BERT.
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
from archcalc.text.tokenizer import SubwordTokenizer, Tokenizer, make_subword_tokenizer
from archcalc.words import Message, msg, plural

TokenizerKind = Literal["bpe", "wordpiece", "unigram", "char", "word"]
KINDS: tuple[TokenizerKind, ...] = get_args(TokenizerKind)
UNKNOWN = "[UNK]"
CONTEXT = 12  # characters shown on both sides of the first difference


class RoundTripMismatch(Struct, frozen=True):
    """How a text differs after encoding and decoding."""

    n_unknown: int  # characters that became [UNK]
    given: str  # the text around the first difference
    back: str  # what came back there

    @property
    def message(self) -> str | Message:
        """Return the difference in words."""
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
    """Return a text file with its line endings. Raise InputError if it is empty or not UTF-8."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise InputError(msg("cannot be read ({strerror})", strerror=error.strerror), file=path) from None
    return decoded_text(content, path)


def decoded_text(content: bytes, path: str) -> str:
    """Return the text of a file's content. Raise InputError if it is empty or not UTF-8."""
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise InputError(
            msg("is not UTF-8 (byte {start:,})", start=error.start), file=path, allowed=msg("a text in UTF-8")
        ) from None
    if not text.strip():
        raise InputError(msg("has no text"), file=path, allowed=msg("a text to train on"))
    return text


def train(
    kind: TokenizerKind, text: str, vocab_size: int, *, whole: bool = True, progress: bool = False
) -> SubwordTokenizer:
    """Return a tokenizer of `vocab_size` tokens, including [UNK] if it has one.

    Raise InputError if the text gives fewer tokens, unless `whole` is false, and if its characters alone exceed
    `vocab_size` (word and character tokenizers keep the most frequent, so theirs never do).
    """
    backend = TRAINERS[kind](text, vocab_size, progress)
    n_tokens = backend.get_vocab_size()
    if n_tokens > vocab_size:
        problem = msg(
            "a vocabulary of {vocab_size:,} has no room for this text's characters ({kind})",
            vocab_size=vocab_size,
            kind=kind,
        )
        raise InputError(problem, where="vocab_size", allowed=msg("{found:,} or more", found=n_tokens))
    if n_tokens < vocab_size and whole:
        problem = msg("the text is too small for {vocab_size:,} tokens ({kind})", vocab_size=vocab_size, kind=kind)
        raise InputError(
            problem, where="vocab_size", allowed=msg("{found:,} or less, or a longer text", found=n_tokens)
        )
    return make_subword_tokenizer(backend, label=kind)


def as_json(tokenizer: SubwordTokenizer) -> str:
    """Return the content of its tokenizer.json."""
    return tokenizer.backend.to_str(pretty=True) + "\n"


def round_trip_mismatch(tokenizer: Tokenizer, text: str) -> RoundTripMismatch | None:
    """Return how `text` differs after encoding and decoding; None if it does not."""
    ids = tokenizer.encode(text, special=False)
    back = tokenizer.decode(ids, special=True)
    if back == text:
        return None
    first = next((i for i, (a, b) in enumerate(zip(text, back, strict=False)) if a != b), min(len(text), len(back)))
    around = slice(max(0, first - CONTEXT), first + CONTEXT)
    return RoundTripMismatch(_n_unknown(tokenizer, text), text[around], back[around])


def _n_unknown(tokenizer: Tokenizer, text: str) -> int:
    """Return the number of characters that became unknown tokens."""
    return sum(len(part) for one, part in tokenizer.splits(text) if tokenizer.piece(one) in NAMES_OF_UNKNOWN)


def _lines(text: str) -> Iterator[str]:
    yield from text.splitlines(keepends=True)


def _bpe(text: str, vocab_size: int, progress: bool) -> Backend:
    """Train on bytes: 256 of them, then one token per merge."""
    if vocab_size < 256:
        problem = msg("a vocabulary of {vocab_size} has no room for 256 bytes (bpe)", vocab_size=vocab_size)
        raise InputError(problem, where="vocab_size", allowed=msg("256 or more"))
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, initial_alphabet=alphabet, show_progress=progress)
    backend.train_from_iterator(_lines(text), trainer)
    return backend


def _wordpiece(text: str, vocab_size: int, progress: bool) -> Backend:
    """Train [UNK], each character at the start of and within words, then one token per merge.

    The trainer gets the characters in sorted order; its own order is that of a hash table.
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
    """Train the likeliest pieces by expectation maximization, with every character.

    The trainer gives characters that are not pieces the lowest score plus steps of 0.0001 in a hash table's order; here
    all of them get the lowest. Other scores are rounded, since they differ in the last bits of their sums.
    """
    backend = Backend(models.Unigram())
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    least_size = 1 + len(set(text.replace(" ", "▁")) | {"▁"})
    if vocab_size < least_size:
        problem = msg(
            "a vocabulary of {vocab_size:,} has no room for this text's characters ({kind})",
            vocab_size=vocab_size,
            kind="unigram",
        )
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
    scores = {
        piece: round(least if len(piece) == 1 and score <= least + 1e-4 * (n_characters + 1) else score, 6)
        for piece, score in pieces.items()
    }
    n_longer = vocab_size - 1 - n_characters  # the trainer does not stop if the characters fill it exactly
    longer = sorted((piece for piece in scores if len(piece) > 1), key=lambda piece: (-scores[piece], piece))
    vocabulary = scores.keys() - set(longer[n_longer:])
    ordered = sorted(((piece, scores[piece]) for piece in vocabulary), key=lambda one: (-one[1], one[0]))
    trained = Backend(models.Unigram([(UNKNOWN, 0.0), *ordered], 0, False))
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    trained.decoder = decoders.Metaspace()
    return _with_unknown(trained)


def _char(text: str, vocab_size: int, progress: bool) -> Backend:
    """Keep [UNK] and the most frequent characters."""
    backend = _word_level(text, vocab_size, progress, pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated"))
    backend.decoder = decoders.Fuse()
    return backend


def _word(text: str, vocab_size: int, progress: bool) -> Backend:
    """Keep [UNK] and the most frequent words, nothing between words."""
    return _word_level(text, vocab_size, progress, pre_tokenizers.Whitespace())


def _word_level(text: str, vocab_size: int, progress: bool, splits: pre_tokenizers.PreTokenizer) -> Backend:
    backend = Backend(models.WordLevel({UNKNOWN: 0}, unk_token=UNKNOWN))
    backend.pre_tokenizer = splits
    trainer = trainers.WordLevelTrainer(vocab_size=vocab_size, special_tokens=[UNKNOWN], show_progress=progress)
    backend.train_from_iterator(_lines(text), trainer)
    return backend


def _with_unknown(backend: Backend) -> Backend:
    backend.add_special_tokens([AddedToken(UNKNOWN, special=True, normalized=False)])
    return backend


TRAINERS: dict[TokenizerKind, Callable[[str, int, bool], Backend]] = {
    "bpe": _bpe,
    "wordpiece": _wordpiece,
    "unigram": _unigram,
    "char": _char,
    "word": _word,
}
