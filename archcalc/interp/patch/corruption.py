"""Corrupted forward passes: another prompt, or noise on the embeddings of some tokens.

Axes: B batch, T tokens, D model, P noisy positions.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import torch
from torch import Tensor

from archcalc.errors import InputError
from archcalc.nn.taps import Edit
from archcalc.words import msg


class Noise(msgspec.Struct, frozen=True):
    """Gaussian noise on the input of the first layer at some positions (Meng et al. 2022, section 2.1).

    Its standard deviation is `scale` times that of the numbers of the clean input. Effects are those of the mean over
    `n_samples`.
    """

    positions: tuple[int, ...]
    scale: float = 3.0
    n_samples: int = 10
    seed: int = 0

    def check(self, n_tokens: int) -> None:
        """Raise InputError for positions that the text does not have, none, and invalid numbers."""
        wrong = [position for position in self.positions if not 0 <= position < n_tokens]
        if wrong or not self.positions:
            raise InputError(
                msg("found {found}", found=wrong[0]) if wrong else msg("has no positions"),
                where="noise",
                allowed=msg("positions from 0 to {last:,}", last=n_tokens - 1),
            )
        if not self.scale > 0 or self.n_samples < 1:
            found, where = (self.n_samples, "noise_samples") if self.scale > 0 else (self.scale, "noise_scale")
            allowed = msg("above 0") if where == "noise_scale" else msg("1 or more")
            raise InputError(msg("found {found}", found=found), where=where, allowed=allowed)


def noise_edits(noise: Noise, prefix: str, clean_TD: Tensor) -> list[Edit]:
    """Return the edit of each sample, which adds noise to the input [B, T, D] of a stack's first layer."""
    generator = torch.Generator().manual_seed(noise.seed)
    deviation = noise.scale * float(clean_TD.double().std(correction=0))
    edits = []
    for _ in range(noise.n_samples):
        noise_TD = torch.zeros(clean_TD.shape, dtype=torch.float32)
        shape = (len(noise.positions), clean_TD.shape[1])
        noise_TD[list(noise.positions)] = deviation * torch.randn(shape, generator=generator)
        edits.append(_addition(f"{prefix}embed", noise_TD.to(clean_TD.device, clean_TD.dtype)))
    return edits


def _addition(site: str, x_TD: Tensor) -> Edit:
    return Edit(site, None, lambda x_BTD: x_BTD + x_TD)


def check_pair(clean: Sequence[int], corrupted: Sequence[int]) -> None:
    """Raise InputError for a corrupted prompt with another number of tokens."""
    if len(clean) != len(corrupted):
        raise InputError(
            msg("has {n:,} tokens", n=len(corrupted)),
            where="corrupted",
            allowed=msg("{n:,}, as many as the clean prompt", n=len(clean)),
        )
