"""The named points of a layer with several residual streams."""

from __future__ import annotations

from collections.abc import Iterator

from archcalc.spec.branches import later_branches, names, stream_branches, streams_names
from archcalc.spec.layer import Layer
from archcalc.spec.sites import Site, Sizes, branch_sites, layer_sites, states_site
from archcalc.spec.streams import AltUp, HyperConnections, SetAside
from archcalc.words import Message, msg


def altup(part: AltUp, layer: Layer, width: Sizes, index: int) -> Iterator[Site]:
    """Yield the sites of a layer that computes one of its streams."""
    yield all_streams("predicted", msg("all streams, mixed before the layer"), part, width)
    yield from layer_sites(layer, width)
    yield all_streams("corrected", msg("all streams, with what the layer changed"), part, width)
    if later := later_branches(layer):
        yield states_site("active", msg("the active stream, corrected: what the last branches read"), width)
    for branch in later:
        yield from branch_sites(branch, width)
    yield all_streams("streams", msg("all streams after the layer"), part, width)


def hyper(part: HyperConnections, layer: Layer, width: Sizes, index: int) -> Iterator[Site]:
    """Yield the sites of a layer whose branches read and write all streams."""
    n = part.n_streams
    sizes = {"Z": 2 * n + (n * n if part.mix else 0)}
    for branch, name_after in zip(stream_branches(layer), streams_names(layer), strict=True):
        first = branch.arms[0].name
        weights = msg("what follows from the streams: how they are read and written")
        yield Site(name=f"{first}_streams", axes="BTZ", description=weights, sizes=sizes)
        yield states_site(f"{first}_read", msg("the weighted sum of all streams that the branch reads"), width)
        yield from branch_sites(branch, width)
        after = msg("all streams after the layer") if name_after == "streams" else msg("all streams after a branch")
        yield all_streams(name_after, after, part, width)


def set_aside(part: SetAside, layer: Layer, width: Sizes, index: int) -> Iterator[Site]:
    """Yield the sites of a layer whose branches read all streams and are added to the newest."""
    n = part.n_before(index)
    for branch, name_after in zip(stream_branches(layer), streams_names(layer), strict=True):
        first, is_split = branch.arms[0].name, names(branch).norm_keys is not None
        if n == 1:
            yield states_site(f"{first}_read", msg("the one stream, which the branch reads"), width)
        else:
            yield states_site(f"{first}_read", msg("the weighted sum of all streams that the branch reads"), width)
        if is_split and n > 1:
            yield states_site(f"{first}_read_keys", msg("the weighted sum of all streams that keys read"), width)
            yield states_site(f"{first}_read_values", msg("the weighted sum of all streams that values read"), width)
        yield from branch_sites(branch, width)
        n = part.n_before(index + 1)
        after = msg("all streams after the layer") if name_after == "streams" else msg("all streams after a branch")
        yield Site(name=name_after, axes="BTMD", description=after, sizes={"M": n} | width)


def all_streams(name: str, description: Message, part: AltUp | HyperConnections, width: Sizes) -> Site:
    """Return a site of all streams [B, T, M, D]."""
    return Site(name=name, axes="BTMD", description=description, sizes={"M": part.n_streams} | width)
