"""Typed values of plain data, safe in several threads.

msgspec prepares a type when it is first used. Another thread that uses the type meanwhile crashes the process
(msgspec 0.22), so one thread at a time converts. A conversion holds Python's own lock anyway: nothing gets slower.
"""

from __future__ import annotations

import threading
from typing import Any, Final, TypeVar

import msgspec

T = TypeVar("T")

_LOCK: Final = threading.Lock()


def convert(data: Any, to: type[T]) -> T:
    """Return the value of type `to` that plain data states. Raises msgspec.ValidationError where it does not fit."""
    with _LOCK:
        return msgspec.convert(data, to)


def decode_json(content: bytes | str, to: type[T]) -> T:
    """Return the value of type `to` that a JSON text states. Raises msgspec.DecodeError for anything else."""
    return convert(msgspec.json.decode(content), to)
