"""The list of pages. A new page is an entry here and a module beside this one."""

from __future__ import annotations

from typing import Final

import msgspec

from archcalc.words import Message, msg


class PageEntry(msgspec.Struct, frozen=True):
    """A page: its path in the URL, its module, title and icon; `has_chooser` if it shows the chosen architecture."""

    path: str
    module: str
    title: Message
    icon: str
    has_chooser: bool


PAGES: Final = (
    PageEntry("architecture", "architecture", msg("Architecture"), ":material/account_tree:", True),
    PageEntry("compute", "compute", msg("Compute and memory"), ":material/memory:", True),
    PageEntry("compare", "compare", msg("Compare"), ":material/compare_arrows:", True),
    PageEntry("run", "run", msg("Run"), ":material/play_arrow:", False),
    PageEntry("trace", "trace", msg("Trace"), ":material/stacked_line_chart:", False),
    PageEntry("inside", "inside", msg("Inside"), ":material/biotech:", False),
)
