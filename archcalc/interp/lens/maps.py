"""Lenses as affine maps of the residual stream, one for each site, before the final norm and the head.

Axes: B batch, T tokens, D model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor

from archcalc.errors import InputError, shown
from archcalc.interp.readout import read_stack, stream_sites
from archcalc.spec import Spec
from archcalc.spec.sites import Site
from archcalc.words import msg

LensKind = Literal["logit", "tuned", "jacobian"]
LensSites = Literal["branches", "layers"]
SiteMap = tuple[Tensor, Tensor | None]


@dataclass(frozen=True)
class Lens:
    """Affine maps of states [D] to the last layer's space: by site, a weight [D, D] and a bias [D] or None.

    A site without a map is read as it is, as by the logit lens. `origin` says what the maps were made of.
    """

    kind: LensKind = "logit"
    maps: Mapping[str, SiteMap] = field(default_factory=dict)
    origin: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, site: str, x_BTD: Tensor) -> Tensor:
        """Return the states of a site, mapped."""
        if site not in self.maps:
            return x_BTD
        weight, bias = self.maps[site]
        y_BTD = x_BTD @ weight.to(x_BTD).T
        return y_BTD if bias is None else y_BTD + bias.to(x_BTD)

    def check(self, spec: Spec) -> None:
        """Raise InputError if the maps are not of this model's residual stream."""
        names, width = {site.name for site in stream_sites(spec)}, read_stack(spec).model.d_model
        for name, (weight, _) in self.maps.items():
            if name not in names:
                raise InputError(
                    msg("has a map for {name}", name=shown(name)), where="lens", allowed=msg("a lens of this model")
                )
            if weight.shape != (width, width):
                found, expected = " × ".join(map(str, weight.shape)), f"{width} × {width}"
                raise InputError(
                    msg("{name} is {found}", name=name, found=found),
                    where="lens",
                    allowed=msg("{expected}, a lens of this model", expected=expected),
                )


def lens_sites(spec: Spec, which: LensSites = "branches") -> tuple[Site, ...]:
    """Return the sites that a lens reads: the stream before and after every branch, or only at the ends of layers."""
    if which not in ("branches", "layers"):
        raise InputError(msg("found {found}", found=shown(which)), where="sites", allowed="branches, layers")
    every = stream_sites(spec)
    return every if which == "branches" else tuple(site for site in every if _is_end(site))


def _is_end(site: Site) -> bool:
    """Return whether a site of the residual stream is before the first layer or after one."""
    return site.name.rpartition(".")[2] in ("split", "resid_pre", "resid_post", "streams")
