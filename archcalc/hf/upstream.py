"""Keys, defaults and classes of each model type in transformers.

`upstream.json` is generated with transformers (`python -m archcalc.hf`). It has a line for each model type, and reading
a config decodes only one of them.
"""

from __future__ import annotations

import os
import re
from functools import cache
from typing import Any

import msgspec

FILE = os.path.join(os.path.dirname(__file__), "upstream.json")
TYPES_FILE = os.path.join(os.path.dirname(__file__), "model_types.json")


def keys(model_type: str) -> dict[str, list[Any]]:
    """Return each key that the class of a model type defines or reads, with the values that mean its default.

    Keys that change no number of any model are left out. Empty for an unknown model type.
    """
    return dict(_entry(model_type).get("keys", {}))


def classes(model_type: str) -> dict[str, str]:
    """Return the classes of a model type, each with its kind, the suffix of its name ('Model', 'ForCausalLM')."""
    return dict(_entry(model_type).get("classes", {}))


def model_types() -> list[str]:
    """Return every text model type of transformers."""
    return re.findall(r'^"([^"]+)"', _text().decode(), re.MULTILINE)


def all_model_types() -> list[str]:
    """Return every model type of transformers, those that are not of text included."""
    with open(TYPES_FILE, "rb") as file:
        names: list[str] = msgspec.json.decode(file.read())
    return names


def types_of(class_name: str) -> list[str]:
    """Return the model types that have a class with this name."""
    if not class_name.isidentifier():
        return []
    return re.findall(rf'^"([^"]+)":.*"{class_name}":', _text().decode(), re.MULTILINE)


@cache
def _text() -> bytes:
    with open(FILE, "rb") as file:
        return file.read()


def _entry(model_type: str) -> dict[str, Any]:
    """Return the entry of a model type; empty if there is none."""
    text, start = _text(), f"\n{msgspec.json.encode(model_type).decode()}: ".encode()
    at = text.find(start)
    if at < 0:
        return {}
    line = text[at + len(start) : text.index(b"\n", at + 1)]
    entry: dict[str, Any] = msgspec.json.decode(line.removesuffix(b","))
    return entry
