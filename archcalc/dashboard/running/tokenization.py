"""The view Tokenizer: how the model's tokenizer splits a text, next to other tokenizers."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import streamlit as st

from archcalc.dashboard import blocks, snippets
from archcalc.dashboard.models import runnable_models
from archcalc.dashboard.running import loaded_models
from archcalc.dashboard.running.controls import source_argument
from archcalc.dashboard.session import IN_URL, say, text_in_url
from archcalc.errors import InputError
from archcalc.render import tokenize
from archcalc.render.page import Page
from archcalc.render.tables import table
from archcalc.results import plain
from archcalc.words import msg

if TYPE_CHECKING:
    from archcalc.text.tokenizer import Tokenizer

DEFAULT_TEXT = "In the beginning God created the heaven and the earth."


def show(name: str) -> None:
    """Draw the text, every token, and the statistics of each tokenizer."""
    from archcalc.text.measurement import Sample, TextToken, measure_all

    say_ = say()
    text = text_in_url(say_(msg("Text")), "run_text", DEFAULT_TEXT, height=90)
    others = [other for other in runnable_models() if other != name]
    beside = st.multiselect(
        say_(msg("Compare with the tokenizers of")), others, max_selections=3, key="run_beside", **IN_URL
    )
    tokenizers = {other: _tokenizer(other) for other in (name, *beside)}
    sample = Sample(text, text, msg("the text"), loaded_models.open_model(name).spec.d_model)
    result = measure_all(tokenizers, sample)
    for measurement in result.tokenizers:
        tokens = table(f"{measurement.name}: {len(measurement.tokens)}", measurement.tokens, TextToken)
        blocks.show(Page("", "", [tokens]), name=f"{measurement.name}.tokens")
    blocks.show(tokenize.view(result), name="tokenize", data=lambda: plain(result))
    names = " ".join(shlex.quote(source_argument(other)) for other in tokenizers)
    python = f"import archcalc\n\narchcalc.text.open_tokenizer({source_argument(name)!r}).encode({text!r})"
    snippets.show(f"archcalc tokenize {names} --text {shlex.quote(text)}", python)


def _tokenizer(name: str) -> Tokenizer:
    tokenizer = loaded_models.open_model(name).tokenizer
    if tokenizer is None:
        raise InputError(msg("there is no tokenizer"), where=name, allowed=msg("a model that has one"))
    return tokenizer
