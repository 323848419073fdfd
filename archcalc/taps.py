"""Read and edit named points (sites) of a forward pass: `archcalc.taps`.

The functions take a model from `archcalc.load_model`, `archcalc.build` or `archcalc.random_model` that is not packed,
and leave it unchanged. `archcalc taps SOURCE` lists the sites of a model. Positions count from the start of the text,
with or without a KV cache.

Examples:
    >>> import archcalc, torch
    >>> model, ids_BT = archcalc.load_model("tiny"), torch.tensor([[1, 2, 3, 4]])
    >>> archcalc.taps.record(model, ids_BT, sites="layers.*.attn.pattern")["layers.2.attn.pattern"].shape
    torch.Size([1, 6, 4, 4])
    >>> edit = archcalc.taps.Edit("resid_post", 3, lambda x_BTD: 0 * x_BTD, at=slice(2, None))
    >>> with archcalc.taps.edit(model, edit):
    ...     model(ids_BT).shape
    torch.Size([1, 4, 2048])
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from archcalc._lazy import lookup

if TYPE_CHECKING:
    from archcalc.nn.taps import EagerAttentionWarning, Edit, Recording, Site, edit, record, sites

__all__ = ["EagerAttentionWarning", "Edit", "Recording", "Site", "edit", "record", "sites"]


def _check() -> None:
    from archcalc.extras import require
    from archcalc.words import msg

    require("torch", does=msg("looking into a model"), extra="model")


__getattr__ = lookup(__name__, {name: f"archcalc.nn.taps:{name}" for name in __all__}, _check)


def __dir__() -> list[str]:
    return __all__
