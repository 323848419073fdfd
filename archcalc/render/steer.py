"""Steering as a page: the figures of every text, the texts, and the direction by layer."""

from __future__ import annotations

from archcalc.errors import shown
from archcalc.interp.steer.layers import ranges
from archcalc.interp.steer.result import DirectionLayer, SteeredRow, Steering
from archcalc.render.page import Block, Page, Text
from archcalc.render.tables import table
from archcalc.words import Message, msg, plural

ADDED = msg("Strength s adds s × the mean norm of the residual stream after a layer × the direction's unit vector.")
PROJECTED = msg("Projecting out removes the component along the direction, wherever a steered layer reads or writes.")
KL = msg(
    "KL is KL(steered‖plain) of the next token, averaged over the tokens of the text; in the prompt, over its tokens "
    "after the first. Perplexity is that of the text under the plain model."
)
LAYERS = msg(
    "The norm is that of the residual stream after a layer, the difference that of the two groups' means. Separation "
    "is the share of pairs of a positive and a negative prompt of which the positive one lies further along."
)
_METHODS = {"mean": msg("difference of the means"), "pca": msg("first principal component of the differences")}


def view(result: Steering, options: None = None) -> Page:
    """Return the page of the texts with their figures, and of the direction."""
    blocks: list[Block] = []
    if result.texts:
        is_projected = any(row.strength is None for row in result.texts)
        without = {"strength"} if is_projected else {"operation"}
        blocks.append(table(msg("Texts"), result.texts, SteeredRow, without=without))
        blocks += _texts(result)
        blocks.append(Text(msg("What the figures mean"), [PROJECTED if is_projected else ADDED, KL]))
    layers = table(msg("The direction by layer"), result.directions, DirectionLayer, without=_hidden(result))
    blocks += [layers, Text("", [LAYERS, *_origin(result)])]
    return Page(title(result), subtitle(result), blocks)


def title(result: Steering) -> Message:
    """Return the title of the page."""
    if result.texts:
        return msg("{model}: steered texts", model=result.label)
    return msg("{model}: a direction", model=result.label)


def subtitle(result: Steering) -> Message | str:
    """Return which layers are steered, and from which position on."""
    if not result.texts:
        return msg("measured")
    return plural(
        "steered: {stack}layer {layers}, {vectors}, from position {position} on; measured",
        "steered: {stack}layers {layers}, {vectors}, from position {position} on; measured",
        n=len(result.layers),
        stack=f"{result.stack}." if result.stack else "",
        layers=ranges(result.layers),
        vectors=plural("by its own direction", "each by its own direction", n=len(result.layers))
        if result.from_layer is None
        else msg("by the direction of layer {layer}", layer=result.from_layer),
        position=result.from_token,
    )


def heading(row: SteeredRow) -> Message:
    """Return what was done to the model that generated a text."""
    if row.operation == "add":
        return msg("Strength {strength:g}", strength=row.strength)
    return msg("Plain model") if row.operation == "plain" else msg("Direction projected out")


def _texts(result: Steering) -> list[Block]:
    prompt = [] if result.prompt is None else [Text(msg("Prompt"), result.prompt.splitlines())]
    return [*prompt, *(Text(heading(row), _lines(row)) for row in result.texts)]


def _lines(row: SteeredRow) -> list[str]:
    """Return the lines of a text; its ids without a tokenizer."""
    return row.text.splitlines() or [", ".join(map(str, row.ids))]


def _hidden(result: Steering) -> set[str]:
    return set() if result.texts else {"is_steered"}


def _origin(result: Steering) -> list[Message]:
    """Return what the direction was made of."""
    origin = result.origin
    groups = [origin.get(name) for name in ("positive", "negative")]
    n, m = (len(group) if isinstance(group, list) else 0 for group in groups)
    method = _METHODS.get(str(origin.get("method")), shown(origin.get("method")))
    lines = [
        msg(
            "Made of {n} positive and {m} negative prompts ({method}; tokens: {tokens}).",
            method=method,
            n=n,
            m=m,
            tokens=str(origin.get("tokens", "?")),
        )
    ]
    if origin.get("model") != result.name:
        lines.append(msg("It was made with another model, {model}.", model=shown(origin.get("model"))))
    return lines
