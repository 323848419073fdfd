"""The tokens nearest to a word or a direction, and analogies.

Axes: V vocab, N words, D width of the matrix.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from archcalc.errors import InputError
from archcalc.interp.embed.result import Analogy, AnalogyToken, NearestTokens, NearToken, TableName, Word
from archcalc.interp.embed.vectors import cosines, names, token_table, word_rows, word_vectors
from archcalc.interp.next_token import NO_NAMES, DisplayNames
from archcalc.words import msg

N_ANALOGY_WORDS, N_DIFFERENCE_WORDS = 4, 2


@torch.inference_mode()
def neighbors(
    model: Any,
    words: Sequence[Sequence[int]],
    *,
    top: int = 10,
    table: TableName = "input",
    with_inputs: bool = False,
    labels: DisplayNames = NO_NAMES,
) -> NearestTokens:
    """Return the `top` tokens nearest to each word by cosine.

    `words` are lists of token ids; a word's vector is the mean of its tokens' rows. Its own tokens are left out unless
    `with_inputs`. Of equal cosines the lower id comes first. Raises InputError for ids outside the vocabulary, and for
    a `table` that the model does not have.
    """
    table_VD = token_table(model, table)
    vectors_ND = word_vectors(table_VD, words)
    hidden = [set() if with_inputs else set(ids) for ids in words]
    found = _nearest(table_VD, vectors_ND, names(words, labels), hidden, top, labels)
    return _nearest_tokens(table, table_VD, word_rows(words, vectors_ND, labels), found, labels, None, with_inputs)


@torch.inference_mode()
def difference_neighbors(
    model: Any,
    words: Sequence[Sequence[int]],
    *,
    top: int = 10,
    table: TableName = "input",
    with_inputs: bool = False,
    labels: DisplayNames = NO_NAMES,
) -> NearestTokens:
    """Return the `top` tokens nearest to the direction from the second word to the first.

    The two vectors have length 1 before they are subtracted, as in `analogy`. Raises InputError for other than two
    words, for words with the same vector, and as `neighbors` does.
    """
    if len(words) != N_DIFFERENCE_WORDS:
        raise InputError(msg("found {found}", found=len(words)), where="words", allowed="2")
    table_VD = token_table(model, table)
    vectors_ND = word_vectors(table_VD, words)
    a_D, b_D = F.normalize(vectors_ND, dim=-1)
    if bool((a_D == b_D).all()):
        raise InputError(msg("found one word twice"), where="words", allowed=msg("two words"))
    name, hidden = " − ".join(names(words, labels)), set() if with_inputs else {token for ids in words for token in ids}
    found = _nearest(table_VD, (a_D - b_D).unsqueeze(0), [name], [hidden], top, labels)
    return _nearest_tokens(table, table_VD, word_rows(words, vectors_ND, labels), found, labels, name, with_inputs)


@torch.inference_mode()
def direction_neighbors(
    model: Any,
    vectors: Mapping[str, Tensor],
    *,
    name: str = "",
    top: int = 10,
    table: TableName = "input",
    labels: DisplayNames = NO_NAMES,
) -> NearestTokens:
    """Return the `top` tokens nearest to vectors [D] of the residual stream, given by site.

    The cosines are with the rows of the table as they are; the final norm is left out. Raises InputError for vectors of
    another width than the table's, and as `neighbors` does.
    """
    table_VD = token_table(model, table)
    for vector_D in vectors.values():
        if vector_D.shape != table_VD.shape[1:]:
            raise InputError(
                msg("found vectors of width {found:,}", found=vector_D.numel()),
                where="direction",
                allowed=msg("{width:,}, the width of the table", width=table_VD.shape[1]),
            )
    vectors_ND = torch.stack([vector_D.double().cpu() for vector_D in vectors.values()])
    norms = vectors_ND.norm(dim=-1).tolist()
    rows = tuple(Word(word=site, ids=(), tokens=(), norm=norm) for site, norm in zip(vectors, norms, strict=True))
    found = _nearest(table_VD, vectors_ND, list(vectors), [set()] * len(vectors), top, labels)
    return _nearest_tokens(table, table_VD, rows, found, labels, name, True)


def _nearest_tokens(
    table: TableName,
    table_VD: Tensor,
    words: tuple[Word, ...],
    found: Iterator[NearToken],
    labels: DisplayNames,
    direction: str | None,
    with_inputs: bool,
) -> NearestTokens:
    """Return the result of a search in a table."""
    return NearestTokens(
        name=labels.name,
        label=labels.label,
        table=table,
        n_tokens=len(table_VD),
        direction=direction,
        with_inputs=with_inputs,
        words=words,
        neighbors=tuple(found),
    )


def _nearest(
    table_VD: Tensor,
    vectors_ND: Tensor,
    vector_names: Sequence[str],
    hidden: Sequence[Collection[int]],
    top: int,
    labels: DisplayNames,
) -> Iterator[NearToken]:
    """Yield the tokens nearest to each vector, without those that are hidden from it."""
    for name, left_out, cosines_V in zip(vector_names, hidden, cosines(table_VD, vectors_ND), strict=True):
        nearest = [token for token in _order(cosines_V)[: top + len(left_out)].tolist() if token not in left_out][:top]
        for rank, token in enumerate(nearest, 1):
            text = labels.piece(token) or None
            yield NearToken(word=name, rank=rank, token=text, id=token, cosine=float(cosines_V[token]))


@torch.inference_mode()
def analogy(
    model: Any,
    words: Sequence[Sequence[int]],
    *,
    top: int = 10,
    table: TableName = "input",
    labels: DisplayNames = NO_NAMES,
) -> Analogy:
    """Return the `top` tokens nearest to a − b + c, and the rank of d; `words` are a, b, c and d as token ids.

    The vectors of a, b and c have length 1 before they are added (3CosAdd; Levy & Goldberg 2014, section 3). Every rank
    is given with the tokens of a, b and c among the candidates, and without. Raises InputError as `neighbors` does.
    """
    if len(words) != N_ANALOGY_WORDS:
        raise InputError(msg("found {found}", found=len(words)), where="words", allowed=msg("4: a, b, c and d"))
    table_VD, expected = token_table(model, table), words[-1]
    vectors_ND = word_vectors(table_VD, words)
    a_D, b_D, c_D, d_D = F.normalize(vectors_ND, dim=-1)
    (cosines_V,) = cosines(table_VD, (a_D - b_D + c_D).unsqueeze(0))
    # Of one token, the very number that it is ranked by.
    is_token = len(expected) == 1
    cosine = cosines_V[expected[0]] if is_token else F.cosine_similarity(a_D - b_D + c_D, d_D, dim=0)
    inputs = sorted({token for ids in words[:-1] for token in ids})
    rank, others = _ranks(cosines_V, cosine, inputs)
    return Analogy(
        name=labels.name,
        label=labels.label,
        table=table,
        n_tokens=len(table_VD),
        words=word_rows(words, vectors_ND, labels),
        cosine=float(cosine),
        rank=rank,
        rank_without_inputs=None if is_token and expected[0] in inputs else others,
        tokens=tuple(_token(cosines_V, token, inputs, labels) for token in _order(cosines_V)[:top].tolist()),
    )


def _order(cosines_V: Tensor) -> Tensor:
    return cosines_V.argsort(descending=True, stable=True)


def _ranks(cosines_V: Tensor, cosine: Tensor, inputs: Sequence[int]) -> tuple[int, int]:
    """Return 1 plus the number of nearer tokens, of all and of those that are not inputs."""
    rank = 1 + int((cosines_V > cosine).sum())
    return rank, rank - int((cosines_V[list(inputs)] > cosine).sum())


def _token(cosines_V: Tensor, token: int, inputs: Sequence[int], labels: DisplayNames) -> AnalogyToken:
    rank, others = _ranks(cosines_V, cosines_V[token], inputs)
    return AnalogyToken(
        rank=rank,
        rank_without_inputs=None if token in inputs else others,
        token=labels.piece(token) or None,
        id=token,
        cosine=float(cosines_V[token]),
    )
