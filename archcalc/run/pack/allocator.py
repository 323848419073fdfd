"""Freed memory, given back to the system."""

from __future__ import annotations

import ctypes

# glibc's; another C library has its own ways, or none.
_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)


def give_back() -> None:
    """Have the C library return what was freed: weights let go one by one leave holes that none of the next fit."""
    if _trim is not None:
        _trim(0)
