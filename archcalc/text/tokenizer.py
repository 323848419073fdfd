"""Tokenizers: the interface, subwords of the `tokenizers` library, and plain bytes."""

from __future__ import annotations

import codecs
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, final

from tokenizers import Tokenizer as Backend

from archcalc.errors import InputError, shown
from archcalc.text.panics import PanicError, caught
from archcalc.words import msg

REPLACEMENT = "�"  # what a decoder writes for bytes that are not, or not yet, a character
UNKNOWN = ("[UNK]", "<unk>")  # names of the unknown token


class Stream(ABC):
    """Decodes ids as they arrive: a call returns the text that its id completes, '' while a character is incomplete."""

    @abstractmethod
    def __call__(self, token_id: int) -> str:
        """Return the text that this id completes and that was not returned before."""

    @abstractmethod
    def rest(self) -> str:
        """Return what remains at the end: an incomplete character, usually ''."""


@dataclass(frozen=True, kw_only=True)
class Tokenizer(ABC):
    """Text to ids and back. `n_vocab` counts every id, added tokens too; a model's table may be padded beyond it."""

    label: str
    n_vocab: int
    bos_id: int | None = None
    eos_ids: tuple[int, ...] = ()
    pad_id: int | None = None
    mask_id: int | None = None
    chat_template: str | None = None

    @abstractmethod
    def encode(self, text: str, *, special: bool = True) -> list[int]:
        """Return the ids of a text; `special` adds the tokens around it (BOS, [CLS] …).

        A special token written out in the text becomes that token in either case. InputError if the text is not
        Unicode.
        """

    @abstractmethod
    def decode(self, ids: Sequence[int], *, special: bool = False) -> str:
        """Return the text of some ids, with or without special tokens."""

    @abstractmethod
    def piece(self, token_id: int) -> str:
        """Return an id's entry in the vocabulary, '' if it has none."""

    @abstractmethod
    def splits(self, text: str) -> list[tuple[int, str]]:
        """Return each id of a text with the part of the text that it stands for."""

    @abstractmethod
    def stream(self) -> Stream:
        """Return a decoder of ids as they arrive, without special tokens; joined, its texts equal `decode`."""


@final
@dataclass(frozen=True, kw_only=True)
class SubwordTokenizer(Tokenizer):
    """A tokenizer of the `tokenizers` library."""

    backend: Backend
    special_ids: frozenset[int] = field(default=frozenset())

    def encode(self, text: str, *, special: bool = True) -> list[int]:
        """Return the same ids as transformers.

        Raise InputError for a text that the vocabulary has no tokens for.
        """
        return list(self._encode(text, special=special).ids)

    def decode(self, ids: Sequence[int], *, special: bool = False) -> str:
        """Return the text; ids outside the vocabulary (of a padded table) are left out."""
        try:
            with caught():
                return str(self.backend.decode(list(ids), skip_special_tokens=not special))
        except PanicError as error:
            raise InputError(msg("its tokenizer fails to decode ids ({error})", error=error)) from None

    def piece(self, token_id: int) -> str:
        """Return the vocabulary entry: 'Ġthe', '▁the', '##ing', '<0x0A>'."""
        return self.backend.id_to_token(token_id) or ""

    def splits(self, text: str) -> list[tuple[int, str]]:
        """Return ids with their text; ids that share a character have their vocabulary entries instead."""
        encoding = self._encode(text, special=False)
        starts = [start for start, _ in encoding.offsets[1:]] + [len(text)]
        ends = [0] + [end for _, end in encoding.offsets[:-1]]
        parts = []
        for token_id, (start, end), before, after in zip(encoding.ids, encoding.offsets, ends, starts, strict=False):
            piece = self.piece(token_id)
            is_separate = before <= start < end <= after
            parts.append((token_id, text[start:end] if is_separate or piece in UNKNOWN else piece))
        return parts

    def _encode(self, text: str, *, special: bool) -> Any:
        try:
            with caught():
                return self.backend.encode(check_unicode(text), add_special_tokens=special)
        except InputError:
            raise
        except PanicError as error:
            raise InputError(
                msg("its tokenizer fails to encode {text} ({error})", text=shown(text), error=error)
            ) from None
        except Exception as error:  # the library raises bare Exceptions
            problem = msg("{text} has no tokens in the vocabulary ({error})", text=shown(text), error=error)
            raise InputError(problem, where="text", allowed=msg("a text of its tokens")) from None

    def stream(self) -> Stream:
        """Return a stream; it is exact for ids that a text encodes to (see `SubwordStream` for others)."""
        return SubwordStream(self.decode, self.special_ids)


@final
class SubwordStream(Stream):
    """Decodes the last few ids with and without the new one; the difference is the new text.

    A decoder may strip the first id's leading space, so the context begins with ids whose text was already returned.
    Ids that decode to nothing (special tokens) stay out of it, or the space after them would count as the first. A text
    that ends in U+FFFD is withheld until it is clear that no id completes the character. For ids that no text encodes
    to, a decoder with byte fallback may later turn a complete character into U+FFFD; text that was returned stays.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], special_ids: frozenset[int]) -> None:
        self._decode, self._special_ids = decode, special_ids
        self._context: list[int] = []
        self._pending: list[int] = []

    def __call__(self, token_id: int) -> str:
        """Return the new text, '' while it is incomplete."""
        if token_id in self._special_ids:
            return ""
        self._pending.append(token_id)
        before, after = self._decode(self._context), self._decode(self._context + self._pending)
        if after.endswith(REPLACEMENT) or len(after) <= len(before):
            return ""
        self._context, self._pending = self._pending, []
        return after[len(before) :]

    def rest(self) -> str:
        """Return the end of the text, incomplete as it may be."""
        before, after = self._decode(self._context), self._decode(self._context + self._pending)
        self._context, self._pending = self._pending, []
        return after[len(before) :]


@final
@dataclass(frozen=True, kw_only=True)
class ByteTokenizer(Tokenizer):
    """UTF-8 bytes as ids, for models without a tokenizer. Ids above 255 decode to U+FFFD.

    >>> ByteTokenizer(n_vocab=50257).encode("é")
    [195, 169]
    """

    label: str = "UTF-8 bytes (a stand-in: this model has no tokenizer)"

    def __post_init__(self) -> None:
        if self.n_vocab < 256:
            raise InputError(
                msg("a vocabulary of {n_vocab} has no room for bytes", n_vocab=self.n_vocab),
                allowed=msg("256 or more, or token ids by `ids`"),
            )

    def encode(self, text: str, *, special: bool = True) -> list[int]:
        """Return one id per byte; there are no special tokens."""
        return list(check_unicode(text).encode())

    def decode(self, ids: Sequence[int], *, special: bool = False) -> str:
        """Return the text of the bytes, with U+FFFD where they are not UTF-8."""
        stream = self.stream()
        return "".join(map(stream, ids)) + stream.rest()

    def piece(self, token_id: int) -> str:
        """Return '<0x41>' for 65."""
        return f"<0x{token_id:02X}>" if token_id < 256 else ""

    def splits(self, text: str) -> list[tuple[int, str]]:
        """Return each byte; those of a multi-byte character by name."""
        return [(byte, chr(byte) if byte < 128 else self.piece(byte)) for byte in self.encode(text)]

    def stream(self) -> Stream:
        """Return a stream that is exact for every sequence of ids."""
        return ByteStream()


@final
class ByteStream(Stream):
    """Decodes UTF-8 byte by byte."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def __call__(self, token_id: int) -> str:
        """Return the character that this byte completes, if any."""
        if token_id > 255:
            return self.rest() + REPLACEMENT
        return self._decoder.decode(bytes([token_id]))

    def rest(self) -> str:
        """Return U+FFFD if a character is incomplete."""
        return self._decoder.decode(b"", final=True)


def check_unicode(text: str) -> str:
    """Return the text if UTF-8 can encode it. Raise InputError for half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            msg("the text is no Unicode: U+{ord:04X} stands alone", ord=ord(text[error.start])), allowed=msg("UTF-8")
        ) from None
    return text


def make_subword_tokenizer(
    backend: Backend, *, label: str, eos_ids: Iterable[int] = (), **attributes: Any
) -> SubwordTokenizer:
    """Return a tokenizer over a `tokenizers` one, with truncation and padding switched off."""
    backend.no_truncation()
    backend.no_padding()
    special_ids = frozenset(i for i, token in backend.get_added_tokens_decoder().items() if token.special)
    n_vocab = 1 + max(backend.get_vocab(with_added_tokens=True).values(), default=-1)
    return SubwordTokenizer(
        backend=backend,
        label=label,
        n_vocab=n_vocab,
        eos_ids=tuple(dict.fromkeys(eos_ids)),
        special_ids=special_ids,
        **attributes,
    )
