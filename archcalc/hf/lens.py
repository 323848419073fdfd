"""Two-way readings: a template is a spec's document with lenses where a config's values go.

`read` fills a template from a config; `write` matches a document against the template and collects the config.
A mapping in a template speaks of the fields it names alone: what it leaves out must stand at its default, which the
adapter makes sure of by reading back what was written.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, final

import msgspec

from archcalc.errors import nearest
from archcalc.hf.config import Config, ValueType, equal

Template = Any


class MismatchError(Exception):
    """A document that a template cannot express."""


class ConfigDraft(dict[str, Any]):
    """A config being written."""

    def put(self, name: str, value: Any) -> None:
        """Set a key; MismatchError if two places of the document want different values of it."""
        if name in self and self[name] != value:
            raise MismatchError(name)
        self[name] = value


class Lens:
    """A place in a template that one or more of a config's keys decide."""

    def names(self) -> Iterator[str]:
        """Every key it may read, in all spellings."""
        raise NotImplementedError

    def read(self, config: Config) -> Any:
        """What stands at this place in the document of `config`."""
        raise NotImplementedError

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put into `draft` the keys that make `read` give `value`. Raises MismatchError where none do."""
        raise NotImplementedError


def names(template: Template) -> Iterator[str]:
    """Every key that a template may read."""
    if isinstance(template, Lens):
        yield from template.names()
    elif isinstance(template, Mapping):
        for item in template.values():
            yield from names(item)
    elif isinstance(template, tuple):
        for item in template:
            yield from names(item)


def read(template: Template, config: Config) -> Any:
    """The document that a template makes of a config."""
    if isinstance(template, Lens):
        return template.read(config)
    if isinstance(template, Mapping):
        return {name: read(item, config) for name, item in template.items()}
    if isinstance(template, tuple):
        return [read(item, config) for item in template]
    return template


def write(template: Template, value: Any, draft: ConfigDraft) -> None:
    """Collect in `draft` the keys that make a template give `value`. Raises MismatchError where none do."""
    if isinstance(template, Lens):
        template.write(value, draft)
    elif isinstance(template, Mapping):
        if not isinstance(value, Mapping):
            raise MismatchError
        for name, item in template.items():
            write(item, value.get(name), draft)
    elif isinstance(template, tuple):
        if not isinstance(value, list | tuple) or len(value) != len(template):
            raise MismatchError
        for item, part in zip(template, value, strict=True):
            write(item, part, draft)
    elif template != value:
        raise MismatchError


class _Sentinel:
    """A value that no config holds."""


REQUIRED: Final = _Sentinel()
REFUSED: Final = _Sentinel()


@final
class Key(Lens, msgspec.Struct, frozen=True):
    """The value of one key.

    `default` is what the key means where it is absent, `null` where it is null: a value, or a function of the config.
    Without `null`, null is refused. `others` are further spellings.
    """

    name: str
    kind: ValueType
    default: Any = REQUIRED
    null: Any = REFUSED
    aliases: tuple[str, ...] = ()

    def names(self) -> Iterator[str]:
        """Its spellings."""
        yield from (self.name, *self.aliases)

    def read(self, config: Config) -> Any:
        """The key's value, its type checked."""
        name = config.find((self.name, *self.aliases))
        value = config.data[name] if name else None
        instead = self.null if name else self.default
        if value is not None or instead is REFUSED:
            return config.get(name or self.name, self.kind)
        if instead is REQUIRED:
            raise config.error(self.name, None, self.kind.words)
        return instead(config) if callable(instead) else instead

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """The key itself."""
        if value is None and self.null is REFUSED:
            raise MismatchError(self.name)
        draft.put(self.name, value)


@final
class Conversion(Lens, msgspec.Struct, frozen=True):
    """A value computed from one key's, and back."""

    key: Lens
    there: Callable[[Any], Any]
    back: Callable[[Any], Any]

    def names(self) -> Iterator[str]:
        """The key's."""
        yield from self.key.names()

    def read(self, config: Config) -> Any:
        """There; null stays null."""
        value = self.key.read(config)
        return None if value is None else self.there(value)

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Back."""
        self.key.write(None if value is None else self.back(value), draft)


@final
class Choice(Lens, msgspec.Struct, frozen=True):
    """One of a config's words, in ours; where several mean the same, the first is written."""

    key: Key
    meanings: Mapping[Any, Any]

    def names(self) -> Iterator[str]:
        """The key's."""
        yield from self.key.names()

    def read(self, config: Config) -> Any:
        """What the word means. Raises InputError for a word that is none of these."""
        word = self.key.read(config)
        if word not in self.meanings:
            words = [str(known).lower() if isinstance(known, bool) else known for known in self.meanings]
            raise config.error(self.key.name, word, ", ".join(words), nearest(word, words))
        return self.meanings[word]

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """The first word with this meaning."""
        word = next((word for word, meaning in self.meanings.items() if meaning == value), None)
        if word is None:
            raise MismatchError(self.key.name)
        draft.put(self.key.name, word)


@final
class ImpliedValue(Lens, msgspec.Struct, frozen=True):
    """What follows from the rest of the config: a value, or a function of it.

    Nothing is written for it, and any value is let pass: reading back shows whether it followed.
    """

    value: Any

    def names(self) -> Iterator[str]:
        """None of its own: its function reads keys that stand elsewhere in the template."""
        yield from ()

    def read(self, config: Config) -> Any:
        """The value, or the function's."""
        return self.value(config) if callable(self.value) else self.value

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Nothing."""


@final
class Cases(Lens, msgspec.Struct, frozen=True):
    """A template for each value that another lens may give."""

    on: Lens
    cases: Mapping[Any, Template]

    def names(self) -> Iterator[str]:
        """Those of the deciding lens and of every case."""
        yield from self.on.names()
        for template in self.cases.values():
            yield from names(template)

    def read(self, config: Config) -> Any:
        """The deciding value's template, filled."""
        return read(self.cases[self.on.read(config)], config)

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """The first case that can express the value."""
        for decided, template in self.cases.items():
            attempt = ConfigDraft(draft)
            try:
                self.on.write(decided, attempt)
                write(template, value, attempt)
            except MismatchError:
                continue
            draft.update(attempt)
            return
        raise MismatchError


@final
class NullCases(Lens, msgspec.Struct, frozen=True):
    """`null` where a key is null, or has another value that says as much (`empty`); else `other`."""

    key: Key
    null: Template
    other: Template
    empty: Any = None

    def names(self) -> Iterator[str]:
        """The key's, and those of both."""
        yield from self.key.names()
        yield from names(self.null)
        yield from names(self.other)

    def read(self, config: Config) -> Any:
        """The one that the key chooses."""
        return read(self.null if self.key.read(config) == self.empty else self.other, config)

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """`other` if that can say it, else `null` and the key."""
        attempt = ConfigDraft(draft)
        try:
            write(self.other, value, attempt)
        except MismatchError:
            attempt = ConfigDraft(draft)
            attempt.put(self.key.name, self.empty)
            write(self.null, value, attempt)
        draft.update(attempt)


@final
class RedundantKey(Lens, msgspec.Struct, frozen=True):
    """A key whose value must be what follows from the others: `to` computes that."""

    key: Key
    to: Callable[[Config], Any]

    def names(self) -> Iterator[str]:
        """The key's."""
        yield from self.key.names()

    def read(self, config: Config) -> Any:
        """The key's value. Raises InputError where it is another."""
        value, expected = self.key.read(config), self.to(config)
        if value != expected:
            raise config.error(self.key.name, value, str(expected))
        return value

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """The key's."""
        self.key.write(value, draft)


@final
class ScaledKey(Lens, msgspec.Struct, frozen=True):
    """A key's number times what follows from the rest of the config."""

    key: Key
    factor: Callable[[Config], float]

    def names(self) -> Iterator[str]:
        """The key's."""
        yield from self.key.names()

    def read(self, config: Config) -> Any:
        """The product."""
        return self.key.read(config) * self.factor(config)

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """The quotient, by the keys that are written so far."""
        if value is None:
            raise MismatchError(self.key.name)
        number = value / self.factor(Config(draft))
        whole = round(number)
        self.key.write(whole if math.isclose(number, whole, rel_tol=1e-12) else number, draft)


@final
class DuplicateKey(Lens, msgspec.Struct, frozen=True):
    """A key whose value is written under a second name too, whose own default may not fit."""

    key: Key
    second: str

    def names(self) -> Iterator[str]:
        """Both."""
        yield from (*self.key.names(), self.second)

    def read(self, config: Config) -> Any:
        """The key's value, whatever stands under the second name."""
        return self.key.read(config)

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Both."""
        self.key.write(value, draft)
        draft.put(self.second, value)


class Constraint(msgspec.Struct, frozen=True):
    """A key that transformers has a choice of, but of which only some values are ours: anything else is an error."""

    name: str
    allowed: tuple[Any, ...]

    def check(self, config: Config) -> None:
        """Raise InputError if the key is present with another value."""
        if self.name not in config.data:
            return
        value = config.data[self.name]
        choices = [item.read(config) if isinstance(item, Lens) else item for item in self.allowed]
        if not any(equal(value, choice) for choice in choices):
            raise config.error(self.name, value, " or ".join(dict.fromkeys(map(_word, choices))))


def _word(value: Any) -> str:
    """Return a value as a config writes it."""
    if isinstance(value, str | list | dict):
        return value if isinstance(value, str) else json.dumps(value)
    return "null" if value is None else str(value).lower()
