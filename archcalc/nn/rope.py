"""Rotary positions (Su et al. 2021) and their scalings.

Axes: B batch, N heads, T tokens, H head width, R half the rotated width: one angle for each pair of dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from archcalc.spec import Spec
from archcalc.spec.position import (
    DynamicScaling,
    LinearScaling,
    Llama3Scaling,
    LongRopeScaling,
    ProportionalScaling,
    Rope,
    YarnScaling,
)

# The factor of cosines and sines: a number, or a tensor if it depends on the number of tokens.
Factor = Tensor | float


class RotaryTable(nn.Module):
    """Sines, then cosines, of every position as a frozen table [n_ctx, 2·R], shared by a stack's layers (RoFormer)."""

    def __init__(self, part: Rope, model: Spec) -> None:
        super().__init__()
        assert part.d_rotary is not None, "the spec is resolved"
        self.part = part
        self.weight = nn.Parameter(torch.empty(model.n_ctx, part.d_rotary), requires_grad=False)

    def forward(self, positions_T: Tensor) -> tuple[Tensor, Tensor]:
        """Return cosines and sines [T, R] at positions [T]."""
        sines_TR, cosines_TR = self.weight[positions_T].chunk(2, -1)
        return cosines_TR, sines_TR

    def values(self, device: torch.device | str) -> Tensor:
        """Return the table's values, on this device."""
        return table_rows(self.part, len(self.weight), device)


def table_rows(part: Rope, n_rows: int, device: torch.device | str = "cpu") -> Tensor:
    """Return the first rows [n_rows, 2·R] of a stored table."""
    cosines, sines = rotary_tables(part, torch.arange(n_rows, device=device))
    return torch.cat((sines, cosines), -1)


def rotary_tables(rope: Rope, positions_T: Tensor) -> tuple[Tensor, Tensor]:
    """Return cosines and sines [T, R] of a rope's angles at `positions_T`, in float32 (Su et al. 2021, eq. 34).

    Scalings that depend on the length use the last of these positions.
    """
    frequencies_R, factor = _frequencies(rope, positions_T)
    angles_TR = positions_T.float().unsqueeze(-1) * frequencies_R
    return angles_TR.cos() * factor, angles_TR.sin() * factor


def rotate(x_BNTH: Tensor, cos_sin: tuple[Tensor, Tensor], interleaved: bool, *, back: bool = False) -> Tensor:
    """Rotate the first 2·R dimensions of queries or keys [B, N, T, H] by (cosines, sines) [T, R] of their dtype.

    With `back` they are rotated by the opposite angles.
    """
    cos_TR, sin_TR = cos_sin
    width = 2 * cos_TR.shape[-1]
    rotated, rest = x_BNTH[..., :width], x_BNTH[..., width:]
    a, b = (rotated[..., 0::2], rotated[..., 1::2]) if interleaved else rotated.chunk(2, dim=-1)
    if back:
        a, b = a * cos_TR + b * sin_TR, b * cos_TR - a * sin_TR
    else:
        a, b = a * cos_TR - b * sin_TR, b * cos_TR + a * sin_TR
    rotated = torch.stack((a, b), -1).flatten(-2) if interleaved else torch.cat((a, b), -1)
    return torch.cat((rotated, rest), -1) if rest.shape[-1] else rotated


def softmax_scale(rope: Rope) -> float:
    """Return DeepSeek's factor on attention's scale: that of mscale_all_dim, squared (its reference code)."""
    if not isinstance(rope.scaling, YarnScaling) or rope.scaling.mscale_all_dim is None:
        return 1.0
    return _mscale(rope.scaling.factor, rope.scaling.mscale_all_dim) ** 2


def _frequencies(rope: Rope, positions_T: Tensor) -> tuple[Tensor, Factor]:
    """Return radians per token [R], and the factor on cosines and sines."""
    assert rope.d_rotary is not None, "the spec is resolved"
    exponents_R = torch.arange(0, rope.d_rotary, 2, device=positions_T.device).float() / rope.d_rotary
    frequencies_R = 1.0 / rope.theta**exponents_R
    if rope.scaling is None:
        return frequencies_R, 1.0
    return _SCALINGS[type(rope.scaling)](rope.scaling, rope, frequencies_R, positions_T)


def _linear(scaling: LinearScaling, rope: Rope, frequencies_R: Tensor, positions_T: Tensor) -> tuple[Tensor, Factor]:
    """Divide all frequencies (Chen et al. 2023, eq. 4)."""
    return frequencies_R / scaling.factor, 1.0


def _proportional(
    scaling: ProportionalScaling, rope: Rope, frequencies_R: Tensor, positions_T: Tensor
) -> tuple[Tensor, Factor]:
    """Keep the first frequencies; the other pairs do not rotate."""
    n_still = len(frequencies_R) - scaling.n_pairs
    return torch.nn.functional.pad(frequencies_R[: scaling.n_pairs] / scaling.factor, (0, n_still)), 1.0


def _llama3(scaling: Llama3Scaling, rope: Rope, frequencies_R: Tensor, positions_T: Tensor) -> tuple[Tensor, Factor]:
    """Scale by a pair's rotations within the original context (Llama 3.1's reference code, `apply_scaling`)."""
    rotations_R = scaling.n_ctx_original * frequencies_R / (2 * math.pi)
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    original_share_R = (rotations_R - low) / (high - low) if high != low else rotations_R > low
    return _blend(frequencies_R, original_share_R * torch.ones_like(rotations_R), scaling.factor), 1.0


def _yarn(scaling: YarnScaling, rope: Rope, frequencies_R: Tensor, positions_T: Tensor) -> tuple[Tensor, Factor]:
    """Blend along a ramp from pairs that rotate beta_fast times to beta_slow (Peng et al. 2023, section 3.2)."""
    assert rope.d_rotary is not None, "the spec is resolved"
    low, high = (_yarn_pair(scaling, rope, beta) for beta in (scaling.beta_fast, scaling.beta_slow))
    if scaling.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, rope.d_rotary - 1)
    high = high + 0.001 if low == high else high
    pairs_R = torch.arange(len(frequencies_R), device=frequencies_R.device).float()
    original_share_R = 1 - (pairs_R - low) / (high - low)
    return _blend(frequencies_R, original_share_R, scaling.factor), _yarn_factor(scaling)


def _yarn_pair(scaling: YarnScaling, rope: Rope, n_rotations: float) -> float:
    """Return the fractional pair with `n_rotations` in the original context (Peng et al. 2023, eq. 13 solved)."""
    assert rope.d_rotary is not None, "the spec is resolved"
    wavelength = scaling.n_ctx_original / (2 * math.pi * n_rotations)
    return rope.d_rotary * math.log(wavelength) / (2 * math.log(rope.theta))


def _yarn_factor(scaling: YarnScaling) -> float:
    """Return the factor on cosines and sines (Peng et al. 2023, eq. 15), as stated or as DeepSeek states it."""
    if scaling.attention_factor is not None:
        return scaling.attention_factor
    if scaling.mscale and scaling.mscale_all_dim:
        return _mscale(scaling.factor, scaling.mscale) / _mscale(scaling.factor, scaling.mscale_all_dim)
    return _mscale(scaling.factor, 1.0)


def _mscale(factor: float, mscale: float) -> float:
    return 0.1 * mscale * math.log(factor) + 1.0 if factor > 1 else 1.0


def _longrope(
    scaling: LongRopeScaling, rope: Rope, frequencies_R: Tensor, positions_T: Tensor
) -> tuple[Tensor, Factor]:
    """Ding et al. 2024, section 3.3: the factors for short or for long texts."""
    is_long = positions_T.max() + 1 > scaling.n_ctx_original
    short_R, long_R = (frequencies_R.new_tensor(factors) for factors in (scaling.short, scaling.long))
    frequencies_R = frequencies_R / torch.where(is_long, long_R, short_R)
    factor = _longrope_factor(scaling)
    if scaling.long_attention_factor is None:
        return frequencies_R, factor
    return frequencies_R, torch.where(is_long, scaling.long_attention_factor, factor)


def _longrope_factor(scaling: LongRopeScaling) -> float:
    if scaling.attention_factor is not None:
        return scaling.attention_factor
    if scaling.factor <= 1:
        return 1.0
    return math.sqrt(1 + math.log(scaling.factor) / math.log(scaling.n_ctx_original))


def _dynamic(scaling: DynamicScaling, rope: Rope, frequencies_R: Tensor, positions_T: Tensor) -> tuple[Tensor, Factor]:
    """Scale theta by a power of the text's relative length (the NTK-aware base of bloc97 and emozilla)."""
    assert rope.d_rotary is not None, "the spec is resolved"
    n_tokens = (positions_T.max() + 1).clamp(min=scaling.n_ctx_original)
    ratio = scaling.factor * n_tokens / scaling.n_ctx_original - (scaling.factor - 1)
    theta = rope.theta * ratio ** (rope.d_rotary / (rope.d_rotary - 2))
    exponents_R = torch.arange(0, rope.d_rotary, 2, device=positions_T.device).float() / rope.d_rotary
    return 1.0 / theta**exponents_R, 1.0


def _blend(frequencies_R: Tensor, original_share_R: Tensor, factor: float) -> Tensor:
    """Return frequencies where the share is 1 or more, divided by `factor` where it is 0 or less, mixed between."""
    original_share_R = original_share_R.clamp(0, 1)
    return frequencies_R / factor * (1 - original_share_R) + frequencies_R * original_share_R


_SCALINGS: dict[type, Callable[[Any, Rope, Tensor, Tensor], tuple[Tensor, Factor]]] = {
    LinearScaling: _linear,
    ProportionalScaling: _proportional,
    Llama3Scaling: _llama3,
    YarnScaling: _yarn,
    LongRopeScaling: _longrope,
    DynamicScaling: _dynamic,
}
