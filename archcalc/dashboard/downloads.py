"""Download buttons whose files are made on demand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import streamlit as st


@contextmanager
def download_row(label: str) -> Iterator[None]:
    """Start a row of small download buttons after a label."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption(f":material/download: {label}", width="content")
        yield


def download_button(label: str, content: Callable[[], bytes], file: str, media_type: str) -> None:
    """Draw a button that downloads a file; `content` is called when it is pressed."""
    file_name = file.replace("/", "_")  # the name of a model or a spec may contain a slash
    st.download_button(label, content, file_name, media_type, key=f"save_{file}", type="tertiary", on_click="ignore")
