"""Edits of a forward pass, site by site.

Axes: B batch, T tokens, S key tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from archcalc.errors import InputError, shown
from archcalc.nn.taps.points import taps_disabled
from archcalc.nn.taps.selection import Positions, check_positions, position_mask
from archcalc.spec import Spec
from archcalc.spec.sites import Site, find_sites
from archcalc.words import msg


@dataclass(frozen=True)
class Edit:
    """Replace a site's value with what `fn` returns for it.

    `site` is a name as `sites` lists them, with * for several; with a `layer`, it is the part of the name after the
    layer ("attn.pattern", "decoder.resid_mid"). `fn` gets a copy of the value in this pass, with the site's axes, and
    returns a tensor of the same shape and dtype. `at` selects the positions of the tokens to change: a number, several,
    a slice such as `slice(7, None)`, or None for all; `keys` those of the columns of scores and patterns. Positions
    count from a row's first token, 0, in every pass; padding has none. `fn` is not called in a pass that reads none of
    them.
    """

    site: str
    layer: int | None
    fn: Callable[[Tensor], Tensor]
    at: Positions = None
    keys: Positions = None

    def sites(self, spec: Spec) -> list[Site]:
        """Return the sites to change. Raises InputError if there are none, or if `keys` is set and they have none."""
        sites = find_sites(spec, self._name(spec))
        if self.keys is not None and (without_keys := [site.name for site in sites if site.axes[-1] != "S"]):
            raise InputError(msg("its columns are not keys"), where=f"{without_keys[0]}: keys", allowed=msg("no value"))
        return sites

    def _name(self, spec: Spec) -> str:
        if self.layer is None:
            return self.site
        for model_stack in spec.stacks:
            prefix = model_stack.prefix
            if self.site.startswith(prefix):
                n_layers = model_stack.stack.n_layers or 0
                if isinstance(self.layer, bool) or not isinstance(self.layer, int) or not 0 <= self.layer < n_layers:
                    raise InputError(
                        msg("found {found}", found=shown(self.layer)),
                        where="layer",
                        allowed=msg("0 to {n_layers}", n_layers=n_layers - 1),
                    )
                return f"{prefix}layers.{self.layer}.{self.site.removeprefix(prefix)}"
        raise InputError(
            msg("{site} is in no stack", site=shown(self.site)),
            where="site",
            allowed=msg("{names} before it", names=" or ".join(repr(stack.prefix) for stack in spec.stacks)),
        )


class ActiveEdit:
    """An edit in use, and how often it has been applied."""

    def __init__(self, edit: Edit) -> None:
        self.fn, self.n_applied = edit.fn, 0
        self.at, self.keys = (
            check_positions(edit.at, f"{edit.site}: at"),
            check_positions(edit.keys, f"{edit.site}: keys"),
        )

    def __call__(self, site: Site, x: Tensor, positions: Tensor, keys: Tensor | None) -> Tensor:
        """Return the value with the selected tokens changed."""
        masks = [
            _broadcast_mask(position_mask(selection, token_positions), site.axes, axis)
            for selection, token_positions, axis in ((self.at, positions, tokens_axis(site)), (self.keys, keys, "S"))
            if selection is not None and token_positions is not None
        ]
        if any(not mask.is_meta and not mask.any() for mask in masks):
            return x
        with taps_disabled():
            y = self.fn(x.clone())
        _check(site, x, y)
        self.n_applied += 1
        for mask in masks:
            y = torch.where(mask, y, x)
        return y


def tokens_axis(site: Site) -> str:
    """Return the axis of a site's tokens; 'P' where values are of its first tokens alone, 'G' of entries."""
    return next((axis for axis in "TSG" if axis in site.axes), "P")


def _broadcast_mask(mask: Tensor, axes: str, axis: str) -> Tensor:
    """Return a mask [n] or [B, n] that broadcasts over a value of these axes."""
    shape = [1] * len(axes)
    shape[axes.index(axis)] = mask.shape[-1]
    if mask.dim() == 2:
        shape[0] = mask.shape[0]
    return mask.view(shape)


def _check(site: Site, x: Tensor, y: object) -> None:
    if isinstance(y, Tensor) and (y.shape, y.dtype, y.device) == (x.shape, x.dtype, x.device):
        return
    found = f"{list(y.shape)} of {y.dtype} on {y.device}" if isinstance(y, Tensor) else shown(y)
    raise InputError(
        msg("the edit returns {found}", found=found),
        where=site.name,
        allowed=msg("{shape} of {dtype} on {device}", shape=list(x.shape), dtype=x.dtype, device=x.device),
    )
