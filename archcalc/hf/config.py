"""Read a config.json: typed values by key, and errors that name the key."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from archcalc.errors import InputError, shown
from archcalc.words import Message, joined, msg

MAX_SIZE = 2**32
MAX_LAYERS = 100_000
MAX_NUMBER = 1e30


class ValueType(msgspec.Struct, frozen=True):
    """The values that a key may have: a test, and its description for errors."""

    allows: Callable[[Any], bool]
    description: str


def _integer_type(low: int, high: int) -> ValueType:
    return ValueType(lambda value: type(value) is int and low <= value <= high, f"an integer from {low} to {high}")


def _is_number(value: Any) -> bool:
    return type(value) is int or (type(value) is float and math.isfinite(value))


SIZE = _integer_type(1, MAX_SIZE)
COUNT = _integer_type(0, MAX_SIZE)
LAYERS = _integer_type(1, MAX_LAYERS)
LAYERS_OR_NONE = _integer_type(0, MAX_LAYERS)
LAYER_OR_LAST = _integer_type(-1, MAX_LAYERS)
FLAG = ValueType(lambda value: type(value) is bool, "true or false")
TEXT = ValueType(lambda value: isinstance(value, str), "text")
POSITIVE = ValueType(lambda value: _is_number(value) and 0 < value <= MAX_NUMBER, "a number > 0")
NEGATIVE = ValueType(lambda value: _is_number(value) and -MAX_NUMBER <= value < 0, "a number < 0")
AMOUNT = ValueType(lambda value: _is_number(value) and 0 <= value <= MAX_NUMBER, "a number ≥ 0")
PROBABILITY = ValueType(lambda value: _is_number(value) and 0 <= value < 1, "a number ≥ 0 and < 1")
SHARE = ValueType(lambda value: _is_number(value) and 0 < value <= 1, "a number > 0 and ≤ 1")
FACTORS = ValueType(
    lambda value: isinstance(value, list) and all(POSITIVE.allows(item) for item in value), "a list of numbers > 0"
)
WORDS = ValueType(
    lambda value: isinstance(value, list) and all(isinstance(item, str) for item in value), "a list of words"
)
INDICES = ValueType(
    lambda value: isinstance(value, list) and all(LAYERS_OR_NONE.allows(item) for item in value),
    "a list of layers' indices",
)
MAPPING = ValueType(lambda value: isinstance(value, dict), "a mapping")


class Config:
    """The mapping of a config, or one nested in it. `path` is its place in the file ('' for the whole).

    `ignored` collects the keys, also nested ones, that no class of the model type knows.
    """

    def __init__(self, data: Mapping[str, Any], path: str = "", ignored: dict[str, None] | None = None) -> None:
        self.data, self.path = data, path
        self.ignored: dict[str, None] = {} if ignored is None else ignored

    def nested(self, data: Mapping[str, Any], path: str) -> Config:
        """Return a mapping inside this one."""
        return Config(data, path, self.ignored)

    def where(self, name: str) -> str:
        """Return a key's full path."""
        return f"{self.path}.{name}" if self.path else name

    def find(self, names: tuple[str, ...]) -> str | None:
        """Return the spelling that is present, or None. Raises InputError if two of them contradict each other."""
        present = [name for name in names if name in self.data]
        for other in present[1:]:
            if self.data[other] != self.data[present[0]]:
                raise InputError(
                    msg(
                        "{data}, but {present} is {data_2}",
                        data=shown(self.data[other]),
                        present=present[0],
                        data_2=shown(self.data[present[0]]),
                    ),
                    where=self.where(other),
                    allowed=msg("one value under both names"),
                )
        return present[0] if present else None

    def get(self, name: str, value_type: ValueType) -> Any:
        """Return the value of a key that is present. Raises InputError unless it has the given type."""
        value = self.data[name]
        if not value_type.allows(value):
            raise self.error(name, value, value_type.description)
        return value

    def error(self, name: str, found: Any, allowed: str | Message, hint: str | Message = "") -> InputError:
        """Return the error for a value that is not allowed."""
        return InputError(
            msg("found {found}{hint}", found=shown(found), hint=hint), where=self.where(name), allowed=allowed
        )

    def ignore_but(self, known: Iterable[str]) -> None:
        """Note every key that is not in `known` as ignored."""
        self.ignored.update({self.where(str(name)): None for name in self.data if name not in known})


def equal(value: Any, other: Any) -> bool:
    """Return whether two values of a config are equal. 7 equals 7.0, but True does not equal 1."""
    return isinstance(value, bool) == isinstance(other, bool) and bool(value == other)


def raise_all(faults: Sequence[InputError]) -> None:
    """Raise one InputError that lists all faults, if there are any."""
    if len(faults) > 1:
        raise InputError(msg("{n} settings are not supported: {faults}", n=len(faults), faults=joined(". ", faults)))
    if faults:
        raise faults[0]
