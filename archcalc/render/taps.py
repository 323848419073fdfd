"""The sites of a forward pass, as a page."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import Any

import msgspec

from archcalc.render.flops import subtitle
from archcalc.render.page import Column, Page, Table, Text
from archcalc.spec import Spec
from archcalc.spec.sites import Site
from archcalc.spec.workload import Workload
from archcalc.units import exact
from archcalc.words import Message, in_context, joined, msg

AXES: dict[str, str | Message] = {
    "B": msg("batch"),
    "T": msg("tokens of the pass"),
    "S": msg("key tokens"),
    "V": msg("vocabulary"),
    "Y": msg("labels"),
    "P": msg("the one place of a whole text"),
    "D": "d_model",
    "N": msg("heads"),
    "K": msg("key and value heads"),
    "H": msg("head width"),
    "U": msg("value width"),
    "C": "kv_rank",
    "R": "d_rope",
    "F": msg("feed-forward width"),
    "E": msg("experts"),
    "k": msg("chosen experts"),
}
NOTES = (
    msg(
        "Shapes are exact. What is read costs its memory alone; scores and patterns are computed beside the kernel, "
        "unless"
    ),
    msg(
        "that is the eager one. In Python: taps.record(model, ids, sites=…), taps.edit(model, taps.Edit(site, layer, "
        "fn))."
    ),
)


Kind = tuple[str, str, tuple[int, ...]]  # name, axes, shape


class Alike(msgspec.Struct, frozen=True):
    """Sites of one kind: their name with * for the layer, the layers that have it, and one of them."""

    name: str
    layers: list[int]
    site: Site
    shape: tuple[int, ...]


def alike(found: Sequence[Site], work: Workload) -> list[Alike]:
    """Sites that a workload comes by, those of one name and shape together.

    Each stands after what comes before it in the first layer that has it.
    """
    kinds: dict[Kind, list[Site]] = {}
    order: list[Kind] = []
    place = 0
    for site in found:
        if (shape := site.shape(work)) is None:
            continue
        kind = path_pattern(site), site.axes, shape
        if kind not in kinds:
            order.insert(place, kind)
        place = order.index(kind) + 1
        kinds.setdefault(kind, []).append(site)
    return [_alike(kind, kinds[kind]) for kind in order]


def _alike(kind: Kind, found: Sequence[Site]) -> Alike:
    return Alike(kind[0], [site.layer for site in found if site.layer is not None], found[0], kind[2])


def path_pattern(site: Site) -> str:
    """A site's name with * for its layer."""
    return site.name if site.layer is None else site.name.replace(f"layers.{site.layer}.", "layers.*.", 1)


def page(spec: Spec, found: Sequence[Site], work: Workload) -> Page:
    """What can be read and written in a forward pass over a workload."""
    kinds = alike(found, work)
    columns = (
        Column(msg("site")),
        Column(in_context("by number", "layers")),
        Column(msg("axes")),
        Column(msg("shape")),
        Column(msg("numbers"), "human"),
        Column(msg("reading")),
        Column(msg("what")),
    )
    rows: list[tuple[Any, ...]] = [
        (
            kind.name,
            ranges(kind.layers),
            " ".join(kind.site.axes),
            " × ".join(map(exact, kind.shape)),
            prod(kind.shape),
            _reading(kind.site),
            kind.site.description,
        )
        for kind in kinds
    ]
    every = sum(prod(kind.shape) * max(1, len(kind.layers)) for kind in kinds)
    rows.append((msg("all, in every layer"), "", "", "", every, "", ""))
    used = {axis for kind in kinds for axis in kind.site.axes}
    legend = joined(", ", (joined(" ", pair) for pair in AXES.items() if pair[0] in used))
    return Page(
        msg("{label}: what can be read and written", label=spec.label),
        subtitle(spec, work),
        [
            Table(msg("Sites, in the order of the pass"), columns, rows, n_sums=1),
            Text("", [msg("Axes: {legend}.", legend=legend), *NOTES]),
        ],
    )


def data(spec: Spec, found: Sequence[Site], work: Workload) -> list[dict[str, Any]]:
    """The same as plain data."""
    return [
        {
            "site": kind.name,
            "layers": kind.layers,
            "axes": kind.site.axes,
            "shape": list(kind.shape),
            "recomputed": kind.site.is_recomputed,
            "what": str(kind.site.description),
            "kind": "exact",
        }
        for kind in alike(found, work)
    ]


def ranges(layers: Sequence[int]) -> str:
    """Layers in short: '0–5', '0, 2 … 10', '0–4, 6–10, …'."""
    steps = {b - a for a, b in pairwise(layers)}
    if len(layers) > 3 and len(steps) == 1 and steps != {1}:
        return f"{layers[0]}, {layers[1]} … {layers[-1]}"
    runs: list[list[int]] = []
    for layer in layers:
        if runs and layer == runs[-1][-1] + 1:
            runs[-1].append(layer)
        else:
            runs.append([layer])
    words = [str(run[0]) if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in runs]
    return ", ".join(words[:3] + ["…"] * (len(words) > 3))


def _reading(site: Site) -> Message:
    return msg("recomputed") if site.is_recomputed else in_context("cost", "free")
