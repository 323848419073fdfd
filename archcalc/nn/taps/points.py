"""The points at which a forward pass can be read and written, as the modules set them.

Each is one look at whether anyone watches the pass: unused, that is all it costs.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

from torch import Tensor, nn

if TYPE_CHECKING:
    from archcalc.nn.sight import Sight

T = TypeVar("T")


class Pass(ABC):
    """One forward pass that is watched. `prefix` is what stands before a point's name in the name of its site."""

    prefix: str = ""
    own: Sight

    @abstractmethod
    def reached(self, name: str, x: Tensor, sight: Sight | None) -> Tensor:
        """What the pass goes on with at this point."""

    @abstractmethod
    def reads(self, name: str) -> bool:
        """Whether anyone reads or changes this point."""

    @abstractmethod
    def writes(self, name: str) -> bool:
        """Whether anyone changes this point."""


# How many watch anything, on whatever thread: while it is 0, a point looks no further (and torch.compile sees through).
_n_open = 0
_LOCK = Lock()

# By model, how a watched pass through it begins; and the pass at hand. Both are of this thread alone.
Begin = Callable[[nn.Module], Pass | None]
BEGIN: ContextVar[Begin | None] = ContextVar("taps_begin", default=None)
_AT_HAND: ContextVar[Pass | None] = ContextVar("taps_at_hand", default=None)


def tap(name: str, x: Tensor, sight: Sight | None = None) -> Tensor:
    """A point: the value that goes on from here. `sight` is given where an axis is of keys."""
    watched = _AT_HAND.get() if _n_open else None
    return x if watched is None else watched.reached(name, x, sight)


def within(name: str, call: Callable[..., T], *args: object) -> T:
    """What a call gives, the points in it under this name."""
    watched = _AT_HAND.get() if _n_open else None
    if watched is None:
        return call(*args)
    outer, watched.prefix = watched.prefix, f"{watched.prefix}{name}."
    try:
        return call(*args)
    finally:
        watched.prefix = outer


def stand(own: Sight) -> None:
    """Tell where the tokens stand that are about to be read."""
    watched = _AT_HAND.get() if _n_open else None
    if watched is not None:
        watched.own = own


def reads(*names: str) -> bool:
    """Whether anyone reads or changes one of these points."""
    watched = _AT_HAND.get() if _n_open else None
    return watched is not None and any(map(watched.reads, names))


def writes(*names: str) -> bool:
    """Whether anyone changes one of these points."""
    watched = _AT_HAND.get() if _n_open else None
    return watched is not None and any(map(watched.writes, names))


def passing(model: nn.Module) -> AbstractContextManager[None]:
    """Around a forward pass through a model, by which its points are known for the model's."""
    begin = BEGIN.get() if _n_open else None
    return nullcontext() if begin is None else at_hand(begin(model))


@contextmanager
def opened() -> Iterator[None]:
    """While it lasts, points look at whether the pass at hand is watched."""
    global _n_open
    with _LOCK:
        _n_open += 1
    try:
        yield
    finally:
        with _LOCK:
            _n_open -= 1


@contextmanager
def at_hand(watched: Pass | None) -> Iterator[None]:
    """Have this pass be the one at hand; none, where what runs is not to be watched."""
    token = _AT_HAND.set(watched)
    try:
        yield
    finally:
        _AT_HAND.reset(token)


@contextmanager
def unwatched() -> Iterator[None]:
    """While it lasts, no pass is watched: what an edit itself runs is not edited."""
    token = BEGIN.set(None)
    try:
        with at_hand(None):
            yield
    finally:
        BEGIN.reset(token)


class EagerAttentionWarning(UserWarning):
    """An attention is computed by the eager kernel, for its scores or its pattern are edited."""


def say_eager(kernel: str) -> None:
    """Warn that the attention at hand is not computed by this kernel."""
    watched = _AT_HAND.get()
    place = "" if watched is None else watched.prefix.rstrip(".")
    warnings.warn(
        f"{place}: its scores or pattern are edited: eager attention in place of {kernel}",
        EagerAttentionWarning,
        stacklevel=2,
    )
