"""Who watches which model, and a forward pass that is watched.

Axes: B batch, T tokens, S key tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from archcalc.errors import InputError
from archcalc.nn.sight import Sight
from archcalc.nn.taps.edits import Applied, Edit, tokens_axis
from archcalc.nn.taps.points import BEGIN, Pass, opened
from archcalc.spec import Spec
from archcalc.spec.sites import Site, sites
from archcalc.spec.variants import implementations
from archcalc.words import msg

# Told of a site: the value that goes on, where its tokens stand, and where its keys do.
Seen = Callable[[Site, Tensor, Tensor, Tensor | None], None]


class Watch:
    """One model watched: its edits, and who is told what."""

    def __init__(
        self, model: Any, edits: Sequence[Edit] = (), read: frozenset[str] = frozenset(), seen: Seen | None = None
    ):
        spec = checked_spec(model)
        self.model, self.read, self.seen = model, read, seen
        self.sites = {site.name: site for site in sites(spec)}
        self.parts = [module for module in model.modules() if getattr(module, "how", None) is not None]
        self.edits = [Applied(edit) for edit in edits]
        self.writes: dict[str, list[Applied]] = {}
        for edit, applied in zip(edits, self.edits, strict=True):
            for site in edit.sites(spec):
                self.writes.setdefault(site.name, []).append(applied)

    @property
    def applied(self) -> list[int]:
        """How often each edit has changed something so far: 0 where no pass came by its positions."""
        return [edit.times for edit in self.edits]

    def at(self, site: Site, x: Tensor, standing: Tensor, keys: Tensor | None) -> Tensor:
        """What goes on at a site."""
        for edit in self.writes.get(site.name, ()):
            x = edit(site, x, standing, keys)
        if self.seen is not None and site.name in self.read:
            self.seen(site, x, standing, keys)
        return x


class Watched(Pass):
    """A pass through a model that some watch, in the order in which they began."""

    def __init__(self, watches: Sequence[Watch]) -> None:
        self.watches, self.sites = watches, watches[0].sites

    def reached(self, name: str, x: Tensor, sight: Sight | None) -> Tensor:
        """What the pass goes on with at this point; rows and tokens may stand as one axis."""
        site = self.sites[self.prefix + name]
        if not self.reads(name):
            return x
        n_tokens = len(self.own.positions)
        y = x.reshape(-1, n_tokens, *x.shape[1:]) if x.dim() < len(site.axes) else x
        keys = sight.key_standing if sight is not None and "S" in site.axes else None
        standing = keys
        if tokens_axis(site) == "T":
            n_last = y.shape[site.axes.index("T")]
            standing = self.own.key_standing[..., -n_tokens:][..., -n_last:]
        elif tokens_axis(site) == "P":
            standing = self.own.positions[:1]
        assert standing is not None, "where tokens are keys, a sight is given"
        for watch in self.watches:
            y = watch.at(site, y, standing, keys)
        return y.reshape(x.shape)

    def reads(self, name: str) -> bool:
        """Whether anyone reads or changes this point."""
        name = self.prefix + name
        return any(name in watch.read or name in watch.writes for watch in self.watches)

    def writes(self, name: str) -> bool:
        """Whether anyone changes this point."""
        return any(self.prefix + name in watch.writes for watch in self.watches)


class Watches:
    """All that watch, whichever model."""

    def __init__(self, watches: tuple[Watch, ...]) -> None:
        self.watches = watches

    def __call__(self, model: nn.Module) -> Pass | None:
        """A pass through this model; None if nobody watches it. Raises InputError where parts of it run again."""
        watches = [watch for watch in self.watches if watch.model is model]
        if not watches:
            return None
        if any(part.training and part.how.recompute != "none" for part in watches[0].parts):
            found = "the backward pass would come by edits again"
            raise InputError(found, where="recompute", allowed=msg("'none' while a model is watched in training"))
        return Watched(watches)


@contextmanager
def watching(watch: Watch) -> Iterator[None]:
    """While it lasts, and on this thread alone, the model is watched."""
    _change(lambda watches: (*watches, watch))
    try:
        with opened():
            yield
    finally:
        _change(lambda watches: tuple(other for other in watches if other is not watch))


def _change(change: Callable[[tuple[Watch, ...]], tuple[Watch, ...]]) -> None:
    begin = BEGIN.get()
    watches = change(begin.watches if isinstance(begin, Watches) else ())
    BEGIN.set(Watches(watches) if watches else None)


def checked_spec(model: Any) -> Spec:
    """The spec of a canonical model. Raises InputError for any other: it goes by no points, or by some of them."""
    from archcalc.nn.block import Block
    from archcalc.nn.model import EncoderDecoder, SingleStack

    kinds = (EncoderDecoder, SingleStack, Block, *implementations("module"))
    is_whole = isinstance(model, EncoderDecoder | SingleStack)
    if not is_whole or any(_runs_otherwise(module, kinds) for module in model.modules()):
        found = f"found {type(model).__name__}, whose parts run without taps"
        raise InputError(found, where="model", allowed=msg("a model as it is built or loaded, not packed"))
    spec: Spec = model.spec
    return spec


def _runs_otherwise(module: nn.Module, kinds: tuple[Any, ...]) -> bool:
    """Return whether a part with points in its forward has another forward, or another kernel."""
    from archcalc.nn.softmax import attend

    has_other_forward = any(isinstance(module, kind) and type(module).forward is not kind.forward for kind in kinds)
    return has_other_forward or getattr(module, "attend", attend) is not attend
