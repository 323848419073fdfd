"""Look inside a model that runs: `archcalc.inside`.

The functions take a model from `archcalc.load_model`, `archcalc.build` or `archcalc.random_model` that is not packed,
and leave it unchanged.
"""

from __future__ import annotations

from archcalc._lazy import lookup

_HOMES = {
    "AttentionReading": "archcalc.interp.heads.patterns:AttentionReading",
    "Attribution": "archcalc.interp.heads.attribution:Attribution",
    "Contrast": "archcalc.interp.steer.direction:Contrast",
    "Direction": "archcalc.interp.steer.direction:Direction",
    "Lens": "archcalc.interp.lens.maps:Lens",
    "LensReading": "archcalc.interp.lens.reading:LensReading",
    "Noise": "archcalc.interp.patch.corruption:Noise",
    "Patching": "archcalc.interp.patch.run:Patching",
    "Patchscope": "archcalc.interp.patchscope.run:Patchscope",
    "Readout": "archcalc.interp.readout:Readout",
    "SteeredText": "archcalc.interp.steer.texts:SteeredText",
    "analogy": "archcalc.interp.embed.neighbors:analogy",
    "attention": "archcalc.interp.heads.patterns:attention",
    "attribute": "archcalc.interp.heads.attribution:attribute",
    "contextual_similarity": "archcalc.interp.embed.contexts:contextual_similarity",
    "difference_neighbors": "archcalc.interp.embed.neighbors:difference_neighbors",
    "direction": "archcalc.interp.steer.direction:direction",
    "direction_neighbors": "archcalc.interp.embed.neighbors:direction_neighbors",
    "jacobian_lens": "archcalc.interp.lens.jacobian:jacobian_lens",
    "lens": "archcalc.interp.lens.reading:lens",
    "lens_divergences": "archcalc.interp.lens.divergence:divergences",
    "load_direction": "archcalc.interp.steer.direction_file:load_direction",
    "load_lens": "archcalc.interp.lens.lens_file:load_lens",
    "neighbors": "archcalc.interp.embed.neighbors:neighbors",
    "patch": "archcalc.interp.patch.run:patch",
    "patchscope": "archcalc.interp.patchscope.run:patchscope",
    "principal_components": "archcalc.interp.embed.projection:principal_components",
    "projection": "archcalc.interp.embed.projection:projection",
    "save_direction": "archcalc.interp.steer.direction_file:save_direction",
    "save_lens": "archcalc.interp.lens.lens_file:save_lens",
    "steer": "archcalc.interp.steer.edits:steer",
    "steered_text": "archcalc.interp.steer.texts:steered_text",
    "token_table": "archcalc.interp.embed.vectors:token_table",
    "train_lens": "archcalc.interp.lens.training:train_lens",
}

__all__ = list(_HOMES)


def _check() -> None:
    from archcalc.extras import require
    from archcalc.words import msg

    require("torch", does=msg("looking into a model"), extra="model")


__getattr__ = lookup(__name__, _HOMES, _check)


def __dir__() -> list[str]:
    return __all__
