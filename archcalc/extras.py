"""Checks for optional packages."""

from __future__ import annotations

from importlib.util import find_spec

from archcalc.errors import MissingExtraError
from archcalc.words import Message, msg


def require(package: str, *, does: Message, extra: str) -> None:
    """Raise MissingExtraError, naming the extra, if a package is not installed; `does` is the task that needs it."""
    if find_spec(package) is None:
        raise MissingExtraError(does, extra)


def require_pandas() -> None:
    """Raise MissingExtraError if pandas is not installed."""
    require("pandas", does=msg("making a DataFrame"), extra="frames")


def require_numpy() -> None:
    """Raise MissingExtraError if numpy is not installed."""
    require("numpy", does=msg("a sweep"), extra="frames")


def require_running() -> None:
    """Raise MissingExtraError if a package needed to run a model is not installed."""
    for package in ("torch", "tokenizers", "safetensors", "gguf", "psutil"):
        require(package, does=msg("running a model"), extra="run")
