"""Sentences of pages that are matched once they are in English (`render/translate.py`)."""

from __future__ import annotations

Sentences = dict[str, tuple[str, str]]
