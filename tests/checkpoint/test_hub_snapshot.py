"""A repository is read from the hub's cache where there is no network."""

from __future__ import annotations

from pathlib import Path

import pytest

from archcalc.checkpoint import open_checkpoint
from archcalc.errors import InputError
from tests.checkpoint.random_models import random_model
from tests.hub_cache import cached


def test_the_cache_serves_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = cached("some/model", tmp_path, monkeypatch)
    random_model("llama").save_pretrained(folder)
    found = open_checkpoint("some/model")
    assert found.label == "some/model"
    assert found.folder == folder
    with pytest.raises(InputError, match="cannot be reached, and the cache has no config") as caught:
        open_checkpoint("some/other")
    assert "\n" not in str(caught.value)
