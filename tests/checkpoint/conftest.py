"""transformers without its own progress bars; models that it saved, and ours of the same weights."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import transformers
from torch import nn
from transformers.cache_utils import EncoderDecoderCache

from archcalc.checkpoint import open_checkpoint
from archcalc.checkpoint.checkpoint import Checkpoint
from tests.checkpoint.random_models import CONFIGS, random_model


class Pair(NamedTuple):
    """A random model of transformers, what it saved, and our module loaded from that."""

    name: str
    theirs: Any
    checkpoint: Checkpoint
    ours: nn.Module


@pytest.fixture(scope="session", params=CONFIGS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, quiet: None) -> Iterator[Pair]:
    """Each model once for all tests of this folder that change no weight."""
    folder = tmp_path_factory.mktemp("saved")
    theirs = random_model(request.param)
    # Small enough that the larger of them lie in several shards.
    theirs.save_pretrained(folder, max_shard_size="60KB")
    checkpoint = open_checkpoint(str(folder))
    yield Pair(request.param, theirs, checkpoint, checkpoint.load())
    shutil.rmtree(folder)


@pytest.fixture(autouse=True)
def _same_inputs() -> None:
    """Draw the same tokens in each order of the tests."""
    torch.manual_seed(2)


@pytest.fixture(scope="session", autouse=True)
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
