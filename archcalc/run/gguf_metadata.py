"""The metadata of a GGUF file as plain values."""

from __future__ import annotations

from typing import Any

from archcalc.errors import InputError


def metadata_of(path: str) -> dict[str, Any]:
    """Key → value: numbers, strings, lists. InputError if it is no GGUF file."""
    from gguf import GGUFReader

    try:
        return {key: field.contents() for key, field in GGUFReader(path).fields.items()}
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", file=path) from None
    except Exception as error:  # the library checks little: any of its errors may come of a broken file
        raise InputError(f"is no GGUF file ({error})", file=path) from None
