"""Look inside a model that runs: `archcalc.inside`.

The functions take a model from `archcalc.load_model`, `archcalc.build` or `archcalc.random_model` that is not packed,
and leave it unchanged.
"""

from __future__ import annotations

from archcalc._lazy import lookup

_HOMES = {
    "AttentionReading": "archcalc.interp.heads.patterns:AttentionReading",
    "Attribution": "archcalc.interp.heads.attribution:Attribution",
    "Readout": "archcalc.interp.readout:Readout",
    "attention": "archcalc.interp.heads.patterns:attention",
    "attribute": "archcalc.interp.heads.attribution:attribute",
}

__all__ = list(_HOMES)


def _check() -> None:
    from archcalc.extras import require
    from archcalc.words import msg

    require("torch", does=msg("looking into a model"), extra="model")


__getattr__ = lookup(__name__, _HOMES, _check)


def __dir__() -> list[str]:
    return __all__
