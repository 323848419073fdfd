"""Files that a visitor can save, made when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import streamlit as st


@contextmanager
def files(label: str) -> Iterator[None]:
    """A line of small buttons behind a label; for `save`."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption(f":material/download: {label}", width="content")
        yield


def save(label: str, content: Callable[[], bytes], file: str, kind: str) -> None:
    """A button that saves a file of this name and media type; `content` is called when it is pressed."""
    plain = file.replace("/", "_")  # a model of a folder, or a spec whose name has one, is no place for a file
    st.download_button(label, content, plain, kind, key=f"save_{file}", type="tertiary", on_click="ignore")
