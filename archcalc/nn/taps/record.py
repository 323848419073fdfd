"""Reading a forward pass, and changing it.

Axes: B batch, T tokens, S key tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from archcalc.errors import InputError
from archcalc.nn.taps.edits import Edit
from archcalc.nn.taps.watch import Watch, checked_spec, watching
from archcalc.spec.sites import Site, find_sites
from archcalc.words import msg


class Recording(Mapping[str, Tensor]):
    """What stood at each site of one pass, by its name, in the order in which the pass came by.

    `logits` is what the model returned: without a head, its last states.
    """

    logits: Tensor

    def __init__(self) -> None:
        self._values: dict[str, Tensor] = {}
        self._places: dict[str, tuple[Tensor, Tensor | None]] = {}

    def __getitem__(self, name: str) -> Tensor:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def positions(self, name: str) -> Tensor:
        """Where a site's tokens stand in their texts: [T], or where rows are padded [B, T] with −1 for padding."""
        return self._places[name][0]

    def key_positions(self, name: str) -> Tensor:
        """Where the keys of its columns stand: [S] or [B, S]. Raises InputError for a site without an axis of keys."""
        keys = self._places[name][1]
        if keys is None:
            raise InputError(
                msg("has no axis of keys"), where=name, allowed=msg("scores, patterns, and keys of all tokens")
            )
        return keys

    def take(self, site: Site, x: Tensor, standing: Tensor, keys: Tensor | None) -> None:
        """Keep what stands at a site."""
        self._values[site.name], self._places[site.name] = x, (standing, keys)


def record(
    model: Any,
    *ids: Tensor | None,
    sites: str | Sequence[str] | None = None,
    edits: Sequence[Edit] = (),
    grad: bool = False,
    **more: Any,
) -> Recording:
    """Run a model once and keep what stands at some sites, by name or like `layers.*.attn.q`; all if left out.

    `ids` and `more` (cache, padding …) are the model's own; nothing is added to them. What it returns is bit for bit
    what it returns otherwise: scores and patterns are computed beside the kernel that it uses. `edits` hold for this
    run, after those that hold anyway; what is kept is what the pass goes on with. With `grad` the graph is kept, so
    that gradients at the sites can be asked for. Raises InputError for an unknown site, one that this pass does not
    come by (the source's, where a cache has it), and a model that is packed.
    """
    spec, found = checked_spec(model), Recording()
    wanted = ["*"] if sites is None else [sites] if isinstance(sites, str) else list(sites)
    names = frozenset(site.name for pattern in wanted for site in find_sites(spec, pattern))
    with watching(Watch(model, edits, names, found.take)), torch.set_grad_enabled(grad):
        found.logits = model(*ids, **more)
    if missed := [name for name in wanted if name in names and name not in found]:
        raise InputError(
            msg("this pass does not come by it"), where=missed[0], allowed=msg("a pass that reads the source")
        )
    return found


@contextmanager
def edit(model: Any, *edits: Edit) -> Iterator[Watch]:
    """While it lasts, every forward pass of this model, in a generation too, is changed so; those of others are not.

    Edits of one site come one after the other, those of an outer `edit` first. Editing scores or a pattern switches
    that attention to the eager kernel, with an EagerAttentionWarning if it used another. It holds on this thread alone;
    modules for further tokens (`predict_further`) have no sites. `applied` of what is given tells how often each edit
    came about. Raises InputError for a site or a layer that is not there, and a model that is packed.
    """
    watch = Watch(model, edits)
    with watching(watch):
        yield watch
