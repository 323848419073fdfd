"""transformers without its own progress bars; a folder that it saved."""

from __future__ import annotations

from pathlib import Path

import pytest
import transformers
from transformers.cache_utils import EncoderDecoderCache

from tests.checkpoint.random_models import random_model


@pytest.fixture(autouse=True)
def quiet() -> None:
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


@pytest.fixture(autouse=True)
def _flaubert_runs_with_norms_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its forward pass then takes a layer's part of a cache that has no parts."""
    monkeypatch.setattr(EncoderDecoderCache, "__getitem__", lambda cache, layer: None, raising=False)


@pytest.fixture
def llama_folder(tmp_path: Path) -> Path:
    random_model("llama").save_pretrained(tmp_path)
    return tmp_path
