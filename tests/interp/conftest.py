"""Real weights, loaded once."""

from __future__ import annotations

import pytest

from archcalc.run.loading.source import LoadedModel, open_source
from tests.interp.smollm2 import FILE


@pytest.fixture(scope="session")
def ours() -> LoadedModel:
    return open_source(str(FILE)).load(None, packed=False)
