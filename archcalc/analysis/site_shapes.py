"""The sites of a forward pass, those of the same name and shape together."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Annotated

from archcalc.results import Field, Result, Row, Sureness, data, number, product, text
from archcalc.spec import Spec
from archcalc.spec.model import Family
from archcalc.spec.sites import Site
from archcalc.spec.workload import Workload
from archcalc.words import Message, in_context, msg

_READING = {True: msg("recomputed"), False: in_context("cost", "free")}


class SiteShape(Row, frozen=True, kw_only=True):
    """Sites of one name and shape. Reading one that `is_recomputed` needs an extra computation."""

    path: Annotated[str, text(msg("site"))]
    layers: Annotated[int, data(msg("layers"))]
    layer_indices: Annotated[tuple[int, ...], number(in_context("by number", "layers"), "ranges")]
    axes: Annotated[tuple[str, ...], product(msg("axes"))]
    shape: Annotated[tuple[int, ...], product(msg("shape"))]
    elements_per_layer: Annotated[int, number(msg("numbers"), "human")]
    elements: Annotated[int, Field(heading=msg("in all layers"), kind="human", is_summed=True)]
    is_recomputed: Annotated[bool, text(msg("reading"), names=_READING)]
    description: Annotated[str | Message, text(msg("what"))]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "exact"


class SiteList(Result, frozen=True, kw_only=True):
    """The sites that a workload's forward pass reaches, in its order."""

    name: Annotated[str, data(msg("name of the model"))]
    label: Annotated[str, data(msg("title of the model"))]
    family: Annotated[Family, data(msg("family"))]
    workload: Annotated[Workload, data(msg("workload"))]
    sites: Annotated[tuple[SiteShape, ...], data(msg("sites"))]


def site_list(spec: Spec, sites: Sequence[Site], work: Workload) -> SiteList:
    """Return the shapes of the sites. Each follows the one before it in the first layer that has it."""
    groups: dict[tuple[str, str, tuple[int, ...]], list[Site]] = {}
    order: list[tuple[str, str, tuple[int, ...]]] = []
    place = 0
    for site in sites:
        if (shape := site.shape(work)) is None:
            continue
        key = path_pattern(site), site.axes, shape
        if key not in groups:
            order.insert(place, key)
        place = order.index(key) + 1
        groups.setdefault(key, []).append(site)
    rows = tuple(_row(path, shape, groups[path, axes, shape]) for path, axes, shape in order)
    return SiteList(name=spec.name, label=spec.label, family=spec.family, workload=work, sites=rows)


def path_pattern(site: Site) -> str:
    """Return a site's name with '*' for its layer."""
    return site.name if site.layer is None else site.name.replace(f"layers.{site.layer}.", "layers.*.", 1)


def _row(path: str, shape: tuple[int, ...], sites: Sequence[Site]) -> SiteShape:
    return SiteShape(
        path=path,
        layers=len(sites),
        layer_indices=tuple(site.layer for site in sites if site.layer is not None),
        axes=tuple(sites[0].axes),
        shape=shape,
        elements_per_layer=prod(shape),
        elements=prod(shape) * len(sites),
        is_recomputed=sites[0].is_recomputed,
        description=sites[0].description,
    )
