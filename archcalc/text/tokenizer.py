"""Text to token ids and back: what a tokenizer is, subwords, and plain bytes."""

from __future__ import annotations

import codecs
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, final

from tokenizers import Tokenizer as Backend

from archcalc.errors import InputError, shown
from archcalc.words import msg

UNFINISHED = "�"  # what a decoder puts where bytes are no character, or not yet
UNKNOWN = ("[UNK]", "<unk>")  # what vocabularies call the token for all that they have not


class Stream(ABC):
    """Decoding as ids arrive: a call gives the text that its id completes, '' while a character is unfinished."""

    @abstractmethod
    def __call__(self, token_id: int) -> str:
        """The text that is settled by this id, and was not told before."""

    @abstractmethod
    def rest(self) -> str:
        """What is held back at the end: the broken character that no further id will finish, mostly ''."""


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
        """The ids of a text. `special`: with what the tokenizer puts around one (BOS, [CLS] …).

        A special token written out in the text is that token, either way. InputError if the text is not Unicode.
        """

    @abstractmethod
    def decode(self, ids: Sequence[int], *, special: bool = False) -> str:
        """The text of some ids; `special`: special tokens written out, else left away."""

    @abstractmethod
    def piece(self, token_id: int) -> str:
        """What the vocabulary itself calls an id; '' for one that it has not."""

    @abstractmethod
    def splits(self, text: str) -> list[tuple[int, str]]:
        """Each id of a text, with the part of the text that it stands for."""

    @abstractmethod
    def stream(self) -> Stream:
        """Decoding id by id; special tokens are left away. The texts of a stream joined are `decode` of all its ids."""


@final
@dataclass(frozen=True, kw_only=True)
class Subwords(Tokenizer):
    """A tokenizer of the `tokenizers` library."""

    backend: Backend
    skipped: frozenset[int] = field(default=frozenset())

    def encode(self, text: str, *, special: bool = True) -> list[int]:
        """As Hugging Face's own: `transformers` gives the same ids.

        Raises InputError for a text that its vocabulary has no tokens for.
        """
        return list(self._encoded(text, special=special).ids)

    def decode(self, ids: Sequence[int], *, special: bool = False) -> str:
        """Ids beyond the vocabulary (a padded table has such) stand for nothing."""
        return str(self.backend.decode(list(ids), skip_special_tokens=not special))

    def piece(self, token_id: int) -> str:
        """The entry of the vocabulary: 'Ġthe', '▁the', '##ing', '<0x0A>'."""
        return self.backend.id_to_token(token_id) or ""

    def splits(self, text: str) -> list[tuple[int, str]]:
        """Ids that share a character are shown by the vocabulary's own names, what is unknown as it stands."""
        found = self._encoded(text, special=False)
        starts = [start for start, _ in found.offsets[1:]] + [len(text)]
        ends = [0] + [end for _, end in found.offsets[:-1]]
        parts = []
        for one, (start, end), before, after in zip(found.ids, found.offsets, ends, starts, strict=False):
            piece = self.piece(one)
            is_apart = before <= start < end <= after
            parts.append((one, text[start:end] if is_apart or piece in UNKNOWN else piece))
        return parts

    def _encoded(self, text: str, *, special: bool) -> Any:
        try:
            return self.backend.encode(unicode(text), add_special_tokens=special)
        except InputError:
            raise
        except Exception as error:  # the library raises nothing more special
            problem = f"{shown(text)} has no tokens in the vocabulary ({error})"
            raise InputError(problem, where="text", allowed=msg("a text of its tokens")) from None

    def stream(self) -> Stream:
        """Exact for every sequence of ids that a text encodes to; see `Window` for the others."""
        return Window(self.decode, self.skipped)


@final
class Window(Stream):
    """Decodes the last few ids twice, without and with the new one; what differs is new.

    A decoder may take the first id's leading space away, so a window begins with ids that are told already. Ids that
    decode to nothing (special tokens) never enter it, or the space after them would be taken for the first one.
    A text that ends in U+FFFD is held back until it is clear that no id finishes the character. Of ids that no text
    encodes to, a decoder with byte fallback may turn a good character into U+FFFD after the fact; what was told stays.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], skipped: frozenset[int]) -> None:
        self._decode, self._skipped = decode, skipped
        self._told: list[int] = []
        self._held: list[int] = []

    def __call__(self, token_id: int) -> str:
        """The text that is new, '' while it is unfinished."""
        if token_id in self._skipped:
            return ""
        self._held.append(token_id)
        before, after = self._decode(self._told), self._decode(self._told + self._held)
        if after.endswith(UNFINISHED) or len(after) <= len(before):
            return ""
        self._told, self._held = self._held, []
        return after[len(before) :]

    def rest(self) -> str:
        """The end of the text, broken as it is."""
        before, after = self._decode(self._told), self._decode(self._told + self._held)
        self._told, self._held = self._held, []
        return after[len(before) :]


@final
@dataclass(frozen=True, kw_only=True)
class Bytes(Tokenizer):
    """UTF-8 bytes for ids: a stand-in where a model has weights but no tokenizer. Ids above 255 show as U+FFFD.

    >>> Bytes(n_vocab=50257).encode("é")
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
        """One id a byte; there are no special tokens."""
        return list(unicode(text).encode())

    def decode(self, ids: Sequence[int], *, special: bool = False) -> str:
        """What the bytes say, U+FFFD where they are no UTF-8."""
        stream = self.stream()
        return "".join(map(stream, ids)) + stream.rest()

    def piece(self, token_id: int) -> str:
        """'<0x41>' for 65."""
        return f"<0x{token_id:02X}>" if token_id < 256 else ""

    def splits(self, text: str) -> list[tuple[int, str]]:
        """Bytes of a longer character by their names."""
        return [(one, chr(one) if one < 128 else self.piece(one)) for one in self.encode(text)]

    def stream(self) -> Stream:
        """Exact for every sequence of ids."""
        return ByteStream()


@final
class ByteStream(Stream):
    """UTF-8 decoded byte by byte."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def __call__(self, token_id: int) -> str:
        """The character that this byte ends, if it does."""
        if token_id > 255:
            return self.rest() + UNFINISHED
        return self._decoder.decode(bytes([token_id]))

    def rest(self) -> str:
        """U+FFFD if a character was cut off."""
        return self._decoder.decode(b"", final=True)


def unicode(text: str) -> str:
    """The text, if it can be written in UTF-8. InputError for half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            msg("the text is no Unicode: U+{ord:04X} stands alone", ord=ord(text[error.start])), allowed=msg("UTF-8")
        ) from None
    return text


def subwords(backend: Backend, *, label: str, eos_ids: Iterable[int] = (), **facts: Any) -> Subwords:
    """A tokenizer over a `tokenizers` one, which must neither cut nor pad what it is given."""
    backend.no_truncation()
    backend.no_padding()
    skipped = frozenset(i for i, token in backend.get_added_tokens_decoder().items() if token.special)
    n_vocab = 1 + max(backend.get_vocab(with_added_tokens=True).values(), default=-1)
    return Subwords(
        backend=backend, label=label, n_vocab=n_vocab, eos_ids=tuple(dict.fromkeys(eos_ids)), skipped=skipped, **facts
    )
