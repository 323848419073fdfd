"""Warnings about a source: logged by the library, printed once by the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from archcalc.words import Message, joined, msg

if TYPE_CHECKING:
    from archcalc.spec.document import Document

_SHOW: ContextVar[Callable[[Message], None] | None] = ContextVar("archcalc.source_warnings", default=None)


def warn_of_misspellings(document: Document, source: str) -> None:
    """Warn of each key of a config that is not read and nearly equals one that is."""
    for one in document.get("about", {}).get("provenance", {}).get("assumed", ()):
        if one["kind"] == "default":
            warning = msg("{key} is not read (did you mean {known}?)", key=one["of"], known=one["value"])
            _warn(joined(": ", (source, warning)) if source else warning)


@contextmanager
def shown_by(show: Callable[[Message], None]) -> Iterator[None]:
    """Show warnings by this function in the block, each once, instead of logging them."""
    seen = set[str]()

    def once(warning: Message) -> None:
        if (text := str(warning)) not in seen:
            seen.add(text)
            show(warning)

    token = _SHOW.set(once)
    try:
        yield
    finally:
        _SHOW.reset(token)


def _warn(warning: Message) -> None:
    if show := _SHOW.get():
        show(warning)
        return
    import logging

    logging.getLogger("archcalc").warning("%s", warning)
