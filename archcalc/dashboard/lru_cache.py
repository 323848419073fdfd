"""Values that are shared by all visitors: the most recently used ones stay in memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")


class LruCache(Generic[T]):
    """Up to `capacity` values by key, for many threads. One value is created at a time."""

    def __init__(self, capacity: int) -> None:
        self._capacity, self._values = capacity, OrderedDict[Hashable, T]()
        self._lookup_lock, self._creation_lock = Lock(), Lock()

    def get(self, key: Hashable) -> T | None:
        """Return the value of a key, None if there is none."""
        with self._lookup_lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def get_or_create(self, key: Hashable, create: Callable[[], T]) -> T:
        """Return the value of a key, created now if need be. Raises as `create` does; then nothing is stored."""
        with self._creation_lock:
            value = self.get(key)
            if value is None:
                # Free memory before the new value is created: the least recently used value is dropped first.
                with self._lookup_lock:
                    while len(self._values) >= self._capacity:
                        self._values.popitem(last=False)
                value = create()
                with self._lookup_lock:
                    self._values[key] = value
        return value
