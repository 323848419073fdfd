"""Long work beside the page: how far it is or how long it runs is shown, and it can be stopped."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import streamlit as st

from archcalc.dashboard.session import say
from archcalc.words import msg

T = TypeVar("T")

_EVERY_SECONDS = 0.1


class Progress:
    """How much of `total` is done, told by the work's own thread; of 0 nothing is known but the time."""

    def __init__(self, total: int = 0) -> None:
        self.total, self.done = total, 0

    def __call__(self, more: int) -> None:
        """So much more is done."""
        self.done += more

    @property
    def share(self) -> float:
        """The share of the whole that is done."""
        return min(self.done / self.total, 1.0) if self.total else 0.0


def run(label: str, work: Callable[[], T], *, key: str, progress: Progress | None = None) -> T:
    """What `work` returns, or raises; called in a thread that draws nothing itself.

    While it runs its seconds are shown, and a bar where it tells its `progress`. Stop draws the page anew, which leaves
    this function; what the thread still does then, nobody sees.
    """
    place = st.empty()
    with place.container(horizontal=True, vertical_alignment="center"):
        st.button(say()(msg("Stop")), icon=":material/stop_circle:", key=f"stop_{key}")
        told = st.empty()
    pool, begun = ThreadPoolExecutor(1), time.monotonic()
    try:
        future = pool.submit(work)
        while not future.done():
            # Each line drawn is also where streamlit lets go of a page that is drawn anew.
            line = f"{label} {time.monotonic() - begun:.1f} s"
            if progress and progress.total:
                told.progress(progress.share, line)
            else:
                told.caption(line)
            time.sleep(_EVERY_SECONDS)
    finally:
        pool.shutdown(wait=False)
    place.empty()
    return future.result()
