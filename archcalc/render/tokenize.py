"""Splits of tokenizers and the cost of their vocabularies as a page."""

from __future__ import annotations

from archcalc.errors import printable
from archcalc.render.page import Page, Text
from archcalc.render.tables import table
from archcalc.text.measurement import Measurement, Tokenization
from archcalc.words import Message, in_context, msg, plural

UNKNOWN = ("[UNK]", "<unk>")


def view(result: Tokenization, options: None = None) -> Page:
    """Return the page of the vocabularies, what they cost and how many tokens they take; then every split."""
    subtitle = msg(
        "tokens of {of}, {n:,} characters; embedding of d_model {d_model:,} (--d-model); exact",
        of=result.measured_on,
        n=result.n_characters,
        d_model=result.d_model,
    )
    is_lossless = all(one.is_lossless for one in result.tokenizers)
    measurements = table("", result.tokenizers, Measurement, without={"mismatch"} if is_lossless else ())
    splits = (Text(_title(one), [_split(one), _ids(one)]) for one in result.tokenizers)
    return Page(msg("Splits of {sentence}", sentence=repr(result.text)), subtitle, [measurements, *splits])


def _title(measurement: Measurement) -> Message:
    n_tokens = len(measurement.tokens)
    return plural("{name}: {n:,} token", "{name}: {n:,} tokens", name=measurement.name, n=n_tokens)


def _split(measurement: Measurement) -> str | Message:
    """Return the tokens between bars; an unknown part has the token that it becomes beside it."""
    if not measurement.tokens:
        return in_context("of an empty text", "nothing")
    parts = (f"{one.text}→{one.token}" if one.token in UNKNOWN else one.text for one in measurement.tokens)
    return printable("│" + "│".join(parts) + "│")


def _ids(measurement: Measurement) -> str:
    return " ".join(str(one.id) for one in measurement.tokens)
