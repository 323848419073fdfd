"""Templates that are read and written: a spec's document with lenses where a config's values go.

`read` fills a template from a config; `write` matches a document with the template and collects the config's keys. A
mapping in a template covers only the fields that it names: the others must have their defaults, which the caller checks
by reading the written config back.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, final

import msgspec

from archcalc.errors import nearest
from archcalc.hf.config import Config, ValueType, equal

Template = Any


class MismatchError(Exception):
    """A template cannot express this document; `paths` are the fields in it, as far as they are known."""

    paths: tuple[tuple[str, ...], ...] = ((),)

    @classmethod
    def of(cls, paths: Iterable[tuple[str, ...]]) -> MismatchError:
        """Return the error for these fields."""
        error = cls()
        error.paths = tuple(paths)
        return error


class ConfigDraft(dict[str, Any]):
    """A config that is being written. `finds_all`: go on after a field that does not fit, to find the others."""

    finds_all: bool = False

    def put(self, name: str, value: Any) -> None:
        """Set a key, to a list where a spec has a tuple. Raises MismatchError if it already has another value."""
        value = list(value) if isinstance(value, tuple) else value
        if name in self and self[name] != value:
            raise MismatchError(name)
        self[name] = value


class ConfigLens:
    """A place in a template whose value depends on one or more of a config's keys."""

    def names(self) -> Iterator[str]:
        """Yield every key that this lens may read, in all spellings."""
        raise NotImplementedError

    def read(self, config: Config) -> Any:
        """Return the value at this place in the document of `config`."""
        raise NotImplementedError

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the keys from which `read` returns `value` into `draft`. Raises MismatchError if there are none."""
        raise NotImplementedError


def names(template: Template) -> Iterator[str]:
    """Yield every key that a template may read."""
    if isinstance(template, ConfigLens):
        yield from template.names()
    elif isinstance(template, Mapping):
        for item in template.values():
            yield from names(item)
    elif isinstance(template, tuple):
        for item in template:
            yield from names(item)


def read(template: Template, config: Config) -> Any:
    """Return a template's document of a config."""
    if isinstance(template, ConfigLens):
        return template.read(config)
    if isinstance(template, Mapping):
        return {name: read(item, config) for name, item in template.items()}
    if isinstance(template, tuple):
        return [read(item, config) for item in template]
    return template


def write(template: Template, value: Any, draft: ConfigDraft) -> None:
    """Put the keys from which the template gives `value` into `draft`. Raises MismatchError if there are none."""
    if isinstance(template, ConfigLens):
        template.write(value, draft)
    elif isinstance(template, Mapping):
        if not isinstance(value, Mapping):
            raise MismatchError
        if draft.finds_all:
            _write_all(template, value, draft)
        for name, item in template.items():
            write(item, value.get(name), draft)
    elif isinstance(template, tuple):
        if not isinstance(value, list | tuple) or len(value) != len(template):
            raise MismatchError
        for item, part in zip(template, value, strict=True):
            write(item, part, draft)
    elif template != value:
        raise MismatchError


def _write_all(template: Mapping[str, Any], value: Mapping[str, Any], draft: ConfigDraft) -> None:
    """Raise MismatchError with every field that does not fit, if there are any."""
    misfits: list[tuple[str, ...]] = []
    for name, item in template.items():
        try:
            write(item, value.get(name), draft)
        except MismatchError as error:
            misfits += [(name, *path) for path in error.paths]
        except (KeyError, TypeError):  # it needs a key that another field did not write
            misfits.append((name,))
    if misfits:
        raise MismatchError.of(misfits)


class _Sentinel:
    """A value that no config contains."""


REQUIRED: Final = _Sentinel()
REFUSED: Final = _Sentinel()


@final
class Key(ConfigLens, msgspec.Struct, frozen=True):
    """The value of one key.

    `default` is the meaning of an absent key, `null` that of a null: a value, or a function of the config. Without
    `null`, a null is refused. `aliases` are other spellings.
    """

    name: str
    value_type: ValueType
    default: Any = REQUIRED
    null: Any = REFUSED
    aliases: tuple[str, ...] = ()

    def names(self) -> Iterator[str]:
        """Yield its spellings."""
        yield from (self.name, *self.aliases)

    def read(self, config: Config) -> Any:
        """Return the value. Raises InputError unless it has the key's type."""
        name = config.find((self.name, *self.aliases))
        value = config.data[name] if name else None
        fallback = self.null if name else self.default
        if value is not None or fallback is REFUSED:
            return config.get(name or self.name, self.value_type)
        if fallback is REQUIRED:
            raise config.error(self.name, None, self.value_type.description)
        return fallback(config) if callable(fallback) else fallback

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the key itself."""
        if value is None and self.null is REFUSED:
            raise MismatchError(self.name)
        draft.put(self.name, value)


@final
class Override(ConfigLens, msgspec.Struct, frozen=True):
    """The value of `first` if the config has that key, else of `other`, which is the one that is written."""

    first: Key
    other: ConfigLens

    def names(self) -> Iterator[str]:
        """Yield the keys of both."""
        yield from (*self.first.names(), *self.other.names())

    def read(self, config: Config) -> Any:
        """Return the value of the key that applies."""
        return (self.first if config.find(tuple(self.first.names())) else self.other).read(config)

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the keys of `other`."""
        self.other.write(value, draft)


@final
class Conversion(ConfigLens, msgspec.Struct, frozen=True):
    """A value computed from another lens's, with the inverse. A null stays null."""

    key: ConfigLens
    forward: Callable[[Any], Any]
    inverse: Callable[[Any], Any]

    def names(self) -> Iterator[str]:
        """Yield the lens's keys."""
        yield from self.key.names()

    def read(self, config: Config) -> Any:
        """Return the converted value."""
        value = self.key.read(config)
        return None if value is None else self.forward(value)

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the inverse."""
        self.key.write(None if value is None else self.inverse(value), draft)


@final
class Choice(ConfigLens, msgspec.Struct, frozen=True):
    """One of a config's words, mapped to ours. If several words have one meaning, the first is written."""

    key: Key
    meanings: Mapping[Any, Any]

    def names(self) -> Iterator[str]:
        """Yield the key's spellings."""
        yield from self.key.names()

    def read(self, config: Config) -> Any:
        """Return the meaning of the word. Raises InputError for an unknown word."""
        word = self.key.read(config)
        if word not in self.meanings:
            words = [word if isinstance(word, str) else json.dumps(word) for word in self.meanings]
            hint = nearest(word, words) if isinstance(word, str) else ""
            raise config.error(self.key.name, word, ", ".join(words), hint)
        return self.meanings[word]

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the first word with this meaning."""
        words = [word for word, meaning in self.meanings.items() if meaning == value]
        if not words:
            raise MismatchError(self.key.name)
        draft.put(self.key.name, words[0])


@final
class ImpliedValue(ConfigLens, msgspec.Struct, frozen=True):
    """A constant, or a function of the rest of the config.

    Nothing is written for it, and any value passes: reading the written config back shows whether it was implied.
    """

    value: Any

    def names(self) -> Iterator[str]:
        """Yield none: the function reads keys that other lenses of the template name."""
        yield from ()

    def read(self, config: Config) -> Any:
        """Return the constant, or the function's value."""
        return self.value(config) if callable(self.value) else self.value

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put nothing."""


@final
class Cases(ConfigLens, msgspec.Struct, frozen=True):
    """A template for each value of another lens."""

    on: ConfigLens
    cases: Mapping[Any, Template]

    def names(self) -> Iterator[str]:
        """Yield the keys of the deciding lens and of every case."""
        yield from self.on.names()
        for template in self.cases.values():
            yield from names(template)

    def read(self, config: Config) -> Any:
        """Return the document of the case that the config selects."""
        return read(self.cases[self.on.read(config)], config)

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the keys of the first case that can express the value."""
        for case, template in self.cases.items():
            attempt = ConfigDraft(draft)
            try:
                self.on.write(case, attempt)
                write(template, value, attempt)
            except MismatchError:
                continue
            draft.update(attempt)
            return
        raise MismatchError


@final
class NullCases(ConfigLens, msgspec.Struct, frozen=True):
    """`null` if the key's value is `empty` (by default a null), otherwise `other`."""

    key: Key
    null: Template
    other: Template
    empty: Any = None

    def names(self) -> Iterator[str]:
        """Yield the key's spellings and the keys of both cases."""
        yield from self.key.names()
        yield from names(self.null)
        yield from names(self.other)

    def read(self, config: Config) -> Any:
        """Return the document of the case that the key selects."""
        return read(self.null if self.key.read(config) == self.empty else self.other, config)

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the keys of `other` if it can express the value, otherwise those of `null`."""
        attempt = ConfigDraft(draft)
        try:
            write(self.other, value, attempt)
        except MismatchError:
            attempt = ConfigDraft(draft)
            attempt.put(self.key.name, self.empty)
            write(self.null, value, attempt)
        draft.update(attempt)


@final
class RedundantKey(ConfigLens, msgspec.Struct, frozen=True):
    """A key whose value must equal the one that `expected` computes from the other keys."""

    key: Key
    expected: Callable[[Config], Any]

    def names(self) -> Iterator[str]:
        """Yield the key's spellings."""
        yield from self.key.names()

    def read(self, config: Config) -> Any:
        """Return the value. Raises InputError if it is not the expected one."""
        value, expected = self.key.read(config), self.expected(config)
        if value != expected:
            raise config.error(self.key.name, value, str(expected))
        return value

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the key."""
        self.key.write(value, draft)


@final
class ScaledKey(ConfigLens, msgspec.Struct, frozen=True):
    """A key's number times a factor that depends on the rest of the config."""

    key: Key
    factor: Callable[[Config], float]

    def names(self) -> Iterator[str]:
        """Yield the key's spellings."""
        yield from self.key.names()

    def read(self, config: Config) -> Any:
        """Return the product."""
        return self.key.read(config) * self.factor(config)

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the quotient. The keys that decide the factor must be in the draft already."""
        if value is None:
            raise MismatchError(self.key.name)
        factor = self.factor(Config(draft))
        number = value / factor
        whole = round(number)
        near = (number, math.nextafter(number, 0.0), math.nextafter(number, math.inf))
        exact = next((each for each in near if each * factor == value), number)
        self.key.write(whole if math.isclose(number, whole, rel_tol=1e-12) else exact, draft)


@final
class DuplicateKey(ConfigLens, msgspec.Struct, frozen=True):
    """A key that is also written as `second`, whose own default may not fit."""

    key: Key
    second: str

    def names(self) -> Iterator[str]:
        """Yield both names."""
        yield from (*self.key.names(), self.second)

    def read(self, config: Config) -> Any:
        """Return the value of the first key; the second is not read."""
        return self.key.read(config)

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put both keys."""
        self.key.write(value, draft)
        draft.put(self.second, value)


class Constraint(msgspec.Struct, frozen=True):
    """A key of which only some values are supported. Any other value is an error."""

    name: str
    allowed: tuple[Any, ...]

    def check(self, config: Config) -> None:
        """Raise InputError if the key is present with another value."""
        if self.name not in config.data:
            return
        value = config.data[self.name]
        choices = [item.read(config) if isinstance(item, ConfigLens) else item for item in self.allowed]
        if not any(equal(value, choice) for choice in choices):
            raise config.error(self.name, value, " or ".join(dict.fromkeys(map(_json_text, choices))))


def _json_text(value: Any) -> str:
    """Return a value as a config writes it."""
    if isinstance(value, str | list | dict):
        return value if isinstance(value, str) else json.dumps(value)
    return "null" if value is None else str(value).lower()
