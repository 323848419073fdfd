"""Vectors of tokens and words, and their cosines.

Axes: V vocab, N words, D width of the matrix. Cosines are computed in float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from archcalc.errors import InputError
from archcalc.interp.embed.result import TableName, Word
from archcalc.interp.next_token import DisplayNames
from archcalc.nn.taps.model_tap import canonical_spec
from archcalc.words import msg

# Rows converted to float64 at a time.
N_ROWS = 8192


def token_table(model: Any, table: TableName = "input") -> Tensor:
    """Return the token table [V, D], or the matrix of the head where it is another.

    D is narrower than the model where the table is factorized. Raises InputError for a head that has no matrix of its
    own or does not score the vocabulary, and for a packed model.
    """
    spec = canonical_spec(model)
    if table == "input":
        tokens_VD: Tensor = model.embed.tokens.weight.detach()
        return tokens_VD
    if not spec.predicts_tokens or model.head.weight is None:
        reason = msg("the head has the token table") if spec.predicts_tokens else msg("the model predicts no tokens")
        raise InputError(reason, where="table", allowed="input")
    head_VD: Tensor = model.head.weight.detach()
    return head_VD if model.head.columns is None else torch.cat((head_VD, model.head.columns.weight.detach()), 1)


def word_vectors(table_VD: Tensor, words: Sequence[Sequence[int]]) -> Tensor:
    """Return the mean vector [N, D] of each word's tokens. Raises InputError for no ids, and ids out of range."""
    for ids in words:
        check_word(ids, len(table_VD))
    means = [table_VD[torch.tensor(list(ids), device=table_VD.device)].double().mean(0) for ids in words]
    return torch.stack(means).cpu()


def check_word(ids: Sequence[int], n_vocab: int) -> None:
    """Raise InputError for a word without ids, or with ids outside the vocabulary."""
    wrong = [token for token in ids if not 0 <= token < n_vocab]
    if wrong or not ids:
        problem = msg("found id {id}", id=wrong[0]) if wrong else msg("found no token ids")
        raise InputError(problem, where="words", allowed=msg("ids from 0 to {last:,}", last=n_vocab - 1))


def cosines(table_VD: Tensor, vectors_ND: Tensor) -> Tensor:
    """Return the cosine [N, V] of each vector with each token; 0 where one of them is 0."""
    unit_ND = F.normalize(vectors_ND.double(), dim=-1).to(table_VD.device)
    parts = [unit_ND @ F.normalize(rows_RD.double(), dim=-1).T for rows_RD in torch.split(table_VD, N_ROWS)]
    return torch.cat(parts, dim=-1).cpu()


def word_rows(words: Sequence[Sequence[int]], vectors_ND: Tensor, labels: DisplayNames) -> tuple[Word, ...]:
    """Return each word with its tokens and the norm of its vector."""
    rows = zip(words, names(words, labels), vectors_ND.norm(dim=-1).tolist(), strict=True)
    return tuple(
        Word(word=name, ids=tuple(ids), tokens=tuple(labels.piece(token) for token in ids), norm=norm)
        for ids, name, norm in rows
    )


def names(words: Sequence[Sequence[int]], labels: DisplayNames) -> list[str]:
    """Return what a result calls each word: its text, or its ids."""
    texts = [*labels.texts, *[""] * len(words)]
    return [text or ", ".join(map(str, ids)) for ids, text in zip(words, texts, strict=False)]
