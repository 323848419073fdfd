"""The results of the demonstrations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from archcalc.results import Field, Result, Row, Sureness, count, data, number, product, text
from archcalc.words import Message, msg

TITLES: dict[str, Message] = {
    "softmax": msg("From logits to a choice"),
    "dropout": msg("Dropout in training and at inference"),
    "positions": msg("Without positions, order is lost"),
    "step": msg("One training step by hand"),
    "cost": msg("Cost against length"),
}


class DemoTitle(Row, frozen=True, kw_only=True):
    """A demonstration by name."""

    name: Annotated[str, text(msg("name"))]
    title: Annotated[Message, text(msg("what it shows"))]


class DemoList(Result, frozen=True, kw_only=True):
    """All demonstrations."""

    demos: Annotated[tuple[DemoTitle, ...], data(msg("demonstrations"))]


class Demo(Result, frozen=True, kw_only=True):
    """The result of a demonstration."""

    name: Annotated[str, data(msg("name"))]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "measured"


class SoftmaxToken(Row, frozen=True, kw_only=True):
    """A token from its logit to how often it is drawn; `argmax` is 1 for the token with the largest logit."""

    token: Annotated[int, text(msg("token"))]
    logit: Annotated[float, number("z", "decimal")]
    exp: Annotated[float, Field(heading=msg("exp(z)"), kind="decimal", is_summed=True)]
    probability: Annotated[float, Field(heading=msg("softmax(z)"), kind="decimal", rounded="bar", is_summed=True)]
    argmax: Annotated[int, count(msg("argmax"))]
    draws: Annotated[int, count(msg("draws"))]
    frequency: Annotated[float, Field(heading=msg("frequency"), kind="decimal", is_summed=True)]


_TOKEN_NAMES = {str(n): msg("p of token {n}", n=n) for n in (1, 2, 3)}


class SoftmaxTemperature(Row, frozen=True, kw_only=True):
    """The probabilities of the tokens at a temperature; at 0 the largest logit has probability 1."""

    temperature: Annotated[float, text("T")]
    probabilities: Annotated[
        Mapping[str, float], Field(heading=msg("probabilities"), kind="decimal", names=_TOKEN_NAMES)
    ]
    entropy_nats: Annotated[float, number(msg("entropy, nats"), "decimal")]


class Logistic(Row, frozen=True, kw_only=True):
    """The softmax of the first two logits, and the logistic function 1 / (1 + exp(−x)) of their difference x."""

    difference: Annotated[float, number(msg("difference"), "decimal")]
    softmax: Annotated[tuple[float, float], product(msg("softmax(z)"))]
    logistic: Annotated[float, number(msg("logistic function"), "decimal")]


class SoftmaxDemo(Demo, frozen=True, kw_only=True):
    """Each stage from logits to sampled tokens; `sum` is that of the exponentials."""

    tokens: Annotated[tuple[SoftmaxToken, ...], data(msg("each token, stage by stage"))]
    sum: Annotated[float, data(msg("sum of the exponentials"))]
    logistic: Annotated[Logistic, data(msg("softmax and logistic function of two logits"))]
    temperatures: Annotated[tuple[SoftmaxTemperature, ...], data(msg("probabilities by temperature"))]
    seed: Annotated[int, data(msg("random seed"))]
    n_draws: Annotated[int, data(msg("draws"))]


_DRAW_NAMES = {str(n): msg("train {n}", n=n) for n in (1, 2, 3)}


class DropoutEntry(Row, frozen=True, kw_only=True):
    """An entry of the vector at inference, in some draws of training, and the mean of all draws.

    `deviation` is the standard deviation of the mean in theory.
    """

    entry: Annotated[int, text(msg("entry"))]
    inference: Annotated[float, number(msg("inference"), "decimal")]
    training: Annotated[Mapping[str, float], Field(heading=msg("training"), kind="decimal", names=_DRAW_NAMES)]
    mean: Annotated[float, number(msg("mean of all draws"), "decimal")]
    deviation: Annotated[float, number(msg("± by theory"), "decimal")]


class DropoutDemo(Demo, frozen=True, kw_only=True):
    """The output of a feed-forward network after dropout, at inference and in training.

    In training each value is dropped with probability `p`, and the others are multiplied by `scale` = 1 / (1 − p).
    """

    p: Annotated[float, data(msg("probability of a drop"))]
    scale: Annotated[float, data(msg("factor of what stays"))]
    seed: Annotated[int, data(msg("random seed"))]
    n_draws: Annotated[int, data(msg("draws"))]
    entries: Annotated[tuple[DropoutEntry, ...], data(msg("entries of the vector"))]
    share_dropped: Annotated[float, data(msg("share dropped in all draws"))]


CASE_NAMES: dict[str, Message] = {
    "none": msg("decoder without positions"),
    "learned": msg("… with learned positions"),
    "rope": msg("… with rotary positions"),
    "encoder": msg("encoder without positions"),
    "mask": msg("decoder without positions"),
}


class PositionsCase(Row, frozen=True, kw_only=True):
    """A model and its logits after the last token, for both orders.

    `difference` is the largest difference of a logit; `is_same`: it is at most the rounding error of float64 sums.
    """

    name: Annotated[str, text(msg("model"), names=CASE_NAMES)]
    family: Annotated[str, data(msg("family"))]
    positions: Annotated[str, data(msg("positions"))]
    layers: Annotated[int, count(msg("layers"), is_summed=False)]
    logit: Annotated[float, number(msg("logit"), "decimal")]
    swapped_logit: Annotated[float, number(msg("when swapped"), "decimal")]
    in_order: Annotated[tuple[float, ...], data(msg("logits"))]
    swapped: Annotated[tuple[float, ...], data(msg("logits of the swapped tokens"))]
    difference: Annotated[float, number(msg("difference"), "decimal")]
    is_same: Annotated[bool, text(msg("same"), names={True: msg("yes"), False: msg("no")})]


class PositionsDemo(Demo, frozen=True, kw_only=True):
    """Models that differ in one respect, on the same tokens in two orders with the same last token."""

    in_order: Annotated[tuple[int, ...], data(msg("token ids"))]
    swapped: Annotated[tuple[int, ...], data(msg("the same, two of them swapped"))]
    seed: Annotated[int, data(msg("random seed"))]
    rounding: Annotated[float, data(msg("largest difference of equal logits"))]
    cases: Annotated[tuple[PositionsCase, ...], data(msg("models"))]


class StepToken(Row, frozen=True):
    """A token before and after the step: z, p, y, and the gradient p − y by hand and by autograd."""

    token: Annotated[str, text(msg("token"))]
    logit: Annotated[float, number("z", "decimal")]
    probability: Annotated[float, number("p", "decimal")]
    target: Annotated[float, number("y", "decimal")]
    gradient: Annotated[float, number("p − y", "decimal")]
    autograd: Annotated[float, number(msg("autograd"), "decimal")]
    new_logit: Annotated[float, number(msg("z after"), "decimal")]
    new_probability: Annotated[float, number(msg("p after"), "decimal")]


class GradientDifferences(Row, frozen=True, kw_only=True):
    """The largest difference between the gradients by hand and by autograd, for each tensor."""

    logits: Annotated[float, number(msg("logits"), "decimal")]
    weight: Annotated[float, number("W", "decimal")]
    bias: Annotated[float, number("b", "decimal")]
    state: Annotated[float, number("h", "decimal")]


class TrainingStepDemo(Demo, frozen=True, kw_only=True):
    """A step of gradient descent on the head's matrix W and bias b, computed from the last state h.

    z = W·h + b, p = softmax(z), loss = −ln p[target]. With y the target's one-hot vector, ∂loss/∂z = p − y,
    ∂loss/∂W = (p − y)·hᵀ, ∂loss/∂b = p − y. The losses before and after the step are computed by hand and by the
    module; `expected_change` is the first-order change of the loss, −learning_rate · |gradient|².
    """

    tokens: Annotated[tuple[StepToken, ...], data(msg("tokens of the vocabulary"))]
    prompt: Annotated[tuple[int, ...], data(msg("token ids of the prompt"))]
    target: Annotated[int, data(msg("id of the right token"))]
    seed: Annotated[int, data(msg("random seed"))]
    learning_rate: Annotated[float, data(msg("learning rate"))]
    state: Annotated[tuple[float, ...], data(msg("the last state"))]
    loss: Annotated[float, data(msg("loss"))]
    module_loss: Annotated[float, data(msg("loss by the module"))]
    differences: Annotated[GradientDifferences, data(msg("largest differences from autograd"))]
    new_loss: Annotated[float, data(msg("loss after the step"))]
    new_module_loss: Annotated[float, data(msg("loss after the step, by the module"))]
    expected_change: Annotated[float, data(msg("change of the loss to first order"))]


class TokenCost(Row, frozen=True, kw_only=True):
    """Forward FLOPs of a token in a prefill of `tokens`; `pairs_flops` are the scores and values within attention."""

    tokens: Annotated[int, count(msg("tokens"))]
    attention_flops: Annotated[int, count(msg("attention"))]
    pairs_flops: Annotated[int, data(msg("scores and values"))]
    ffn_flops: Annotated[int, count(msg("feed-forward"))]
    attention_share: Annotated[float, Field(heading=msg("attention's share"), kind="percent", rounded="bar")]


class CostDemo(Demo, frozen=True, kw_only=True):
    """Costs at several context lengths, and the fewest tokens at which attention costs more than the FFN.

    `crossing` counts every key that a layer holds, `crossing_causal` only the attended pairs; None if attention never
    costs more, up to the longest context.
    """

    label: Annotated[str | Message, data(msg("title of the model"))]
    points: Annotated[tuple[TokenCost, ...], data(msg("costs by context length"))]
    crossing: Annotated[int | None, data(msg("tokens at which attention overtakes"))]
    crossing_causal: Annotated[int | None, data(msg("tokens at which attention overtakes, attended pairs counted"))]
