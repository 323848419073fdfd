"""Models with active edits and recordings, and their observed forward passes.

Axes: B batch, T tokens, S key tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from archcalc.errors import InputError
from archcalc.nn.attention_context import AttentionContext
from archcalc.nn.taps.edits import ActiveEdit, Edit, tokens_axis
from archcalc.nn.taps.points import OBSERVER_FACTORY, Observer, taps_enabled
from archcalc.spec import Spec
from archcalc.spec.sites import Site, sites
from archcalc.spec.variants import implementations
from archcalc.words import msg

# Called with a site, its value after edits, and the positions of its tokens and of its keys.
Callback = Callable[[Site, Tensor, Tensor, Tensor | None], None]


class ModelTap:
    """A model with its active edits and recording callback."""

    def __init__(
        self,
        model: Any,
        edits: Sequence[Edit] = (),
        read_sites: frozenset[str] = frozenset(),
        callback: Callback | None = None,
    ):
        spec = canonical_spec(model)
        self.model, self.read_sites, self.callback = model, read_sites, callback
        self.sites = {site.name: site for site in sites(spec)}
        self.parts = [module for module in model.modules() if getattr(module, "execution", None) is not None]
        self.edits = [ActiveEdit(edit) for edit in edits]
        self.edits_by_site: dict[str, list[ActiveEdit]] = {}
        for edit, active_edit in zip(edits, self.edits, strict=True):
            for site in edit.sites(spec):
                self.edits_by_site.setdefault(site.name, []).append(active_edit)

    @property
    def applied(self) -> list[int]:
        """How often each edit has been applied so far: 0 if no pass reached its positions."""
        return [edit.n_applied for edit in self.edits]

    def visit(self, site: Site, x: Tensor, positions: Tensor, keys: Tensor | None) -> Tensor:
        """Return the value of a site after edits, and record it."""
        for edit in self.edits_by_site.get(site.name, ()):
            x = edit(site, x, positions, keys)
        if self.callback is not None and site.name in self.read_sites:
            self.callback(site, x, positions, keys)
        return x


class PassObserver(Observer):
    """A pass through a model with taps, applied in the order in which they were attached."""

    def __init__(self, taps: Sequence[ModelTap]) -> None:
        self.taps, self.sites = taps, taps[0].sites

    def visit(self, name: str, x: Tensor, context: AttentionContext | None) -> Tensor:
        """Return the value that the pass continues with; rows and tokens may be one axis of `x`."""
        site = self.sites[self.prefix + name]
        if not self.is_read(name):
            return x
        n_tokens = len(self.token_context.positions) + site.n_global
        y = x.reshape(-1, n_tokens, *x.shape[1:]) if x.dim() < len(site.axes) else x
        keys = context.key_token_positions if context is not None and "S" in site.axes else None
        positions = keys
        if tokens_axis(site) == "T":
            n_last = y.shape[site.axes.index("T")]
            own = replace(self.token_context, n_summaries=site.n_global)
            positions = own.key_token_positions[..., -n_tokens:][..., -n_last:]
        elif tokens_axis(site) == "G":
            assert site.n_block is not None, "entries stand for so many tokens"
            n_entries = y.shape[site.axes.index("G")]
            positions = torch.arange(n_entries, device=y.device) * site.n_block
        elif tokens_axis(site) == "P":
            positions = self.token_context.positions[: y.shape[site.axes.index("P")]]
        assert positions is not None, "a site whose tokens are keys has a context"
        for tap in self.taps:
            y = tap.visit(site, y, positions, keys)
        return y if y.shape == x.shape else y.reshape(x.shape)

    def is_read(self, name: str) -> bool:
        """Return whether any tap records or edits this point."""
        name = self.prefix + name
        return any(name in tap.read_sites or name in tap.edits_by_site for tap in self.taps)

    def is_edited(self, name: str) -> bool:
        """Return whether any tap edits this point."""
        return any(self.prefix + name in tap.edits_by_site for tap in self.taps)


class ObserverFactory:
    """The attached taps, of all models."""

    def __init__(self, taps: tuple[ModelTap, ...]) -> None:
        self.taps = taps

    def __call__(self, model: nn.Module) -> Observer | None:
        """Return an observer of a pass, None without taps. Raises InputError where training recomputes."""
        taps = [tap for tap in self.taps if tap.model is model]
        if not taps:
            return None
        if any(part.training and part.execution.recompute != "none" for part in taps[0].parts):
            found = msg("recomputation in the backward pass would apply edits twice")
            raise InputError(found, where="recompute", allowed=msg("'none' while a model is watched in training"))
        return PassObserver(taps)


@contextmanager
def attached(tap: ModelTap) -> Iterator[None]:
    """Attach a tap to its model inside the block, on this thread alone."""
    _update_taps(lambda taps: (*taps, tap))
    try:
        with taps_enabled():
            yield
    finally:
        _update_taps(lambda taps: tuple(other for other in taps if other is not tap))


def _update_taps(update: Callable[[tuple[ModelTap, ...]], tuple[ModelTap, ...]]) -> None:
    factory = OBSERVER_FACTORY.get()
    taps = update(factory.taps if isinstance(factory, ObserverFactory) else ())
    OBSERVER_FACTORY.set(ObserverFactory(taps) if taps else None)


def canonical_spec(model: Any) -> Spec:
    """Return the spec of a canonical model. Raises InputError for others, whose forward passes skip points."""
    from archcalc.nn.block import Block
    from archcalc.nn.model import EncoderDecoder, SingleStack

    kinds = (EncoderDecoder, SingleStack, Block, *implementations("module"))
    is_whole = isinstance(model, EncoderDecoder | SingleStack)
    if not is_whole or any(_is_replaced(module, kinds) for module in model.modules()):
        found = msg("found {kind}, whose parts run without taps", kind=type(model).__name__)
        raise InputError(found, where="model", allowed=msg("a model as it is built or loaded, not packed"))
    spec: Spec = model.spec
    return spec


def _is_replaced(module: nn.Module, kinds: tuple[Any, ...]) -> bool:
    """Return whether a part with points has another forward pass or kernel."""
    from archcalc.nn.softmax import attend

    has_other_forward = any(isinstance(module, kind) and type(module).forward is not kind.forward for kind in kinds)
    return has_other_forward or getattr(module, "attend", attend) is not attend
