"""What transformers' classes know of a config: the keys of each model type with their defaults, and its classes.

`upstream.json` is generated with transformers (`python -m archcalc.hf`) and has a line for each model type, so that
reading a config decodes one of them.
"""

from __future__ import annotations

import os
import re
from functools import cache
from typing import Any

import msgspec

FILE = os.path.join(os.path.dirname(__file__), "upstream.json")


def keys(model_type: str) -> dict[str, list[Any]]:
    """Return each key that the class of a model type defines or reads, with the values that mean its default.

    Keys that change no number of any model are left out. Empty for a model type that is not known.
    """
    return dict(_entry(model_type).get("keys", {}))


def classes(model_type: str) -> dict[str, str]:
    """Return the classes of a model type, each with the suffix that says its kind ('Model', 'ForCausalLM')."""
    return dict(_entry(model_type).get("classes", {}))


def model_types() -> list[str]:
    """Return every model type of transformers that reads text."""
    return re.findall(r'^"([^"]+)"', _text().decode(), re.MULTILINE)


def types_of(class_name: str) -> list[str]:
    """Return the model types that have a class of this name."""
    if not class_name.isidentifier():
        return []
    return re.findall(rf'^"([^"]+)":.*"{class_name}":', _text().decode(), re.MULTILINE)


@cache
def _text() -> bytes:
    with open(FILE, "rb") as file:
        return file.read()


def _entry(model_type: str) -> dict[str, Any]:
    """Return what the line of a model type holds; empty where there is none."""
    text, start = _text(), f"\n{msgspec.json.encode(model_type).decode()}: ".encode()
    at = text.find(start)
    if at < 0:
        return {}
    line = text[at + len(start) : text.index(b"\n", at + 1)]
    entry: dict[str, Any] = msgspec.json.decode(line.removesuffix(b","))
    return entry
