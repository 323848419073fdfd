"""Small demonstrations: functions that return results, computed by the package's own code.

The softmax is the one that `generate` samples with, the dropout that of a layer, FLOPs come from the ledger.
"""

from __future__ import annotations

from importlib import import_module
from typing import Final

from archcalc.errors import InputError, nearest, shown
from archcalc.interp.demos.results import TITLES, Demo, DemoList, DemoTitle
from archcalc.words import msg

# Name → whether it is random, so that a seed applies.
DEMOS: Final = {"softmax": True, "dropout": True, "positions": True, "step": True, "cost": False}


def demo_list() -> DemoList:
    """Return all demonstrations by name."""
    return DemoList(demos=tuple(DemoTitle(name=name, title=TITLES[name]) for name in DEMOS))


def run(name: str, seed: int | None = None) -> Demo:
    """Return the result of a demonstration; the default seed is 0.

    Raises InputError for an unknown name, and for a seed of a demonstration that is not random.
    """
    if name not in DEMOS:
        raise InputError(
            msg("no demonstration is called {name}{hint}", name=shown(name), hint=nearest(name, DEMOS)),
            allowed=", ".join(DEMOS),
        )
    if seed is not None and not DEMOS[name]:
        random = ", ".join(demo for demo, is_random in DEMOS.items() if is_random)
        raise InputError(
            msg("the demonstration {name} is not random", name=name),
            where="seed",
            allowed=msg("with {names}", names=random),
        )
    module = import_module(f"archcalc.interp.demos.{name}")
    result: Demo = module.run(seed or 0) if DEMOS[name] else module.run()
    return result
