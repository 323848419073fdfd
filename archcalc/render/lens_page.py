"""A lens as one self-contained HTML page: a map of sites × positions, with tokens to pin; it loads nothing."""

from __future__ import annotations

from typing import Any

from archcalc.interp.lens.result import LensPredictions
from archcalc.render.charts.lens import short_name
from archcalc.render.lens import DEFINITIONS, EXPLANATIONS, subtitle, title
from archcalc.words import Translator, in_context, msg

# The texts of the page, by their names in the template.
_TEXTS = {
    "color": msg("color"),
    "probability": msg("probability"),
    "entropy": msg("entropy, nats"),
    "kl": msg("KL to the output, nats"),
    "rank": msg("rank of the pinned token"),
    "rank_of": in_context("of a token", "rank"),
    "token": msg("token"),
    "pin": msg("pin"),
    "unpin": msg("unpin"),
    "pinned": msg("Pinned tokens"),
    "hint": msg("Click a cell to see its tokens; arrow keys move. Pin tokens to follow their ranks from site to site."),
    "beyond": msg("not among the first {n}"),
    "output": msg("output"),
    "site": in_context("of a model", "site"),
    "input": msg("input token"),
    "map": msg("likeliest tokens by site and position"),
}


# Of a text whose first positions are left out.
_CUT = msg("Only the last positions are read, as every one costs time; `--positions all` reads all.")


def as_html(result: LensPredictions, say: Translator, *, is_cut: bool = False) -> str:
    """Return the page in a language. `is_cut`: positions are left out for their cost."""
    from jinja2 import Environment, PackageLoader

    environment = Environment(loader=PackageLoader("archcalc.render"), autoescape=True)
    definition, notes = DEFINITIONS.get(result.lens_kind), (_CUT,) if is_cut else ()
    return environment.get_template("lens.html").render(
        map=_map(result),
        lang=say.lang,
        title=say(title(result)),
        subtitle=say(subtitle(result)),
        explanations=[say(line) for line in (*notes, *EXPLANATIONS, *([definition] if definition else []))],
        texts={name: say(_filled(message, result)) for name, message in _TEXTS.items()},
    )


def _filled(message: Any, result: LensPredictions) -> Any:
    return message.fill(n=len(result.readings[0].ids)) if "{n}" in message.text else message


def _map(result: LensPredictions) -> dict[str, Any]:
    """Return what the script draws: cells [site][position] as [ids, probabilities, entropy, KL], and texts by id."""
    positions = [token for token in result.tokens if token.is_read]
    index = {token.position: i for i, token in enumerate(positions)}
    rows: dict[str, list[Any]] = {path: [None] * len(positions) for path in result.sites}
    texts: dict[int, str] = {}
    for reading in result.readings:
        texts.update(zip(reading.ids, reading.tokens, strict=True))
        figures = [round(reading.entropy_nats, 4), round(reading.kl_nats, 4)]
        probabilities = [float(f"{p:.4g}") for p in reading.probabilities]
        rows[reading.path][index[reading.position]] = [list(reading.ids), probabilities, *figures]
    followed: list[list[Any]] = [[] for _ in positions]
    for row in result.trajectories:
        texts[row.id] = row.token
        followed[index[row.position]].append([row.id, list(row.ranks)])
    return {
        "sites": [short_name(path) for path in result.sites],
        "paths": list(result.sites),
        "positions": [[token.position, token.token] for token in positions],
        "cells": list(rows.values()),
        "texts": texts,
        "followed": followed,
        "named": list(dict.fromkeys(row.id for row in result.trajectories if row.is_named)),
    }
