"""Kinds of heads, measured on repeated random tokens (Elhage et al. 2021; Olsson et al. 2022, appendix).

The text is a first token x₀, n random tokens, and the same n tokens again. Query i = n + 1 … 2n is in the second copy.
The score of a kind is the mean attention weight on one key: of the previous token at i − 1 (i ≥ 1), of the first token
at 0 (i ≥ 2), of a duplicate token at i − n, and of induction at i − n + 1, the token after the earlier copy.

Axes: B texts, N heads, T tokens, S key tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from archcalc.interp.heads.arms import AttentionArm, check_memory
from archcalc.interp.heads.result import PATTERN_KINDS, THRESHOLD, HeadKind
from archcalc.nn.taps import record

N_TEXTS, MAX_REPEATED, MIN_REPEATED = 4, 50, 4


@dataclass(frozen=True)
class KindScores:
    """The score of each kind by path and head, in the order of `PATTERN_KINDS`: [N, 4]. `n_repeated` random tokens."""

    n_repeated: int
    scores: Mapping[str, Tensor]

    def kind(self, path: str, head: int) -> HeadKind:
        """Return the kind with the highest score if it is at least THRESHOLD, else 'other'."""
        if path not in self.scores:
            return "other"
        score, i = self.scores[path][head].max(-1)
        return PATTERN_KINDS[int(i)] if score >= THRESHOLD else "other"


def kind_scores(
    model: Any, arms: Mapping[str, AttentionArm], texts: Sequence[Tensor], seed: int = 0
) -> KindScores | None:
    """Return the scores of all self-attention heads; None if the context is too short for a repeated text.

    The first token is that of `texts`. Cross-attention has no kind.
    """
    n = min(MAX_REPEATED, *((stack.model.n_ctx - 1) // 2 for stack in model.spec.stacks))
    if n < MIN_REPEATED:
        return None
    generator = torch.Generator().manual_seed(seed)
    repeated = [
        _repeated(first, stack.model.vocab_size, n, generator)
        for first, stack in zip(texts, model.spec.stacks, strict=True)
    ]
    paths = [path for path, arm in arms.items() if not arm.is_cross]
    names = [f"{path}.pattern" for path in paths]
    check_memory(model, names, repeated)
    recording = record(model, *repeated, sites=names)
    return KindScores(n, {path: _scores(_of_text(arms[path], recording[f"{path}.pattern"]), n) for path in paths})


def _repeated(text_BT: Tensor, vocab_size: int, n: int, generator: torch.Generator) -> Tensor:
    random_Bn = torch.randint(vocab_size, (N_TEXTS, n), generator=generator).to(text_BT.device)
    return torch.cat([text_BT[:, :1].expand(N_TEXTS, 1), random_Bn, random_Bn], dim=1)


def _of_text(arm: AttentionArm, pattern_BNTS: Tensor) -> Tensor:
    """Return a pattern from the first token of the text on, in float64."""
    return pattern_BNTS[..., arm.n_lead :, arm.n_lead + arm.n_learned :].double()


def _scores(pattern_BNTS: Tensor, n: int) -> Tensor:
    """Return the scores [N, kinds]."""
    i = torch.arange(n + 1, 2 * n + 1, device=pattern_BNTS.device)
    by_kind = [
        pattern_BNTS.diagonal(-1, dim1=-2, dim2=-1),
        pattern_BNTS[..., 2:, 0],
        pattern_BNTS[..., i, i - n + 1],
        pattern_BNTS[..., i, i - n],
    ]
    return torch.stack([weights_BNi.mean((0, -1)) for weights_BNi in by_kind], dim=-1)
