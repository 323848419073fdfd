"""CSS for the tables, numbers and charts that are plain HTML."""

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
.st-key-from button { min-height: 2.5rem; } .st-key-export button { min-height: 2rem; }
.ac-headline h2 { font-size: 1.6rem; font-weight: 400; margin: 0; padding: 0 0 .5rem; overflow-wrap: anywhere; }
.ac-headline strong { font-weight: 700; font-variant-numeric: tabular-nums; white-space: nowrap; }
.ac-headline dl { display: grid; grid-template-columns: max-content max-content 1fr; gap: 0 1rem; }
.ac-headline dl, .ac-headline dt, .ac-headline dd { margin: 0 !important; padding: 0 !important; line-height: 1.6; }
.ac-headline dl > div { display: contents; }
.ac-headline dt, .ac-headline dd + dd { opacity: .75; font-size: .9rem; font-weight: 400; }
.ac-headline dt + dd { text-align: right; font-size: .95rem; font-weight: 600; font-variant-numeric: tabular-nums; }
@media (max-width: 640px) { .ac-headline dl { display: block; } .ac-headline dt { flex: 1 0 100%; }
  .ac-headline dl > div { display: flex; flex-wrap: wrap; align-items: baseline; gap: 0 .6rem;
  padding-bottom: .3rem; } }
.ac-overview { display: flex; flex-wrap: wrap; gap: 1rem 2rem; align-items: flex-start; }
.ac-overview > :first-child { flex: 1 1 20rem; min-width: 0; } .ac-overview > :last-child { max-width: 100%; }
.ac-overview .ac-scroll { max-height: 48.5rem; overflow-y: auto; scrollbar-width: thin; }
.ac-overview h3 { margin: 0; padding: 0 0 .5rem; font-weight: 600; }
.ac-overview .ac-lines { margin: 0; font-size: .775rem; }
.ac-map { position: relative; height: 21rem; border-radius: .5rem; overflow: hidden; }
.ac-map > div { position: absolute; overflow: hidden; container-type: size; color: #111;
  border: solid transparent; border-width: 0 1px 1px 0; background-clip: padding-box; }
.ac-map b, .ac-map span { display: block; overflow: hidden; text-overflow: ellipsis; white-space: nowrap;
  padding: 0 .35rem; font-size: .75rem; line-height: 1.3; }
.ac-map b { padding-top: .25rem; font-weight: 600; text-align: left; }
@container (max-width: 3rem) or (max-height: 1.25rem) { .ac-map b, .ac-map span { display: none; } }
@container (max-height: 2.5rem) { .ac-map span { display: none; } }
.ac-legend { display: flex; flex-wrap: wrap; gap: .1rem 1rem; list-style: none; margin: .5rem 0 1rem !important;
  padding: 0 !important; font-size: .85rem; }
.ac-legend li { margin: 0 !important; padding: 0; font-size: .85rem !important; font-variant-numeric: tabular-nums; }
.ac-legend i { display: inline-block; width: .75em; height: .75em; border-radius: .15em; margin-right: .4em; }
.ac-chips { display: flex; flex-wrap: wrap; gap: .15rem .2rem; }
.ac-chip { display: inline-flex; flex-direction: column; align-items: center; font-family: monospace; }
.ac-chip > span { padding: .1rem .3rem; border-radius: .2rem; white-space: pre; }
.ac-chip small { font-size: .65rem; opacity: .75; }
.ac-tour { border-left: 3px solid #0072b2; padding: .2rem 1rem .4rem; background: #8881; border-radius: .25rem; }
.ac-tour p { margin: .2rem 0 .4rem; } .ac-tour h3 { padding: 0; margin: .1rem 0; }
.ac-chosen { outline: 2px solid currentColor; border-radius: .2rem; }
</style>"""


def apply() -> None:
    """Add the CSS to the page."""
    st.html(_CSS)
