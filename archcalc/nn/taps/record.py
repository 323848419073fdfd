"""Record and edit a forward pass.

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
from archcalc.nn.taps.model_tap import ModelTap, attached, canonical_spec
from archcalc.spec.sites import Site, find_sites
from archcalc.words import msg


class Recording(Mapping[str, Tensor]):
    """The values of one pass by site name, in the order of the pass.

    `logits` is the model's output: without a head, its last states.
    """

    logits: Tensor

    def __init__(self) -> None:
        self._values: dict[str, Tensor] = {}
        self._positions: dict[str, tuple[Tensor, Tensor | None]] = {}

    def __getitem__(self, name: str) -> Tensor:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def positions(self, name: str) -> Tensor:
        """Return the positions of a site's tokens: [T], or [B, T] with −1 where rows are padded."""
        return self._positions[name][0]

    def key_positions(self, name: str) -> Tensor:
        """Return the positions of a site's keys, [S] or [B, S]. Raises InputError for a site without keys."""
        keys = self._positions[name][1]
        if keys is None:
            raise InputError(
                msg("has no axis of keys"), where=name, allowed=msg("scores, patterns, and keys of all tokens")
            )
        return keys

    def add(self, site: Site, x: Tensor, positions: Tensor, keys: Tensor | None) -> None:
        """Store the value of a site."""
        self._values[site.name], self._positions[site.name] = x, (positions, keys)


def record(
    model: Any,
    *ids: Tensor | None,
    sites: str | Sequence[str] | None = None,
    edits: Sequence[Edit] = (),
    grad: bool = False,
    **kwargs: Any,
) -> Recording:
    """Run a model once and record some sites, by name or pattern (`layers.*.attn.q`); all if left out.

    `ids` and `kwargs` (cache, padding …) are the model's own arguments. Its output is bit for bit what it is without
    recording: scores and patterns are computed next to the kernel that it uses. `edits` apply to this run, after those
    that are active anyway; recorded values are those after the edits. With `grad` the graph is kept, so that gradients
    at the sites can be computed. Raises InputError for an unknown site, a site that this pass does not reach (of the
    source, if it is cached), and a packed model.
    """
    spec, recording = canonical_spec(model), Recording()
    patterns = ["*"] if sites is None else [sites] if isinstance(sites, str) else list(sites)
    names = frozenset(site.name for site in find_sites(spec, *patterns))
    with attached(ModelTap(model, edits, names, recording.add)), torch.set_grad_enabled(grad):
        recording.logits = model(*ids, **kwargs)
    if missing := [name for name in patterns if name in names and name not in recording]:
        raise InputError(
            msg("this pass does not come by it"), where=missing[0], allowed=msg("a pass that reads the source")
        )
    return recording


@contextmanager
def edit(model: Any, *edits: Edit) -> Iterator[ModelTap]:
    """Edit every forward pass of this model inside the block, in a generation too; other models are not edited.

    Edits of one site apply in order, those of an outer `edit` first. Editing scores or a pattern switches that
    attention to the eager kernel, with an EagerAttentionWarning if it used another. Edits are active on this thread
    alone; multi-token modules (`multi_token_logits`) have no sites. `applied` of the yielded object counts how often
    each edit was applied. Raises InputError for an unknown site or layer, and for a packed model.
    """
    model_tap = ModelTap(model, edits)
    with attached(model_tap):
        yield model_tap
