"""The presets that come with archcalc: YAML files in the installed wheel or in the checkout."""

from __future__ import annotations

import os
from functools import cache

# Short names of presets.
ALIASES = {"gpt3": "gpt3-175b"}


@cache
def folder() -> str:
    """Return the folder of the presets: `data` in an installed package, `presets` beside the package in a checkout."""
    package = os.path.dirname(os.path.abspath(__file__))
    installed = os.path.join(package, "data")
    return installed if os.path.isdir(installed) else os.path.join(os.path.dirname(package), "presets")


def names() -> list[str]:
    """Return the names of all presets, sorted."""
    return _names("models")


def path_of(name: str) -> str | None:
    """Return the file of a preset by its name or alias, or None."""
    name = ALIASES.get(name, name)
    if not name or any(c in name for c in "/\\\0") or name.startswith("."):
        return None
    path = os.path.join(folder(), "models", f"{name}.yaml")
    return path if os.path.isfile(path) else None


def weights_path(name: str) -> str | None:
    """Return the folder of the weights that come with a preset, or None."""
    path = os.path.join(folder(), "weights", ALIASES.get(name, name))
    return path if path_of(name) and os.path.isdir(path) else None


def papers() -> list[str]:
    """Return the names of the papers whose tables are not about one model, sorted."""
    return _names("papers")


def paper_path(name: str) -> str:
    """Return the file of one of `papers`."""
    return os.path.join(folder(), "papers", f"{name}.yaml")


def _names(kind: str) -> list[str]:
    files = os.listdir(os.path.join(folder(), kind))
    return sorted(name.removesuffix(".yaml") for name in files if name.endswith(".yaml"))
