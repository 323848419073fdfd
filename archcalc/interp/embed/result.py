"""The results of `archcalc embed`. Reading them needs no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from archcalc.results import Result, Row, Sureness, count, data, number, share, text
from archcalc.words import Message, in_context, msg

TableName = Literal["input", "head"]
TABLES: dict[TableName, Message] = {"input": msg("token table"), "head": msg("matrix of the head")}


class NearToken(Row, frozen=True, kw_only=True):
    """A token near a word: `rank` 1 is the nearest. `token` is None without a tokenizer."""

    word: Annotated[str, text(msg("word"), shown="varied")]
    rank: Annotated[int, count(in_context("place", "rank"))]
    token: Annotated[str | None, number(msg("token"), "quoted")]
    id: Annotated[int, number(msg("id"), "words")]
    cosine: Annotated[float, number(msg("cosine"), "decimal")]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "measured"


class Word(Row, frozen=True, kw_only=True):
    """A word and its tokens; its vector is the mean of theirs."""

    word: Annotated[str, text(msg("word"))]
    ids: Annotated[tuple[int, ...], data(msg("token ids"))]
    tokens: Annotated[tuple[str, ...], data(msg("tokens"))]
    norm: Annotated[float, number(msg("Euclidean norm"), "decimal")]


class NearestTokens(Result, frozen=True, kw_only=True):
    """The tokens nearest to each word by cosine. `with_inputs`: the word's own tokens are listed, too.

    `direction` is the difference of two words, or the file of a direction, whose vectors stand under their sites.
    """

    name: Annotated[str, data(msg("name of the model"))]
    label: Annotated[str | Message, data(msg("title of the model"))]
    table: Annotated[TableName, data(msg("matrix whose rows are compared"))]
    n_tokens: Annotated[int, data(msg("tokens compared"))]
    direction: Annotated[str | None, data(msg("direction"))]
    with_inputs: Annotated[bool, data(msg("with the tokens of the words themselves"))]
    words: Annotated[tuple[Word, ...], data(msg("words"))]
    neighbors: Annotated[tuple[NearToken, ...], data(msg("nearest tokens"))]


class AnalogyToken(Row, frozen=True, kw_only=True):
    """A token and its cosine with a − b + c, ranked among all tokens and among those that are not of a, b or c."""

    rank: Annotated[int, count(in_context("place", "rank"))]
    rank_without_inputs: Annotated[int | None, count(msg("rank without a, b, c"))]
    token: Annotated[str | None, number(msg("token"), "quoted")]
    id: Annotated[int, number(msg("id"), "words")]
    cosine: Annotated[float, number(msg("cosine"), "decimal")]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "measured"


class Analogy(Result, frozen=True, kw_only=True):
    """The tokens nearest to a − b + c, and where the expected word d stands among them.

    The ranks of d are 1 plus the number of nearer tokens: of all, and of those that are not of a, b or c. The latter is
    None if d is itself a token of a, b or c.
    """

    name: Annotated[str, data(msg("name of the model"))]
    label: Annotated[str | Message, data(msg("title of the model"))]
    table: Annotated[TableName, data(msg("matrix whose rows are compared"))]
    n_tokens: Annotated[int, data(msg("tokens compared"))]
    words: Annotated[tuple[Word, ...], data(msg("the words a, b, c and d"))]
    cosine: Annotated[float, data(msg("cosine of d with a − b + c"))]
    rank: Annotated[int, data(msg("rank of d among all tokens"))]
    rank_without_inputs: Annotated[int | None, data(msg("rank of d without a, b, c"))]
    tokens: Annotated[tuple[AnalogyToken, ...], data(msg("nearest tokens"))]


class LayerSimilarity(Row, frozen=True, kw_only=True):
    """The cosine of a word's states in two contexts, after so many layers.

    `baseline` is the mean cosine of the other tokens of the first context with those of the second, None if there are
    none: states of a layer may all point in one direction.
    """

    layer: Annotated[int, number(msg("layers computed"), "words")]
    path: Annotated[str, text(msg("path"))]
    cosine: Annotated[float, number(msg("cosine"), "decimal")]
    baseline: Annotated[float | None, number(msg("mean cosine of other tokens"), "decimal")]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "measured"


class WordContext(Row, frozen=True, kw_only=True):
    """A context, its tokens, and the positions of the word in it."""

    text: Annotated[str, text(msg("context"))]
    ids: Annotated[tuple[int, ...], data(msg("token ids"))]
    positions: Annotated[tuple[int, ...], data(msg("positions of the word"))]


class ContextualSimilarity(Result, frozen=True, kw_only=True):
    """A word in two contexts, layer by layer."""

    name: Annotated[str, data(msg("name of the model"))]
    label: Annotated[str | Message, data(msg("title of the model"))]
    word: Annotated[str, data(msg("word"))]
    contexts: Annotated[tuple[WordContext, ...], data(msg("contexts"))]
    layers: Annotated[tuple[LayerSimilarity, ...], data(msg("similarity by layer"))]


class ProjectedWord(Row, frozen=True, kw_only=True):
    """A word's coordinates on the first two principal components."""

    word: Annotated[str, text(msg("word"))]
    x: Annotated[float, number(msg("first component"), "decimal")]
    y: Annotated[float, number(msg("second component"), "decimal")]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "measured"


class PrincipalComponent(Row, frozen=True, kw_only=True):
    """A principal component: the variance of the words along it (divisor: words − 1), and its share of the total."""

    component: Annotated[int, number(msg("component"), "words")]
    variance: Annotated[float, number(msg("variance"), "decimal")]
    share: Annotated[float, share(msg("explained variance"))]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "measured"


class Projection(Result, frozen=True, kw_only=True):
    """Words on the plane of their first two principal components; `components` has all of them."""

    name: Annotated[str, data(msg("name of the model"))]
    label: Annotated[str | Message, data(msg("title of the model"))]
    table: Annotated[TableName, data(msg("matrix whose rows are compared"))]
    words: Annotated[tuple[Word, ...], data(msg("words"))]
    components: Annotated[tuple[PrincipalComponent, ...], data(msg("principal components"))]
    points: Annotated[tuple[ProjectedWord, ...], data(msg("words on the plane"))]
