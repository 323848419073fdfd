"""The settings of a quantization method: typed values, and errors that name the key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from archcalc.errors import shown
from archcalc.formats.element_types import element_bytes
from archcalc.hf.config import Config, ValueType
from archcalc.spec.storage import FloatName
from archcalc.words import msg

FLAG_OR_NONE = ValueType(lambda value: value is None or type(value) is bool, "true, false or null")
WORDS_OR_NONE = ValueType(
    lambda value: value is None or (isinstance(value, list) and all(isinstance(item, str) for item in value)),
    "a list of words, or null",
)


def one_of(*values: Any) -> ValueType:
    """Return the type whose values are these."""
    described = ", ".join("null" if value is None else str(value) for value in values)
    return ValueType(lambda value: any(value == each and type(value) is type(each) for each in values), described)


GROUP = ValueType(
    lambda value: value is None or (type(value) is int and (value == -1 or 1 <= value <= 2**20)),
    "a number of elements, or -1 for the whole row",
)


class UnreadSettingError(Exception):
    """A setting of a known method that stores weights in a way that is not known here."""

    def __init__(self, name: str, value: Any) -> None:
        super().__init__(f"{name} {shown(value)}")


class Quantization(msgspec.Struct, frozen=True):
    """The mapping of a method's settings, at its key of the config, and the dtype of what is not quantized."""

    data: Mapping[str, Any]
    key: str
    dtype: FloatName

    def get(self, name: str, value_type: ValueType, default: Any = None) -> Any:
        """Return a setting, or the default if it is absent. Raises InputError unless it has the given type."""
        return Config(self.data, self.key).get(name, value_type) if name in self.data else default

    def within(self, name: str) -> Quantization | None:
        """Return the mapping at a key; None if there is none."""
        value = self.data.get(name)
        return msgspec.structs.replace(self, data=value, key=f"{self.key}.{name}") if isinstance(value, dict) else None

    def each(self, name: str) -> Iterator[tuple[str, Quantization]]:
        """Yield the mappings by their keys at a key; nothing if it is absent. Raises InputError for anything else."""
        mapping = self.within(name)
        for key, value in mapping.data.items() if mapping else ():
            if not isinstance(value, dict):
                raise Config(self.data, self.key).error(f"{name}.{key}", value, msg("a mapping"))
            yield key, msgspec.structs.replace(self, data=value, key=f"{self.key}.{name}.{key}")

    def words(self, name: str) -> list[str] | None:
        """Return a list of words, or None."""
        found: list[str] | None = self.get(name, WORDS_OR_NONE)
        return found

    def where(self, name: str) -> str:
        """Return the full path of a key."""
        return f"{self.key}.{name}"

    @property
    def element_bytes(self) -> int:
        """Return the bytes of an element that is not quantized, which are those of most scales."""
        return element_bytes(self.dtype)

    def group(self, default: int) -> int:
        """Return the elements of a row that share a scale; 0 for the whole row."""
        size = self.get("group_size", GROUP, default)
        return 0 if size in (None, -1) else int(size)
