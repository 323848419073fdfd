"""Small demonstrations, each a function over the project's own modules that returns what came out as plain data.

Nothing of them is written down beforehand: a softmax is the one that `generate` draws by, a dropout the one of a layer
in training, FLOPs are the ledger's.
"""

from __future__ import annotations

from importlib import import_module
from typing import Final

import msgspec

from archcalc.errors import InputError, nearest, shown
from archcalc.words import msg

# Name → whether anything of it is drawn, by a seed.
DEMOS: Final = {"softmax": True, "dropout": True, "positions": True, "step": True, "cost": False}


class Demo(msgspec.Struct, frozen=True):
    """What a demonstration came to."""


def run(name: str, seed: int | None = None) -> Demo:
    """The demonstration of this name; `seed` is 0 if left out.

    Raises InputError for a name that is none, and for a seed where nothing is drawn.
    """
    if name not in DEMOS:
        raise InputError(
            msg("no demonstration is called {name}{hint}", name=shown(name), hint=nearest(name, DEMOS)),
            allowed=", ".join(DEMOS),
        )
    if seed is not None and not DEMOS[name]:
        drawn = ", ".join(one for one, is_drawn in DEMOS.items() if is_drawn)
        raise InputError(
            msg("nothing of {name} is drawn", name=name), where="seed", allowed=msg("with {drawn}", drawn=drawn)
        )
    module = import_module(f"archcalc.interp.demos.{name}")
    found: Demo = module.run(seed or 0) if DEMOS[name] else module.run()
    return found
