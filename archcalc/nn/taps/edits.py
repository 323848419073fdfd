"""Changes of what a forward pass makes, site by site.

Axes: B batch, T tokens, S key tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from archcalc.errors import InputError, shown
from archcalc.nn.taps.points import unwatched
from archcalc.nn.taps.positions import At, among, checked
from archcalc.spec import Spec
from archcalc.spec.sites import Site, find_sites
from archcalc.words import msg


@dataclass(frozen=True)
class Edit:
    """What `fn` makes of a site's value takes its place.

    `site` is a name as `sites` lists them, with * for several; with a `layer`, it is the layer's part of the name
    ("attn.pattern", "decoder.resid_mid"), else the whole. `fn` gets a copy of the value in this pass, with the site's
    axes, and returns one of the same shape and dtype. `at` are the positions of the tokens that change: a number,
    several, a slice such as `slice(7, None)`, None for all; `keys`, of scores and patterns, those of their columns.
    Positions are places in the text, whatever pass reads them: a row's first token stands at 0, padding nowhere. `fn`
    is not called in a pass that reads none of them.
    """

    site: str
    layer: int | None
    fn: Callable[[Tensor], Tensor]
    at: At = None
    keys: At = None

    def sites(self, spec: Spec) -> list[Site]:
        """The sites that it changes. Raises InputError if there are none, or they have no keys to choose from."""
        found = find_sites(spec, self._name(spec))
        if self.keys is not None and (wrong := [site.name for site in found if site.axes[-1] != "S"]):
            raise InputError(msg("its columns are not keys"), where=f"{wrong[0]}: keys", allowed=msg("left out"))
        return found

    def _name(self, spec: Spec) -> str:
        if self.layer is None:
            return self.site
        for each in spec.stacks:
            prefix, stack = each.prefix, each.stack
            if self.site.startswith(prefix):
                n_layers = stack.n_layers or 0
                if isinstance(self.layer, bool) or not isinstance(self.layer, int) or not 0 <= self.layer < n_layers:
                    raise InputError(
                        msg("found {layer}", layer=shown(self.layer)),
                        where="layer",
                        allowed=msg("0 to {n_layers}", n_layers=n_layers - 1),
                    )
                return f"{prefix}layers.{self.layer}.{self.site.removeprefix(prefix)}"
        raise InputError(
            msg("{site} is in no stack", site=shown(self.site)),
            where="site",
            allowed=msg("{names} before it", names=" or ".join(repr(each.prefix) for each in spec.stacks)),
        )


class Applied:
    """An edit at work, and in how many places so far."""

    def __init__(self, edit: Edit) -> None:
        self.fn, self.times = edit.fn, 0
        self.at, self.keys = checked(edit.at, f"{edit.site}: at"), checked(edit.keys, f"{edit.site}: keys")

    def __call__(self, site: Site, x: Tensor, standing: Tensor, keys: Tensor | None) -> Tensor:
        """The value, changed where tokens stand that this is about."""
        chosen = [
            _along(among(at, places), site.axes, axis)
            for at, places, axis in ((self.at, standing, tokens_axis(site)), (self.keys, keys, "S"))
            if at is not None and places is not None
        ]
        if any(not mask.is_meta and not mask.any() for mask in chosen):
            return x
        with unwatched():
            y = self.fn(x.clone())
        _check(site, x, y)
        self.times += 1
        for mask in chosen:
            y = torch.where(mask, y, x)
        return y


def tokens_axis(site: Site) -> str:
    """The axis along which a site's tokens stand; 'P' where one state stands for a whole text, at its first."""
    return next((axis for axis in "TS" if axis in site.axes), "P")


def _along(mask: Tensor, axes: str, axis: str) -> Tensor:
    """A mask [n] or [B, n] as it meets a value of these axes."""
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
