"""What views have computed, shared by all visitors: the same view is computed once."""

from __future__ import annotations

from typing import Any, Final

import streamlit as st

from archcalc.dashboard import job
from archcalc.dashboard.error_box import show_error
from archcalc.dashboard.inside.view import Subject, View
from archcalc.dashboard.lru_cache import LruCache
from archcalc.dashboard.session import say
from archcalc.errors import ArchcalcError
from archcalc.words import msg

_ANSWERS: Final[LruCache[Any]] = LruCache(24)


def cached(name: str, subject: Subject, options: Any) -> Any:
    """Return what a view shows if it is in the cache, else None."""
    return _ANSWERS.get((name, subject, options))


def answer(name: str, view: View, subject: Subject, options: Any, progress: job.Progress) -> Any:
    """Return what a view shows, computed now if need be. Raises as its computation does."""
    return _ANSWERS.get_or_create((name, subject, options), lambda: view.compute(subject, options, progress))


def answer_or_stop(name: str, view: View, subject: Subject, options: Any) -> Any:
    """Return what a view shows, with a stop button while it is computed; after an error or a stop, the page ends."""
    found = cached(name, subject, options)
    if found is not None:
        return found
    # True only in the run of the page that the stop button starts.
    if st.session_state.get("stop_inside"):
        st.info(say()(msg("Stopped.")))
        st.button(say()(msg("Compute again")), key="inside_again")
        st.stop()
    progress, label = job.Progress(), say()(msg("Computing…"))
    try:
        return job.run(label, lambda: answer(name, view, subject, options, progress), key="inside", progress=progress)
    except ArchcalcError as error:
        show_error(error)
        st.stop()
