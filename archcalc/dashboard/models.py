"""The models that visitors can run: those that come with archcalc, and those in the folder of --models."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from archcalc import presets

# The folder of checkpoints. Only --models sets it, because every visitor can run the models in it.
MODELS_VARIABLE: Final = "ARCHCALC_MODELS"
# Levels of folders that are searched, and models that are listed.
MAX_DEPTH, MAX_MODELS = 3, 200
# A folder with safetensors files and one of these is a checkpoint.
_SPEC_FILES: Final = ("spec.yaml", "config.json")


def runnable_models() -> dict[str, str]:
    """Return the sources of models with trained weights by their names on the pages.

    Visitors send names, never paths, so they cannot open anything outside the folder.
    """
    presets_with_weights = {name: name for name in presets.names() if presets.weights_path(name)}
    folder = os.environ.get(MODELS_VARIABLE)
    return presets_with_weights | (dict(_local_checkpoints(Path(folder).resolve())) if folder else {})


def _local_checkpoints(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield name and path of each checkpoint in a folder and below it, but none outside that a link points to."""
    n_models = 0
    for path, folders, files in os.walk(folder):
        directory = Path(path)
        folders.sort()
        if len(directory.relative_to(folder).parts) >= MAX_DEPTH:
            folders.clear()
        checkpoints = [directory / file for file in sorted(files) if file.endswith(".gguf")]
        if directory != folder and _is_checkpoint(files):
            checkpoints.append(directory)
        for checkpoint in checkpoints:
            if checkpoint.resolve().is_relative_to(folder) and n_models < MAX_MODELS:
                n_models += 1
                yield str(checkpoint.relative_to(folder)), str(checkpoint)


def _is_checkpoint(files: list[str]) -> bool:
    return any(file.endswith(".safetensors") for file in files) and any(name in files for name in _SPEC_FILES)
