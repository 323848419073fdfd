"""How the model's tokenizer splits a text, beside others."""

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
from archcalc.render.page import Column, Page, Table
from archcalc.render.text import visible
from archcalc.words import msg

if TYPE_CHECKING:
    from archcalc.text.measurement import Measurement
    from archcalc.text.tokenizer import Tokenizer

TEXT = "In the beginning God created the heaven and the earth."


def show(name: str) -> None:
    """The text, then figures of each tokenizer, then every token."""
    from archcalc.text.measurement import Sample, measure_all

    say_ = say()
    text = text_in_link(say_(msg("Text")), "run_text", TEXT, height=90)
    others = [other for other in runnable() if other != name]
    beside = st.multiselect(say_(msg("Beside the tokenizers of")), others, max_selections=3, key="run_beside", **KEPT)
    tokenizers = {one: _tokenizer(one) for one in (name, *beside)}
    sample = Sample(text, text, msg("the text"), held.opened(name).spec.d_model)
    found = measure_all(tokenizers, sample)
    page = tokenize.page(sample, found)
    for one in found:
        _tokens(one)
    blocks.show(page, name="tokenize", data=lambda: tokenize.data(sample, found))
    names = " ".join(shlex.quote(source_of(one)) for one in tokenizers)
    python = f"import archcalc\n\narchcalc.text.open_tokenizer({source_of(name)!r}).encode({text!r})"
    same.lines(f"archcalc tokenize {names} --text {shlex.quote(text)}", python)


def _tokenizer(name: str) -> Tokenizer:
    found = held.opened(name).tokenizer
    if found is None:
        raise InputError(msg("there is no tokenizer"), where=name, allowed=msg("a model that has one"))
    return found


def _tokens(one: Measurement) -> None:
    """A row a token: its number in the vocabulary, what that calls it, its part of the text with spaces to be seen."""
    say_ = say()
    columns = (
        Column("#", "words"),
        Column(say_(msg("id")), "words"),
        Column(say_(msg("in the vocabulary"))),
        Column(say_(msg("of the text"))),
    )
    rows = [(i + 1, token, piece, visible(part)) for i, (token, piece, part) in enumerate(one.splits)]
    blocks.show(Page("", "", [Table(f"{one.name}: {len(rows)}", columns, rows)]), name=f"{one.name}.tokens")
