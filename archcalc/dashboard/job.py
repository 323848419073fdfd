"""Run long work in a thread, with progress and a stop button on the page."""

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


class JobStoppedError(Exception):
    """Raised in the thread of a job whose page has stopped it."""


class Progress:
    """The progress of a job, updated by its thread. A `total` of 0 is unknown."""

    def __init__(self, total: int = 0) -> None:
        self.total, self.done, self.is_stopped = total, 0, False

    def start(self, total: int) -> None:
        """Begin another job."""
        self.total, self.done = total, 0

    def __call__(self, more: int) -> None:
        """Add to the work that is done. Raises JobStoppedError, which ends the work, once the job is stopped."""
        if self.is_stopped:
            raise JobStoppedError
        self.done += more

    def stop(self) -> None:
        """End the work when it next reports its progress."""
        self.is_stopped = True

    @property
    def fraction(self) -> float:
        """Return the fraction that is done."""
        return min(self.done / self.total, 1.0) if self.total else 0.0


def run(label: str, work: Callable[[], T], *, key: str, progress: Progress | None = None, ends: bool = False) -> T:
    """Return the result of `work`, run in a thread that draws nothing. Raises as `work` does.

    Shows the seconds, and a bar if the total of `progress` is known. Stop runs the page again, which leaves this
    function; the result of the thread is then dropped. `ends`: the thread ends too, when it next reports its progress.
    """
    placeholder = st.empty()
    with placeholder.container(horizontal=True, vertical_alignment="center"):
        st.button(say()(msg("Stop")), icon=":material/stop_circle:", key=f"stop_{key}")
        status = st.empty()
    pool, start = ThreadPoolExecutor(1), time.monotonic()
    try:
        future = pool.submit(work)
        while not future.done():
            # Drawing is also where streamlit can stop this run of the page.
            line = f"{label} {time.monotonic() - start:.1f} s"
            if progress and progress.total:
                status.progress(progress.fraction, line)
            else:
                status.caption(line)
            time.sleep(_EVERY_SECONDS)
    finally:
        if progress and ends:
            progress.stop()
        pool.shutdown(wait=False)
    placeholder.empty()
    return future.result()
