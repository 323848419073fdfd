"""Panics of a library in Rust: they are no `Exception` in Python, and print several lines on standard error."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_STDERR = 2


class PanicError(Exception):
    """A library panicked over what it was given."""


class _Silence:
    """Sends standard error of the process to nowhere while any thread is inside."""

    def __init__(self) -> None:
        self._lock, self._inside, self._saved = threading.Lock(), 0, -1

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._saved = _redirect()
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0 and self._saved >= 0:
                os.dup2(self._saved, _STDERR)
                os.close(self._saved)


def _redirect() -> int:
    """Redirect standard error and return a copy of it; -1 if it is closed."""
    try:
        saved = os.dup(_STDERR)
    except OSError:
        return -1
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, _STDERR)
    os.close(nowhere)
    return saved


_SILENCE = _Silence()


@contextmanager
def caught() -> Iterator[None]:
    """Raise PanicError in place of a panic, without the lines that the library prints."""
    try:
        with _SILENCE:
            yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # the library's class has no other name
            raise
        raise PanicError(str(error)) from None
