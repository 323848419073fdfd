"""The models that the pages may run: those that come with archcalc, and those of the folder that --models names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from archcalc import presets
from archcalc.dashboard.serve import MODELS_VARIABLE

# How far below the folder checkpoints are looked for, and how many are listed.
MOST_LEVELS, MOST_MODELS = 3, 200
# A folder with one of each pair is a checkpoint.
_SPECS: Final = ("spec.yaml", "config.json")


def runnable() -> dict[str, str]:
    """What can be run with weights of its own: its name on the pages → its source.

    A visitor's name is looked up here and is never a path itself, so that nothing beside the folder can be opened.
    """
    shipped = {name: name for name in presets.names() if presets.weights_path(name)}
    folder = os.environ.get(MODELS_VARIABLE)
    return shipped | (dict(_local(Path(folder).resolve())) if folder else {})


def _local(folder: Path) -> Iterator[tuple[str, str]]:
    """The checkpoints in a folder and below it, by their place there; none that a link leads out to."""
    n_found = 0
    for here, folders, files in os.walk(folder):
        place = Path(here)
        folders.sort()
        if len(place.relative_to(folder).parts) >= MOST_LEVELS:
            folders.clear()
        found = [place / file for file in sorted(files) if file.endswith(".gguf")]
        if place != folder and _is_checkpoint(files):
            found.append(place)
        for path in found:
            if path.resolve().is_relative_to(folder) and n_found < MOST_MODELS:
                n_found += 1
                yield str(path.relative_to(folder)), str(path)


def _is_checkpoint(files: list[str]) -> bool:
    return any(file.endswith(".safetensors") for file in files) and any(name in files for name in _SPECS)
