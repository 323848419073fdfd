"""Words on a plane: principal component analysis (Pearson 1901).

Axes: N words, D width of the matrix, K components: min(N − 1, D), as centered rows sum to 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from archcalc.errors import InputError
from archcalc.interp.embed.result import PrincipalComponent, ProjectedWord, Projection, TableName
from archcalc.interp.embed.vectors import names, token_table, word_rows, word_vectors
from archcalc.interp.next_token import NO_NAMES, DisplayNames
from archcalc.words import msg

MIN_WORDS = 2


def principal_components(vectors_ND: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the coordinates [N, K], the unit directions [K, D], and the variances [K] (divisor N − 1) in float64.

    They are the exact decomposition of the centered rows, the largest variance first. Of each direction, the number
    furthest from zero is positive.
    """
    x_ND = vectors_ND.double()
    x_ND = x_ND - x_ND.mean(0)
    _, s_K, directions_KD = torch.linalg.svd(x_ND, full_matrices=False)
    n_components = min(len(x_ND) - 1, x_ND.shape[-1])
    s_K, directions_KD = s_K[:n_components], directions_KD[:n_components]
    largest_K1 = directions_KD.abs().argmax(-1, keepdim=True)
    directions_KD = directions_KD * directions_KD.gather(-1, largest_K1).sign()
    return x_ND @ directions_KD.T, directions_KD, s_K**2 / (len(x_ND) - 1)


@torch.inference_mode()
def projection(
    model: Any, words: Sequence[Sequence[int]], *, table: TableName = "input", labels: DisplayNames = NO_NAMES
) -> Projection:
    """Return words on the plane of their first two principal components, with the variance that each explains.

    `words` are at least two lists of token ids; see `neighbors`. The components are those of these words, not of the
    whole table. Raises InputError as `neighbors` does.
    """
    if len(words) < MIN_WORDS:
        raise InputError(msg("found {found}", found=len(words)), where="words", allowed=msg("at least 2"))
    vectors_ND = word_vectors(token_table(model, table), words)
    coordinates_NK, _, variances_K = principal_components(vectors_ND)
    total = float(variances_K.sum()) or 1.0
    points = zip(names(words, labels), coordinates_NK.tolist(), strict=True)
    return Projection(
        name=labels.name,
        label=labels.label,
        table=table,
        words=word_rows(words, vectors_ND, labels),
        components=tuple(
            PrincipalComponent(component=k, variance=variance, share=variance / total)
            for k, variance in enumerate(variances_K.tolist(), 1)
        ),
        # Two words have one component.
        points=tuple(ProjectedWord(word=word, x=xy[0], y=[*xy, 0.0][1]) for word, xy in points),
    )
