"""A cache of the Hugging Face hub without a network, and what lies in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import constants


def cached(repo_id: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a repository's only commit, empty as yet, in a cache that all else then finds offline."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    repo, commit = cache / f"models--{repo_id.replace('/', '--')}", "0" * 40
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text(commit)
    folder = repo / "snapshots" / commit
    folder.mkdir(parents=True)
    return folder
