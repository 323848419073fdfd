"""The few rules of style that streamlit has no setting for: tables and figures that are plain HTML."""

from __future__ import annotations

from typing import Final

import streamlit as st

_CSS: Final = """<style>
.block-container { padding-top: 3rem; }
h1 { font-size: 1.7rem !important; } h3 { font-size: 1.1rem !important; }
.ac-scroll { overflow-x: auto; max-width: 100%; }
.ac-scroll:focus-visible { outline: 2px solid currentColor; outline-offset: 2px; }
.ac-scroll img { max-width: none; }
.ac-scroll table { border-collapse: collapse; font-size: .875rem; }
.ac-scroll th, .ac-scroll td { padding: .25rem .7rem; text-align: left; }
.ac-scroll th, .ac-scroll td { border: solid #8883; border-width: 0 0 1px; }
.ac-scroll .right { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.ac-scroll tr.sum td { font-weight: 600; } .ac-scroll tr.first-sum td { border-top: 2px solid #888; }
.ac-lines { white-space: pre-wrap; overflow-wrap: anywhere; font-size: .85rem; padding: .8rem 1rem;
  background: #8881; border-radius: .5rem; }
.ac-figures { display: flex; flex-wrap: wrap; gap: .75rem 2.25rem; margin: .25rem 0 .5rem; padding: 0 !important; }
.ac-figures dt { font-size: .8rem; opacity: .75; } .ac-figures dd, .ac-figures dt { margin: 0; padding: 0; }
.ac-figures .ac-exact { font-size: 1.35rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.ac-figures .ac-human { font-size: .85rem; opacity: .75; }
.ac-chips { display: flex; flex-wrap: wrap; gap: .15rem .2rem; }
.ac-chip { display: inline-flex; flex-direction: column; align-items: center; font-family: monospace; }
.ac-chip > span { padding: .1rem .3rem; border-radius: .2rem; white-space: pre; }
.ac-chip small { font-size: .65rem; opacity: .75; }
.ac-chosen { outline: 2px solid currentColor; border-radius: .2rem; }
</style>"""


def put() -> None:
    """Add the rules to the page."""
    st.html(_CSS)
