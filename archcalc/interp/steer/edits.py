"""Edits that steer: a direction added to the residual stream, or projected out of it.

Adding: Rimsky et al. 2024, section 3. Projecting out: Arditi et al. 2024, section 2.4, directional ablation.

Axes: B batch, T tokens, D model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import isfinite

from torch import Tensor

from archcalc.errors import InputError
from archcalc.interp.steer.direction import Direction, check_width
from archcalc.interp.steer.layers import check_layers, site_name
from archcalc.nn.taps.edits import Edit
from archcalc.nn.taps.selection import Positions
from archcalc.words import msg


def steer(
    direction: Direction,
    strength: float | None = None,
    *,
    project_out: bool = False,
    layers: Sequence[int] | None = None,
    from_layer: int | None = None,
    at: Positions = None,
) -> tuple[Edit, ...]:
    """Return the edits that steer by a direction, for `archcalc.taps.edit`: it is either added or projected out.

    With a `strength`, `strength` × the mean norm of the residual stream after a layer (`Contrast.norm`) × the unit
    vector is added to the stream after each of `layers`. Strength 0 needs no edits. With `project_out`, the component
    along the vector is removed wherever a layer reads or writes the stream: before it, between its branches, after it.

    layers: all that the direction has if left out. from_layer: use the vector of this layer in all of them. at: the
    positions of the tokens, as in `archcalc.taps.Edit`. Raises InputError for both operations or none, a strength that
    is not finite, and a layer that the direction does not have.
    """
    if (strength is None) != project_out:
        raise InputError(
            msg("both") if project_out else msg("neither"), where="strength, project_out", allowed=msg("one of them")
        )
    if strength is not None and not isfinite(strength):
        raise InputError(msg("found {found}", found=strength), where="strength", allowed=msg("a finite number"))
    if from_layer is not None:
        check_layers([from_layer], direction.vectors, "from_layer")
    vectors = direction.vectors
    if from_layer is not None:
        vectors = dict.fromkeys(direction.contrasts, direction.vectors[from_layer])
        if project_out and layers is not None:
            vectors = dict.fromkeys(layers, direction.vectors[from_layer])  # needs no norm at these layers
    chosen = {layer: vectors[layer] for layer in check_layers(layers, vectors)}
    edits = _projections(direction, chosen, at) if strength is None else _additions(direction, chosen, strength, at)
    return tuple(edits)


def _additions(direction: Direction, vectors: Mapping[int, Tensor], strength: float, at: Positions) -> Iterator[Edit]:
    for layer, vector_D in vectors.items() if strength else ():
        offset_D = strength * direction.contrasts[layer].norm * _unit(vector_D)
        yield Edit(site_name(direction.stack, "resid_post"), layer, _addition(offset_D), at=at)


def _projections(direction: Direction, vectors: Mapping[int, Tensor], at: Positions) -> Iterator[Edit]:
    for layer, vector_D in vectors.items():
        yield Edit(site_name(direction.stack, "resid_*"), layer, _projection(_unit(vector_D)), at=at)


def _unit(vector_D: Tensor) -> Tensor:
    """Return a vector of length 1 in float64, so that steps round only once."""
    unit_D: Tensor = vector_D.double() / vector_D.double().norm()
    return unit_D


def _addition(offset_D: Tensor) -> Callable[[Tensor], Tensor]:
    def add(x_BTD: Tensor) -> Tensor:
        return (x_BTD.double() + _fitted(offset_D, x_BTD)).to(x_BTD.dtype)

    return add


def _projection(vector_D: Tensor) -> Callable[[Tensor], Tensor]:
    def project_out(x_BTD: Tensor) -> Tensor:
        unit_D, y_BTD = _fitted(vector_D, x_BTD), x_BTD.double()
        return (y_BTD - (y_BTD @ unit_D).unsqueeze(-1) * unit_D).to(x_BTD.dtype)

    return project_out


def _fitted(vector_D: Tensor, x_BTD: Tensor) -> Tensor:
    """Return the vector on the device of the states. Raises InputError if their widths differ."""
    if vector_D.shape != x_BTD.shape[-1:]:
        check_width(vector_D.numel(), x_BTD.shape[-1])
    return vector_D.to(x_BTD.device)
