"""The result of direct logit attribution: contributions, and the edges of the strongest heads."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from archcalc.results import Result, Row, Sureness, data, number, text
from archcalc.words import Message, in_context, msg

ContributionPart = Literal[
    "embedding", "head", "attention", "attention_bias", "ffn", "mixer",
    "norm_bias", "projection_bias", "head_bias", "remainder",
]  # fmt: skip

PART_NAMES: Final[dict[str, Message]] = {
    "embedding": msg("embedding"),
    "head": in_context("of attention", "head"),
    "attention": msg("attention"),
    "attention_bias": msg("attention bias"),
    "ffn": msg("feed-forward"),
    "mixer": msg("mixer"),
    "norm_bias": msg("norm bias"),
    "projection_bias": msg("projection bias"),
    "head_bias": msg("output bias"),
    "remainder": msg("rounding"),
}


class ContributionRow(Row, frozen=True, kw_only=True):
    """What one part adds to the logit; the last row is the rounding that is left."""

    path: Annotated[str, text(msg("path"))]
    part: Annotated[ContributionPart, text(msg("part"), names=PART_NAMES)]
    layer: Annotated[int | None, data(msg("layer"))]
    head: Annotated[int | None, number(in_context("of attention", "head"), "words")]
    contribution: Annotated[float, number(msg("contribution"), "decimal", is_summed=True)]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "measured"


class EdgeRow(Row, frozen=True, kw_only=True):
    """One token that a head reads, what that adds to the logit, and the tokens that the head's output raises most."""

    path: Annotated[str, text(msg("attention"))]
    head: Annotated[int, number(in_context("of attention", "head"), "words")]
    head_contribution: Annotated[float, number(msg("head's contribution"), "decimal")]
    key: Annotated[int, number(msg("key"), "words")]
    token: Annotated[str, number(msg("token"), "quoted")]
    weight: Annotated[float, number(msg("weight"), "decimal")]
    contribution: Annotated[float, number(msg("contribution"), "decimal")]
    promotes: Annotated[tuple[str, ...], number(msg("promotes"), "value")]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "measured"


class LogitAttribution(Result, frozen=True, kw_only=True):
    """A logit, or the difference of two, as a sum: in the order of a forward pass, `remainder` last."""

    name: Annotated[str, data(msg("name of the model"))]
    label: Annotated[str | Message, data(msg("title of the model"))]
    texts: Annotated[tuple[tuple[str, ...], ...], data(msg("tokens of each text"))]
    position: Annotated[int, data(msg("position"))]
    id: Annotated[int, data(msg("id of the token"))]
    token: Annotated[str, data(msg("token"))]
    against_id: Annotated[int | None, data(msg("id of the token whose logit is subtracted"))]
    against: Annotated[str | None, data(msg("token whose logit is subtracted"))]
    logit: Annotated[float, data(msg("logit, or difference of two, before a softcap"))]
    contributions: Annotated[tuple[ContributionRow, ...], data(msg("contribution of each part"))]
    edges: Annotated[tuple[EdgeRow, ...], data(msg("edges of the strongest heads"))]
