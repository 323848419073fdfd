"""Public namespaces with lazily imported names, so that importing a namespace costs nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lookup(namespace: str, homes: Mapping[str, str], check: Callable[[], None]) -> Callable[[str], Any]:
    """Return the `__getattr__` of a namespace.

    `homes` maps each public name to 'module:name'. `check` raises MissingExtraError if a package that the namespace
    needs is not installed.
    """

    def look_up(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {namespace!r} has no attribute {name!r}")
        check()
        module, _, original = homes[name].partition(":")
        value = getattr(import_module(module), original)
        setattr(sys.modules[namespace], name, value)
        return value

    return look_up
