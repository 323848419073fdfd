"""Public namespaces whose names are looked up when they are first used, so that importing one costs nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lookup(namespace: str, homes: Mapping[str, str], check: Callable[[], None]) -> Callable[[str], Any]:
    """Return the `__getattr__` of a namespace.

    `homes` says where a name comes from, as 'module:name'. `check` raises MissingExtraError where something that the
    namespace takes is not installed.
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
