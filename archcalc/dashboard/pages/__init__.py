"""The pages, one file each. A new page is a line here and a file beside it."""

from __future__ import annotations

from typing import Final

import msgspec

from archcalc.words import Message, msg


class Entry(msgspec.Struct, frozen=True):
    """A page: its place in the URL, the module that draws it, its title, an icon."""

    path: str
    module: str
    title: Message
    icon: str
    has_subject: bool


# `has_subject`: whether the page is about the one architecture that is chosen on top of it.
PAGES: Final = (
    Entry("architecture", "architecture", msg("Architecture"), ":material/account_tree:", True),
    Entry("compute", "compute", msg("Compute and memory"), ":material/memory:", True),
    Entry("compare", "compare", msg("Compare"), ":material/compare_arrows:", True),
    Entry("run", "run", msg("Run"), ":material/play_arrow:", False),
    Entry("trace", "trace", msg("Trace"), ":material/stacked_line_chart:", False),
)
