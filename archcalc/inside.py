"""Look inside a model that runs: `archcalc.inside`.

The functions take a model from `archcalc.load_model`, `archcalc.build` or `archcalc.random_model` that is not packed,
and leave it unchanged.
"""

from __future__ import annotations

from archcalc._lazy import lookup

_HOMES = {
    "Contrast": "archcalc.interp.steer.direction:Contrast",
    "Direction": "archcalc.interp.steer.direction:Direction",
    "Readout": "archcalc.interp.readout:Readout",
    "SteeredText": "archcalc.interp.steer.texts:SteeredText",
    "direction": "archcalc.interp.steer.direction:direction",
    "load_direction": "archcalc.interp.steer.direction_file:load_direction",
    "save_direction": "archcalc.interp.steer.direction_file:save_direction",
    "steer": "archcalc.interp.steer.edits:steer",
    "steered_text": "archcalc.interp.steer.texts:steered_text",
}

__all__ = list(_HOMES)


def _check() -> None:
    from archcalc.extras import require
    from archcalc.words import msg

    require("torch", does=msg("looking into a model"), extra="model")


__getattr__ = lookup(__name__, _HOMES, _check)


def __dir__() -> list[str]:
    return __all__
