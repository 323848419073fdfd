"""Look inside a model that runs: `archcalc.inside`.

The functions take a model from `archcalc.load_model`, `archcalc.build` or `archcalc.random_model` that is not packed,
and leave it unchanged.
"""

from __future__ import annotations

from archcalc._lazy import lookup

_HOMES = {
    "Noise": "archcalc.interp.patch.corruption:Noise",
    "Patching": "archcalc.interp.patch.run:Patching",
    "Patchscope": "archcalc.interp.patchscope.run:Patchscope",
    "Readout": "archcalc.interp.readout:Readout",
    "patch": "archcalc.interp.patch.run:patch",
    "patchscope": "archcalc.interp.patchscope.run:patchscope",
}

__all__ = list(_HOMES)


def _check() -> None:
    from archcalc.extras import require
    from archcalc.words import msg

    require("torch", does=msg("looking into a model"), extra="model")


__getattr__ = lookup(__name__, _HOMES, _check)


def __dir__() -> list[str]:
    return __all__
