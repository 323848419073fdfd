"""Restore the main module, which a page under test replaces because it runs as a script."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _restore_main_module() -> Iterator[None]:
    before = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = before
