"""Which of a storage's formats apply to a module, by its name."""

from __future__ import annotations

import time
from collections.abc import Iterator

from archcalc.errors import InputError
from archcalc.hf.storage.patterns import compiled
from archcalc.spec.storage import Storage, StoredFormat
from archcalc.words import msg

MAX_SECONDS = 5.0


class FormatChoice:
    """The formats of a storage with their patterns, which may take `MAX_SECONDS` in all."""

    def __init__(self, storage: Storage) -> None:
        self._formats = [
            (one, compiled(one.pattern, f"about.storage.formats[{place}].pattern") if one.pattern else None)
            for place, one in enumerate(storage.formats)
        ]
        self._deadline = time.monotonic() + MAX_SECONDS

    def of(self, module: str) -> Iterator[StoredFormat]:
        """Yield the formats whose patterns match a module's name, in their order."""
        if time.monotonic() > self._deadline:
            raise InputError(
                msg("matching its patterns takes too long"), where="about.storage", allowed=msg("simpler patterns")
            )
        spellings = _spellings(module)
        for one, pattern in self._formats:
            if not pattern or any(map(pattern.fullmatch, spellings)):
                yield one


def _spellings(module: str) -> tuple[str, ...]:
    """Return the names that a module may have: also those inside a model of several parts."""
    inner = module.removeprefix("model.")
    return module, f"language_model.{module}", f"model.language_model.{inner}", f"model.{module}"
