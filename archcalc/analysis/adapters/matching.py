"""Choose modules and parameters by their names, as peft does."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable

from archcalc.analysis.adapters.config import AdapterConfig, Names
from archcalc.errors import InputError
from archcalc.hf.storage.patterns import checked
from archcalc.words import msg

MAX_SECONDS = 5.0
# Where no list of layers is named, the first number in a name is that of its layer.
_ANY_LIST = r"[^.]*"


class Deadline:
    """Raises InputError where the patterns of a file take too long."""

    def __init__(self) -> None:
        self._end = time.monotonic() + MAX_SECONDS

    def check(self, where: str) -> None:
        """Raise InputError after the end."""
        if time.monotonic() > self._end:
            raise InputError(msg("matching its patterns takes too long"), where=where, allowed=msg("simpler patterns"))


def ends_in(name: str, ends: Iterable[str]) -> bool:
    """Return whether a name is one of these, or ends in one after a dot."""
    return any(name == end or name.endswith(f".{end}") for end in ends)


def whole(pattern: str, where: str) -> Callable[[str], bool]:
    """Return the test for names that a regular expression matches. Raises InputError if it does not parse."""
    expression = re.compile(checked(pattern, where))
    return lambda name: expression.fullmatch(name) is not None


def test(names: Names, where: str) -> Callable[[str], bool]:
    """Return the test for names that a pattern matches, or that end in one of a list."""
    if isinstance(names, str):
        return whole(names, where)
    ends = frozenset(names)
    return lambda name: any(end in ends for end in _ends(name))


def _ends(name: str) -> Iterable[str]:
    """Yield a name and what follows each of its dots."""
    yield name
    while "." in name:
        name = name.partition(".")[2]
        yield name


def module_test(config: AdapterConfig) -> Callable[[str], bool]:
    """Return the test for the modules that are adapted."""
    is_target = test(config.targets or (), "targets")
    is_excluded = test(config.excluded, "excluded")
    exact = frozenset(config.targets) if isinstance(config.targets, tuple) else frozenset()
    is_trained, layer_of, deadline = _trained(config), _layer_of(config), Deadline()

    def is_adapted(name: str) -> bool:
        deadline.check("targets")
        if is_excluded(name) or is_trained(name) or not is_target(name):
            return False
        return not config.layers or name in exact or layer_of(name) in config.layers

    return is_adapted


def _trained(config: AdapterConfig) -> Callable[[str], bool]:
    """Return the test for modules that are, or are in, one of which a copy is trained."""
    named = [whole(rf"(?:.*\.)?(?:{name})(?:\..*)?", "modules_to_save") for name in config.trained_modules]
    return lambda name: any(matches(name) for matches in named)


def _layer_of(config: AdapterConfig) -> Callable[[str], int | None]:
    """Return the function that finds the layer of a module; None for one outside the layers."""
    lists = config.layer_lists or (_ANY_LIST,)
    start = r".*?\." if not config.layer_lists else r"(?:.*?\.)?"
    patterns = [re.compile(rf"{start}(?:{checked(one, 'layers_pattern')})\.(\d+)\.") for one in lists]

    def layer_of(name: str) -> int | None:
        found = next((match for pattern in patterns if (match := pattern.match(name))), None)
        return int(found[1]) if found else None

    return layer_of


def rank_of(config: AdapterConfig) -> Callable[[str], int | None]:
    """Return the function that finds the rank of a name where it is not `config.rank`; else None."""
    tests = [(whole(rf"(?:.*\.)?(?:{pattern})", "rank_pattern"), rank) for pattern, rank in config.ranks]
    return lambda name: next((rank for matches, rank in tests if matches(name)), None)
