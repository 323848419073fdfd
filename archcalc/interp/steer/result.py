"""The result of `archcalc steer`: the direction's layers and the steered texts. Reading it needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING, Annotated, Any, Literal

from archcalc.results import Result, Row, Sureness, count, data, number, share, text
from archcalc.words import Message, msg

if TYPE_CHECKING:
    from archcalc.interp.steer.direction import Direction
    from archcalc.interp.steer.texts import SteeredText
    from archcalc.run.loading.source import ModelSource

Operation = Literal["plain", "add", "project out"]
OPERATION_NAMES: dict[str, Message] = {
    "plain": msg("none: the plain model"),
    "add": msg("direction added"),
    "project out": msg("direction projected out"),
}


class SteeredRow(Row, frozen=True, kw_only=True):
    """A text and its distance from the plain model.

    `strength` is None where the direction is projected out. `kl_nats` is KL(steered‖plain), averaged over the tokens of
    the text; `prompt_kl_nats` over those of the prompt after its first, None if it has one. `perplexity` is of the text
    under the plain model, None if infinite. `text` is "" without a tokenizer; `ids` include the end token.
    """

    operation: Annotated[Operation, text(msg("steering"), names=OPERATION_NAMES)]
    strength: Annotated[float | None, number(msg("strength"), "words")]
    n_tokens: Annotated[int, count(msg("tokens"), is_summed=False)]
    kl_nats: Annotated[float, number(msg("KL, nats"), "decimal")]
    prompt_kl_nats: Annotated[float | None, number(msg("KL in the prompt, nats"), "decimal")]
    perplexity: Annotated[float | None, number(msg("perplexity"), "decimal")]
    text: Annotated[str, data(msg("text"))]
    ids: Annotated[tuple[int, ...], data(msg("token ids"))]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "measured"


class DirectionLayer(Row, frozen=True, kw_only=True):
    """The direction at one layer.

    `norm` is the mean norm of the residual stream after the layer, `difference` the norm of the groups' mean difference
    relative to it. `separation` is the share of pairs of a positive and a negative prompt that the direction orders
    rightly. `is_steered`: the layer is.
    """

    layer: Annotated[int, number(msg("layer"), "words")]
    norm: Annotated[float, number(msg("mean norm"), "decimal")]
    difference: Annotated[float, share(msg("difference / norm"))]
    separation: Annotated[float, share(msg("separation"))]
    is_steered: Annotated[bool, text(msg("steered"), names={True: "✓", False: ""})]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "measured"


class Steering(Result, frozen=True, kw_only=True):
    """Texts while a direction is added or projected out, the plain text first.

    `stack` is the steered stack of an encoder-decoder; `from_layer` the layer whose vector all layers use, None if each
    uses its own; `from_token` the first position that is steered. `origin` says what the direction was made of.
    """

    name: Annotated[str, data(msg("name of the model"))]
    label: Annotated[str | Message, data(msg("title of the model"))]
    origin: Annotated[dict[str, Any], data(msg("what the direction was made of"))]
    stack: Annotated[str | None, data(msg("steered stack of an encoder-decoder"))]
    layers: Annotated[tuple[int, ...], data(msg("steered layers"))]
    from_layer: Annotated[int | None, data(msg("layer whose direction is used"))]
    from_token: Annotated[int | None, data(msg("first steered position"))]
    prompt: Annotated[str | None, data(msg("prompt"))]
    prompt_ids: Annotated[tuple[int, ...], data(msg("token ids of the prompt"))]
    texts: Annotated[tuple[SteeredRow, ...], data(msg("texts"))]
    directions: Annotated[tuple[DirectionLayer, ...], data(msg("the direction by layer"))]


def steered_row(source: ModelSource, found: SteeredText, strength: float | None) -> SteeredRow:
    """Return the row of a text; its strength is None where the direction was projected out."""
    ids = [token for token in found.ids if token not in source.eos_ids]
    operation: Operation = "project out" if strength is None else "add" if strength else "plain"
    return SteeredRow(
        operation=operation,
        strength=strength,
        n_tokens=len(found.ids),
        kl_nats=found.kl_nats,
        prompt_kl_nats=found.prompt_kl_nats,
        perplexity=found.perplexity if isfinite(found.perplexity) else None,
        text=source.tokenizer.decode(ids) if source.tokenizer else "",
        ids=found.ids,
    )


def direction_rows(direction: Direction, steered: Sequence[int]) -> tuple[DirectionLayer, ...]:
    """Return the rows of the layers that have a vector."""
    return tuple(
        DirectionLayer(
            layer=layer,
            norm=direction.contrasts[layer].norm,
            difference=direction.contrasts[layer].difference_norm / direction.contrasts[layer].norm,
            separation=direction.contrasts[layer].separation,
            is_steered=layer in steered,
        )
        for layer in direction.layers
    )
