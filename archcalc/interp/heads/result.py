"""The result of reading attention: a row for each head, and one head in full."""

from __future__ import annotations

from typing import Annotated, Final, Literal, get_args

from archcalc.results import Result, Row, Sureness, data, number, text
from archcalc.words import Message, in_context, msg

PatternKind = Literal["previous_token", "first_token", "induction", "duplicate_token"]
HeadKind = Literal["previous_token", "first_token", "induction", "duplicate_token", "other", "mixer"]
PATTERN_KINDS: Final[tuple[PatternKind, ...]] = get_args(PatternKind)
# The lowest score of a kind that a head is said to have.
THRESHOLD: Final = 0.4

KIND_NAMES: Final[dict[str, Message]] = {
    "previous_token": msg("previous token"),
    "first_token": msg("first token"),
    "induction": msg("induction"),
    "duplicate_token": msg("duplicate token"),
    "other": in_context("kind of head", "other"),
    "mixer": msg("recurrent mixer"),
}


class HeadFigures(Row, frozen=True, kw_only=True):
    """A head: the mean entropy and distance of its queries, and its kind.

    `kv_head` is the key-value head that it reads, which heads of one group share. `distance` is None for
    cross-attention. `scores` are None where kinds are not measured: cross-attention, mixers, and contexts below 9
    tokens.
    """

    path: Annotated[str, text(msg("attention"))]
    layer: Annotated[int, data(msg("layer"))]
    head: Annotated[int, number(in_context("of attention", "head"), "words")]
    kv_head: Annotated[int, number(msg("kv head"), "words")]
    entropy_nats: Annotated[float, number(msg("entropy, nats"), "decimal")]
    distance: Annotated[float | None, number(msg("distance, tokens"), "decimal")]
    previous_token: Annotated[float | None, number(msg("previous token"), "decimal")]
    first_token: Annotated[float | None, number(msg("first token"), "decimal")]
    induction: Annotated[float | None, number(msg("induction"), "decimal")]
    duplicate_token: Annotated[float | None, number(msg("duplicate token"), "decimal")]
    head_kind: Annotated[HeadKind, text(msg("kind of head"), names=KIND_NAMES)]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "measured"


class AttentionWeight(Row, frozen=True, kw_only=True):
    """One key of a query: its score and weight, both None where the mask hides it. A mixer has the weight as both."""

    query: Annotated[int, number(msg("query"), "words")]
    key: Annotated[int, number(msg("key"), "words")]
    token: Annotated[str, number(msg("token"), "quoted")]
    score: Annotated[float | None, number(msg("score"), "decimal")]
    weight: Annotated[float | None, number(msg("weight"), "decimal")]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "measured"


class NeuronProduct(Row, frozen=True, kw_only=True):
    """One dimension of a query and a key, and its scaled product."""

    dimension: Annotated[int, number(msg("dimension"), "words")]
    query: Annotated[float, number(msg("query"), "decimal")]
    key: Annotated[float, number(msg("key"), "decimal")]
    product: Annotated[float, number(msg("product, scaled"), "decimal")]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "measured"


class PairProducts(Row, frozen=True, kw_only=True):
    """The score of a query and a key by dimension, largest product first; `rest` is what bias and softcap add.

    A recurrent mixer has no products.
    """

    query: Annotated[int, data(msg("query"))]
    key: Annotated[int, data(msg("key"))]
    score: Annotated[float | None, data(msg("score"))]
    rest: Annotated[float | None, data(msg("bias and softcap"))]
    products: Annotated[tuple[NeuronProduct, ...], data(msg("product of each dimension"))]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "measured"


class HeadPattern(Row, frozen=True, kw_only=True):
    """One head in full: the weights of every query and key; `queries` are their names."""

    path: Annotated[str, data(msg("attention"))]
    head: Annotated[int, data(in_context("of attention", "head"))]
    queries: Annotated[tuple[str, ...], data(msg("queries"))]
    weights: Annotated[tuple[AttentionWeight, ...], data(msg("weights of every query"))]
    pair: Annotated[PairProducts | None, data(msg("one query and one key"))]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "measured"


class Attentions(Result, frozen=True, kw_only=True):
    """All heads of a model over one text.

    `texts` are the tokens of each text that is read: of an encoder-decoder, the source and the target.
    """

    name: Annotated[str, data(msg("name of the model"))]
    label: Annotated[str | Message, data(msg("title of the model"))]
    texts: Annotated[tuple[tuple[str, ...], ...], data(msg("tokens of each text"))]
    n_repeated: Annotated[int | None, data(msg("random tokens, repeated once, that kinds are measured on"))]
    has_summaries: Annotated[bool, data(msg("whether summaries of blocks of tokens are keys"))]
    heads: Annotated[tuple[HeadFigures, ...], data(msg("figures of each head"))]
    selected: Annotated[HeadPattern | None, data(msg("one head in full"))]
