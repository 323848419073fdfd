"""The record of a figure, weight, product or cache as a formula."""

from __future__ import annotations

from typing import Annotated, Literal

from archcalc.analysis.figures import PartName
from archcalc.results import Row, Sureness, count, data, text
from archcalc.words import Message, msg

AnyPart = PartName | Literal["each", "elements"]

PART_NAMES: dict[AnyPart, Message] = {
    "weights": msg("weights"),
    "biases": msg("biases"),
    "tokens_by_weights": msg("tokens by weights"),
    "tokens_by_tokens": msg("tokens by tokens"),
    "others": msg("others"),
    "each": msg("each"),
    "elements": msg("elements"),
}


class FormulaPart(Row, frozen=True, kw_only=True):
    """A part of a figure, or what one tensor or one layer's product comes to."""

    part: Annotated[AnyPart, text(msg("part"), names=PART_NAMES)]
    formula: Annotated[str, text(msg("formula"))]
    value: Annotated[int, count(msg("value"))]


class FormulaTerms(Row, frozen=True, kw_only=True):
    """The terms of a long formula that have the same number of layers."""

    expression: Annotated[str, text(msg("formula"))]
    value: Annotated[int, count(msg("value"))]


class FigureFormula(Row, frozen=True, kw_only=True):
    """A figure, weight, product or cache as a formula; that of a product also over the attended pairs alone.

    `expression` is in symbols only, `formula` goes on to numbers and the value, `terms` are those of a long formula.
    `active_…` is what one token uses of experts. `share` is of the parameters, or of the forward FLOPs: `share_of`.
    """

    figure: Annotated[str, text(msg("figure"))]
    expression: Annotated[str, text(msg("formula"))]
    formula: Annotated[str, data(msg("formula in symbols, in numbers, and its value"))]
    value: Annotated[int, count(msg("value"))]
    causal_expression: Annotated[str | None, data(msg("formula over the attended pairs alone"))] = None
    causal_formula: Annotated[str | None, data(msg("the same in symbols, in numbers, and its value"))] = None
    causal_value: Annotated[int | None, data(msg("value over the attended pairs alone"))] = None
    active_formula: Annotated[str | None, data(msg("formula of what one token uses"))] = None
    active_value: Annotated[int | None, data(msg("what one token uses"))] = None
    what: Annotated[Literal["figure", "weight", "product", "cache"], data(msg("figure, weight, product or cache"))]
    meaning: Annotated[Message, data(msg("what it counts"))]
    multiple_of: Annotated[str | None, data(msg("the figure as a multiple of another"))] = None
    path: Annotated[str | None, data(msg("path"))] = None
    layers: Annotated[int | None, data(msg("layers"))] = None
    axes: Annotated[tuple[str, ...], data(msg("axes"))] = ()
    shape: Annotated[tuple[int, ...], data(msg("shape"))] = ()
    causal_axes: Annotated[tuple[str, ...], data(msg("axes over the attended pairs alone"))] = ()
    causal_shape: Annotated[tuple[int, ...], data(msg("shape over the attended pairs alone"))] = ()
    parts: Annotated[tuple[FormulaPart, ...], data(msg("parts"))] = ()
    n_terms: Annotated[int, data(msg("terms of the formula"))]
    terms: Annotated[tuple[FormulaTerms, ...], data(msg("terms of a long formula by number of layers"))] = ()
    relations: Annotated[tuple[str, ...], data(msg("relations that simplify the formula"))]
    share: Annotated[float | None, data(msg("share"))] = None
    share_of: Annotated[int | None, data(msg("total that the share is of"))] = None
    note: Annotated[Message | None, data(msg("why no total has it"))] = None
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "exact"
