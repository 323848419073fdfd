"""Named points of a forward pass, as the modules place them.

Each point checks whether the pass is observed; unused, that is its only cost.
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
    from archcalc.nn.attention_context import AttentionContext

T = TypeVar("T")


class Observer(ABC):
    """An observer of one forward pass. `prefix` precedes a point's name in the name of its site."""

    prefix: str = ""
    token_context: AttentionContext

    @abstractmethod
    def visit(self, name: str, x: Tensor, context: AttentionContext | None) -> Tensor:
        """Return the value that the pass continues with at this point."""

    @abstractmethod
    def is_read(self, name: str) -> bool:
        """Return whether this point is recorded or edited."""

    @abstractmethod
    def is_edited(self, name: str) -> bool:
        """Return whether this point is edited."""


# Number of attached taps on all threads. While it is 0, points do nothing more, and torch.compile sees through them.
_n_active = 0
_LOCK = Lock()

# The factory of observers, by model, and the current observer; both belong to one thread.
ObserverMaker = Callable[[nn.Module], Observer | None]
OBSERVER_FACTORY: ContextVar[ObserverMaker | None] = ContextVar("taps_observer_factory", default=None)
_OBSERVER: ContextVar[Observer | None] = ContextVar("taps_observer", default=None)


def tap(name: str, x: Tensor, context: AttentionContext | None = None) -> Tensor:
    """Return the value that the pass continues with at a point. `context` is given where an axis is of keys."""
    observer = _OBSERVER.get() if _n_active else None
    return x if observer is None else observer.visit(name, x, context)


def tap_scope(name: str, function: Callable[..., T], *args: object) -> T:
    """Call a function with the points in it under `name`."""
    observer = _OBSERVER.get() if _n_active else None
    if observer is None:
        return function(*args)
    outer_prefix, observer.prefix = observer.prefix, f"{observer.prefix}{name}."
    try:
        return function(*args)
    finally:
        observer.prefix = outer_prefix


def set_token_context(token_context: AttentionContext) -> None:
    """Set the context of the tokens that are about to be read."""
    observer = _OBSERVER.get() if _n_active else None
    if observer is not None:
        observer.token_context = token_context


def is_read(*names: str) -> bool:
    """Return whether one of these points is recorded or edited."""
    observer = _OBSERVER.get() if _n_active else None
    return observer is not None and any(map(observer.is_read, names))


def is_edited(*names: str) -> bool:
    """Return whether one of these points is edited."""
    observer = _OBSERVER.get() if _n_active else None
    return observer is not None and any(map(observer.is_edited, names))


def observed_pass(model: nn.Module) -> AbstractContextManager[None]:
    """Return a context manager for a forward pass through a model, observed if it has taps."""
    make_observer = OBSERVER_FACTORY.get() if _n_active else None
    return nullcontext() if make_observer is None else use_observer(make_observer(model))


@contextmanager
def taps_enabled() -> Iterator[None]:
    """Make points check for an observer inside the block."""
    global _n_active
    with _LOCK:
        _n_active += 1
    try:
        yield
    finally:
        with _LOCK:
            _n_active -= 1


@contextmanager
def use_observer(observer: Observer | None) -> Iterator[None]:
    """Make this the current observer inside the block; None: the pass is not observed."""
    token = _OBSERVER.set(observer)
    try:
        yield
    finally:
        _OBSERVER.reset(token)


@contextmanager
def taps_disabled() -> Iterator[None]:
    """Observe no pass inside the block: what an edit itself runs is not edited."""
    token = OBSERVER_FACTORY.set(None)
    try:
        with use_observer(None):
            yield
    finally:
        OBSERVER_FACTORY.reset(token)


class EagerAttentionWarning(UserWarning):
    """An attention uses the eager kernel because its scores or its pattern are edited."""


def warn_eager(kernel: str) -> None:
    """Warn that the current attention does not use this kernel."""
    observer = _OBSERVER.get()
    prefix = "" if observer is None else observer.prefix.rstrip(".")
    warnings.warn(
        f"{prefix}: its scores or pattern are edited: eager attention in place of {kernel}",
        EagerAttentionWarning,
        stacklevel=2,
    )
