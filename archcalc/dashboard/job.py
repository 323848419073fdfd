"""Long work beside the page: how long it runs is shown, and it can be stopped."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import streamlit as st

from archcalc.dashboard.session import say

T = TypeVar("T")

_EVERY_SECONDS = 0.1


def run(label: str, work: Callable[[], T], *, key: str) -> T:
    """What `work` returns, or raises; called in a thread that draws nothing itself.

    While it runs its seconds are shown. Stop draws the page anew, which leaves this function; what the thread still
    does then, nobody sees.
    """
    place = st.empty()
    with place.container(horizontal=True, vertical_alignment="center"):
        st.button(say()("app.stop"), icon=":material/stop_circle:", key=f"stop_{key}")
        told = st.empty()
    pool, begun = ThreadPoolExecutor(1), time.monotonic()
    try:
        future = pool.submit(work)
        while not future.done():
            # Each line drawn is also where streamlit lets go of a page that is drawn anew.
            told.caption(f"{label} {time.monotonic() - begun:.1f} s")
            time.sleep(_EVERY_SECONDS)
    finally:
        pool.shutdown(wait=False)
    place.empty()
    return future.result()
