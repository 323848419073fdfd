"""What is made once and shared by all visitors: the last few that were asked for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")


class Shared(Generic[T]):
    """Up to `most` values by key; one of a kind is made at a time, and none twice while it is kept."""

    def __init__(self, most: int) -> None:
        self._most, self._kept = most, OrderedDict[Hashable, T]()
        self._looking, self._making = Lock(), Lock()

    def get(self, key: Hashable) -> T | None:
        """What is kept under a key, if anything."""
        with self._looking:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def made(self, key: Hashable, make: Callable[[], T]) -> T:
        """What is kept under a key, made now if need be. What `make` raises is raised, and nothing is kept."""
        with self._making:
            found = self.get(key)
            if found is None:
                # Room first: what is the longest unused goes before the new one comes.
                with self._looking:
                    while len(self._kept) >= self._most:
                        self._kept.popitem(last=False)
                found = make()
                with self._looking:
                    self._kept[key] = found
        return found
