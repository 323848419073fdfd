"""The tokens nearest to a word, and analogies.

Axes: V vocab, N words, D width of the matrix.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from archcalc.errors import InputError
from archcalc.interp.embed.result import Analogy, AnalogyToken, NearestTokens, NearToken, TableName
from archcalc.interp.embed.vectors import cosines, names, token_table, word_rows, word_vectors
from archcalc.interp.next_token import NO_NAMES, DisplayNames
from archcalc.words import msg

N_ANALOGY_WORDS = 4


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
    rows: list[NearToken] = []
    for ids, name, cosines_V in zip(words, names(words, labels), cosines(table_VD, vectors_ND), strict=True):
        hidden = set() if with_inputs else set(ids)
        nearest = [token for token in _order(cosines_V)[: top + len(hidden)].tolist() if token not in hidden][:top]
        rows += (
            NearToken(word=name, rank=rank, token=labels.piece(token) or None, id=token, cosine=float(cosines_V[token]))
            for rank, token in enumerate(nearest, 1)
        )
    return NearestTokens(
        name=labels.name,
        label=labels.label,
        table=table,
        n_tokens=len(table_VD),
        with_inputs=with_inputs,
        words=word_rows(words, vectors_ND, labels),
        neighbors=tuple(rows),
    )


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
