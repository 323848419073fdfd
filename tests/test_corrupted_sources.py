"""Corrupted configs, specs and GGUF metadata are read, or refused in one line; `python -m tests.fuzz` runs more."""

from __future__ import annotations

from pathlib import Path

from tests.fuzz import faults


def test_nothing_corrupted_does_harm(tmp_path: Path) -> None:
    assert not list(faults(300, 0, tmp_path, max_seconds=10.0))
