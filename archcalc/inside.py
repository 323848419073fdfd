"""Look inside a model that runs: `archcalc.inside`.

The functions take a model from `archcalc.load_model`, `archcalc.build` or `archcalc.random_model` that is not packed,
and leave it unchanged.
"""

from __future__ import annotations

from archcalc._lazy import lookup

_HOMES = {
    "Readout": "archcalc.interp.readout:Readout",
    "analogy": "archcalc.interp.embed.neighbors:analogy",
    "contextual_similarity": "archcalc.interp.embed.contexts:contextual_similarity",
    "neighbors": "archcalc.interp.embed.neighbors:neighbors",
    "principal_components": "archcalc.interp.embed.projection:principal_components",
    "projection": "archcalc.interp.embed.projection:projection",
    "token_table": "archcalc.interp.embed.vectors:token_table",
}

__all__ = list(_HOMES)


def _check() -> None:
    from archcalc.extras import require
    from archcalc.words import msg

    require("torch", does=msg("looking into a model"), extra="model")


__getattr__ = lookup(__name__, _HOMES, _check)


def __dir__() -> list[str]:
    return __all__
