"""The view of how tokenizers split a text."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import streamlit as st

from archcalc.dashboard import blocks, same
from archcalc.dashboard.models import runnable
from archcalc.dashboard.running import held
from archcalc.dashboard.running.controls import source_of
from archcalc.dashboard.session import KEPT, say, text_in_link
from archcalc.errors import InputError
from archcalc.render import tokenize
from archcalc.render.page import Page
from archcalc.render.tables import table
from archcalc.results import plain
from archcalc.words import msg

if TYPE_CHECKING:
    from archcalc.text.tokenizer import Tokenizer

TEXT = "In the beginning God created the heaven and the earth."


def show(name: str) -> None:
    """Show a text, its tokens, and the figures of each tokenizer."""
    from archcalc.text.measurement import Sample, TextToken, measure_all

    say_ = say()
    text = text_in_link(say_(msg("Text")), "run_text", TEXT, height=90)
    others = [other for other in runnable() if other != name]
    beside = st.multiselect(say_(msg("Beside the tokenizers of")), others, max_selections=3, key="run_beside", **KEPT)
    tokenizers = {one: _tokenizer(one) for one in (name, *beside)}
    sample = Sample(text, text, msg("the text"), held.opened(name).spec.d_model)
    result = measure_all(tokenizers, sample)
    for one in result.tokenizers:
        tokens = table(f"{one.name}: {len(one.tokens)}", one.tokens, TextToken)
        blocks.show(Page("", "", [tokens]), name=f"{one.name}.tokens")
    blocks.show(tokenize.view(result), name="tokenize", data=lambda: plain(result))
    names = " ".join(shlex.quote(source_of(one)) for one in tokenizers)
    python = f"import archcalc\n\narchcalc.text.open_tokenizer({source_of(name)!r}).encode({text!r})"
    same.lines(f"archcalc tokenize {names} --text {shlex.quote(text)}", python)


def _tokenizer(name: str) -> Tokenizer:
    tokenizer = held.opened(name).tokenizer
    if tokenizer is None:
        raise InputError(msg("there is no tokenizer"), where=name, allowed=msg("a model that has one"))
    return tokenizer
