"""A repository is read from the hub's cache where there is no network."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import constants

from archcalc.checkpoint import open_checkpoint
from archcalc.errors import InputError
from tests.checkpoint.made import random_model


def test_the_cache_serves_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    repo, commit = tmp_path / "models--some--model", "0" * 40
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text(commit)
    random_model("llama").save_pretrained(repo / "snapshots" / commit)
    found = open_checkpoint("some/model")
    assert found.label == "some/model"
    assert found.folder == repo / "snapshots" / commit
    with pytest.raises(InputError, match="cannot be reached, and the cache has no config") as caught:
        open_checkpoint("some/other")
    assert "\n" not in str(caught.value)
