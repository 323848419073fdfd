"""transformers without its own progress bars; a folder that it saved."""

from __future__ import annotations

from pathlib import Path

import pytest
import transformers

from tests.checkpoint.made import random_model


@pytest.fixture(autouse=True)
def quiet() -> None:
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


@pytest.fixture
def llama_folder(tmp_path: Path) -> Path:
    random_model("llama").save_pretrained(tmp_path)
    return tmp_path
