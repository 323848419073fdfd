"""Attention as one self-contained HTML page: a grid of all heads, one of them large; it loads nothing."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from archcalc.errors import InputError
from archcalc.interp.heads.pattern_bytes import FULL, pattern_bytes
from archcalc.interp.heads.patterns import AttentionReading
from archcalc.interp.heads.result import KIND_NAMES, Attentions
from archcalc.render.attention import definitions, subtitle, title
from archcalc.words import Translator, in_context, msg

MAX_CELLS = 50_000_000

_TEXTS = {
    "head": in_context("of attention", "head"),
    "kv_head": msg("kv head"),
    "layer": msg("layer"),
    "entropy": msg("entropy, nats"),
    "distance": msg("distance, tokens"),
    "query": msg("query"),
    "key": msg("key"),
    "weight": msg("weight"),
    "masked": msg("masked"),
    "hint": msg(
        "Each square is a head: queries from top to bottom, keys from left to right. Click one to enlarge it. Heads "
        "with bars of one color share a key-value head. Gray cells are masked."
    ),
    "grid": msg("all heads by layer"),
    "kind": msg("kind of head"),
    "pick": msg("kind to highlight"),
    "every": msg("all"),
}


def as_html(result: Attentions, reading: AttentionReading, say: Translator) -> str:
    """Return the page in a language. Raises InputError for patterns with more than MAX_CELLS cells."""
    from jinja2 import Environment, PackageLoader

    n_cells = sum(pattern_NTS.numel() for pattern_NTS in reading.patterns.values())
    if n_cells > MAX_CELLS:
        raise InputError(
            msg("found {n:,} attention weights", n=n_cells),
            where="prompt",
            allowed=msg("a shorter text: a page has at most {n:,}", n=MAX_CELLS),
        )
    environment = Environment(loader=PackageLoader("archcalc.render"), autoescape=True)
    kinds = {kind: say(name) for kind, name in KIND_NAMES.items()}
    return environment.get_template("attention.html").render(
        data={"texts": result.texts, "attentions": _attentions(result, reading), "full": FULL, "kinds": kinds},
        lang=say.lang,
        title=say(title(result)),
        subtitle=say(subtitle()),
        definitions=[say(line) for line in definitions(result)],
        texts={name: say(message) for name, message in _TEXTS.items()},
    )


def _attentions(result: Attentions, reading: AttentionReading) -> list[dict[str, Any]]:
    """Return each attention: its weights [N, T, S] as 16-bit numbers in base64, and a row for each head."""
    found = []
    for path, arm in reading.arms.items():
        names = arm.key_names(result.texts[arm.key_text], reading.patterns[path].shape[-1])
        rows = [row for row in result.heads if row.path == path]
        found.append(
            {
                "path": path,
                "queries": arm.text,
                "keys": arm.key_text,
                "keyNames": names,
                "queryNames": arm.query_names(result.texts[arm.text]),
                "cells": b64encode(pattern_bytes(reading.shares(path), reading.scores[path])).decode(),
                "heads": [
                    [row.kv_head, round(row.entropy_nats, 4), _rounded(row.distance), row.head_kind] for row in rows
                ],
            }
        )
    return found


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
