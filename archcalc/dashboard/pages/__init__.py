"""The pages, one file each. A page to come is a line here, a file beside it, and its words in render/lang/app_*.py."""

from __future__ import annotations

from typing import Final

import msgspec


class Entry(msgspec.Struct, frozen=True):
    """A page: its place in the URL, the module that draws it, the name of its title among the words, an icon."""

    path: str
    module: str
    title: str
    icon: str
    has_subject: bool


# `has_subject`: whether the page is about the one architecture that is chosen on top of it.
PAGES: Final = (
    Entry("architecture", "architecture", "app.page_architecture", ":material/account_tree:", True),
    Entry("compute", "compute", "app.page_compute", ":material/memory:", True),
    Entry("compare", "compare", "app.page_compare", ":material/compare_arrows:", True),
    Entry("run", "run", "app.page_run", ":material/play_arrow:", False),
    Entry("trace", "trace", "app.page_trace", ":material/stacked_line_chart:", False),
)
