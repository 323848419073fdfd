"""The presets that come with archcalc: YAML files, found in an installed wheel and in a checkout alike."""

from __future__ import annotations

import os
from functools import cache

# Names people type for a preset that is called something longer.
SHORT = {"gpt3": "gpt3-175b"}


@cache
def folder() -> str:
    """Return where the presets lie: `data` in an installed package, `presets` beside the package in a checkout."""
    package = os.path.dirname(os.path.abspath(__file__))
    installed = os.path.join(package, "data")
    return installed if os.path.isdir(installed) else os.path.join(os.path.dirname(package), "presets")


def names() -> list[str]:
    """All presets' names, sorted."""
    return _names("models")


def path_of(name: str) -> str | None:
    """The file of the preset called `name` (or of what `name` is short for), if there is one."""
    name = SHORT.get(name, name)
    if not name or any(c in name for c in "/\\\0") or name.startswith("."):
        return None
    path = os.path.join(folder(), "models", f"{name}.yaml")
    return path if os.path.isfile(path) else None


def weights_path(name: str) -> str | None:
    """The folder with the weights that come with a preset, if any do."""
    path = os.path.join(folder(), "weights", SHORT.get(name, name))
    return path if path_of(name) and os.path.isdir(path) else None


def papers() -> list[str]:
    """The papers whose tables are about no one model, sorted."""
    return _names("papers")


def paper_path(name: str) -> str:
    """The file of one of `papers`."""
    return os.path.join(folder(), "papers", f"{name}.yaml")


def _names(kind: str) -> list[str]:
    files = os.listdir(os.path.join(folder(), kind))
    return sorted(name.removesuffix(".yaml") for name in files if name.endswith(".yaml"))
