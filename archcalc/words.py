"""Messages: sentences with values, translated when they are printed. Plain text is data and is never translated.

Bytes are printed in the units that the reader prefers.

The English text of a message is its key in the catalogs (archcalc/locale/LANG/LC_MESSAGES/archcalc.po).
`python -m tests.catalogs` extracts the messages of the package into them and compiles them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, Final, TypeVar

import msgspec

from archcalc.units import BYTE_UNITS, ByteUnits, bytes_text

LANGS: Final = ("en", "zh")
# The environment variable that says which of them to speak.
VARIABLE: Final = "ARCHCALC_LANG"
# The one that says in which units to print bytes, one of `BYTE_UNITS`.
BYTES_VARIABLE: Final = "ARCHCALC_BYTES"
DOMAIN: Final = "archcalc"
LOCALE: Final = os.path.join(os.path.dirname(__file__), "locale")  # pathlib takes long to import

T = TypeVar("T")
_IN_BACKTICKS = re.compile(r"`(\w+)`")
# Around the text of a message within another: two private characters, which are gone before anyone reads it.
_BEGIN, _END = "\ue000", "\ue001"
# Chinese characters and full-width marks, for a class of a regular expression.
CHINESE: Final = "\u3000-\u303f\u4e00-\u9fff\uff00-\uffef"
# Between such a text and its neighbor, Chinese has no space. Compiled when first used, as English needs none of it.
_NEEDLESS_SPACE = f"(?<=[{CHINESE}]){_END} {_BEGIN}?(?=[{CHINESE}])|(?<=[{CHINESE}]) {_BEGIN}(?=[{CHINESE}])"


class Message(msgspec.Struct, frozen=True):
    """A sentence in English and the values of its places, which may be messages themselves.

    `plural` is the sentence for a value `n` other than 1. `context` tells apart messages of one text.

    >>> str(msg("{n:,} tokens", n=2048))
    '2,048 tokens'
    """

    text: str
    values: Mapping[str, Any] = {}
    plural: str = ""
    context: str = ""

    def __str__(self) -> str:
        return ENGLISH(self)

    def __hash__(self) -> int:
        return hash((self.text, self.plural, self.context))  # values may have no hash

    def fill(self, **values: Any) -> Message:
        """Return the message with these values."""
        return msgspec.structs.replace(self, values={**self.values, **values})


class Bytes(msgspec.Struct, frozen=True):
    """A number of bytes, printed rounded.

    >>> str(Bytes(349208518656))
    '349.2 GB (325.2 GiB)'
    """

    count: int

    def __str__(self) -> str:
        return ENGLISH(self)


# What a translator turns into text.
Said = str | Message | Bytes


def msg(text: str, /, **values: Any) -> Message:
    """Return the message of an English text, its places in braces filled with `values`."""
    return Message(text, values)


def plural(one: str, many: str, /, **values: Any) -> Message:
    """Return a message that is `one` where the value `n` is 1, else `many`."""
    return Message(one, values, plural=many)


def in_context(context: str, text: str, /, **values: Any) -> Message:
    """Return a message whose text other places use with another meaning."""
    return Message(text, values, context=context)


def joined(separator: str | Message, parts: Iterable[str | Message | Exception]) -> Message:
    """Return the parts one after another, each in the language of the reader.

    >>> str(joined(" · ", ["gpt2", msg("{n:,} tokens", n=5)]))
    'gpt2 · 5 tokens'
    """
    values: dict[str, Any] = {}
    for i, part in enumerate(parts):
        values |= ({f"separator_{i}": separator} if i else {}) | {f"part_{i}": part}
    return Message("".join(f"{{{name}}}" for name in values), values)


class Translator(msgspec.Struct, frozen=True):
    """One language: called with a message it returns the sentence, and any other text as it is.

    `names` are what the parameters are called that sentences have in backticks, such as the options that set them.
    `byte_units` are those of `Bytes`.

    >>> translator("zh")(msg("{n:,} tokens", n=96))
    '96 个词元'
    """

    lang: str
    names: Mapping[str, str] = {}
    byte_units: ByteUnits = "both"

    def __call__(self, said: Said) -> str:
        """Return the text of a message in this language, or of bytes in these units."""
        if isinstance(said, Bytes):
            return bytes_text(said.count, self.byte_units)
        if not isinstance(said, Message):
            return said
        values = {name: self._text_of(value) for name, value in said.values.items()}
        sentence = self._named(_sentence(said, self.lang))
        return sentence.format(**values) if self.lang == LANGS[0] else _without_marks(sentence.format(**values))

    def _named(self, sentence: str) -> str:
        return _IN_BACKTICKS.sub(lambda found: self.names.get(found[1], found[0]), sentence) if self.names else sentence

    def _text_of(self, value: Any) -> Any:
        """Return a value that is a message, or an error that has one, as text."""
        if isinstance(value, Bytes):
            return self(value)
        if isinstance(value, Message):
            return self(value) if self.lang == LANGS[0] else f"{_BEGIN}{self(value)}{_END}"
        text = getattr(value, "text", None)
        return text(self) if isinstance(value, Exception) and text else value

    def within(self, value: T) -> T:
        """Return a structure, such as a page or a chart, with every message in it as text."""
        return _replaced(value, self)  # type: ignore[no-any-return]


def _without_marks(text: str) -> str:
    """Return a text without the marks around its messages, and without the spaces beside them between Chinese."""
    return re.sub(_NEEDLESS_SPACE, "", text).replace(_BEGIN, "").replace(_END, "")


def _sentence(said: Message, lang: str) -> str:
    if lang == "en" or not said.text:  # of nothing, gettext knows the head of the catalog
        return said.plural if said.plural and said.values["n"] != 1 else said.text
    catalog = _catalog(lang)
    if said.plural:
        return str(catalog.ngettext(said.text, said.plural, said.values["n"]))
    return str(catalog.pgettext(said.context, said.text) if said.context else catalog.gettext(said.text))


@cache
def _catalog(lang: str) -> Any:
    import gettext

    return gettext.translation(DOMAIN, LOCALE, [lang])


def _replaced(value: Any, say: Callable[[Said], str]) -> Any:
    if isinstance(value, Message | Bytes):
        return say(value)
    if isinstance(value, msgspec.Struct):
        fields = {field: getattr(value, field) for field in value.__struct_fields__}
        changed = {field: new for field, old in fields.items() if (new := _replaced(old, say)) is not old}
        return msgspec.structs.replace(value, **changed) if changed else value
    if isinstance(value, dict):
        return {_replaced(key, say): _replaced(inner, say) for key, inner in value.items()}
    if isinstance(value, list):
        return [_replaced(inner, say) for inner in value]
    if type(value) is tuple:
        return tuple(_replaced(inner, say) for inner in value)
    return value


def preferred_lang() -> str:
    """Return the language that the environment asks for, English if it asks for none of `LANGS`."""
    stated = os.environ.get(VARIABLE, "")
    return stated if stated in LANGS else LANGS[0]


def preferred_byte_units() -> ByteUnits:
    """Return the units of bytes that the environment asks for, both if it asks for none of `BYTE_UNITS`."""
    stated = os.environ.get(BYTES_VARIABLE, "")
    return next((units for units in BYTE_UNITS if units == stated), "both")


def translator(lang: str, byte_units: ByteUnits = "both") -> Translator:
    """Return the translator of one of `LANGS`, which prints bytes in these units."""
    assert lang in LANGS, lang
    return Translator(lang, byte_units=byte_units)


ENGLISH: Final = Translator("en")
