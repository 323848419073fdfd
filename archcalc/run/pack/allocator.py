"""Return freed memory to the system."""

from __future__ import annotations

import ctypes

# Only glibc has it.
_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)


def trim_heap() -> None:
    """Ask the C library to return freed memory: weights freed one by one leave holes that later ones do not fit."""
    if _trim is not None:
        _trim(0)
