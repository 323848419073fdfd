"""Softmax attention once queries, keys and values are there, by kernel.

Axes: B batch, N heads, K kv heads, T query tokens, S key tokens, H query and key width, U value width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint

from archcalc.nn.sight import Sight
from archcalc.nn.taps.points import reads, say_eager, tap, writes
from archcalc.nn.wide import wide_dtype
from archcalc.spec.execution import Execution, Kernel

# A bias on the scores [N, T, S], of this many heads; None if there is none.
Bias = Callable[[Sight, int], Tensor | None]


@dataclass(frozen=True, kw_only=True)
class Softmax:
    """What one attention asks of its softmax.

    Scores are multiplied with `scale`, capped to ±softcap by a tanh (Gemma 2, section 2), biased, and hidden beyond the
    `window`. A sink is a score without a value that joins the softmax (gpt-oss). `learned`: the bias has a gradient;
    `uneven`: values have a width of their own.
    """

    n_heads: int
    scale: float
    dropout: float = 0.0
    window: int | None = None
    softcap: float | None = None
    bias: Bias | None = None
    learned: bool = False
    uneven: bool = False


# What computes an attention's values: `attend`, or what stands in for it.
Attend = Callable[..., Tensor]


def attend(
    part: Softmax,
    q_BNTH: Tensor,
    k_BKSH: Tensor,
    v_BKSU: Tensor,
    sight: Sight,
    how: Execution,
    *,
    sinks_N: Tensor | None = None,
    training: bool = False,
) -> Tensor:
    """Each head's values [B, N, T, U], averaged by its softmaxed scores (Vaswani et al. 2017, eq. 1).

    By the kernel that `how` names, or the one that takes its place where it cannot do this attention, or where scores
    are edited. Scores that are read alone are computed beside it.
    """
    dropout = part.dropout if training and how.dropout else 0.0
    kernel = _kernel(part, how, dropout, sinks_N)
    if kernel != "eager" and writes("scores", "pattern"):
        say_eager(kernel)
        kernel = "eager"

    def core(q_BNTH: Tensor, k_BKSH: Tensor, v_BKSU: Tensor) -> Tensor:
        k_BNSH, v_BNSU = (_for_each_head(x, part.n_heads) for x in (k_BKSH, v_BKSU))
        if kernel != "eager" and reads("scores", "pattern"):
            _pattern(part, q_BNTH, k_BNSH, v_BNSU.dtype, sight, sinks_N)
        return KERNELS[kernel](part, q_BNTH, k_BNSH, v_BNSU, sight, sinks_N, dropout)

    if how.recompute == "selective" and training:
        y_BNTU: Tensor = checkpoint(core, q_BNTH, k_BKSH, v_BKSU, use_reentrant=False)
        return y_BNTU
    return core(q_BNTH, k_BKSH, v_BKSU)


def softcapped(x: Tensor, cap: float) -> Tensor:
    """cap · tanh(x / cap): about x where that is small, never beyond ±cap."""
    return torch.tanh(x / cap) * cap


def _kernel(part: Softmax, how: Execution, dropout: float, sinks_N: Tensor | None) -> Kernel:
    """PyTorch's fused attention knows no softcap and no sinks, and a learned bias would be copied for every layer.

    The CPU's flash kernel drops nothing and wants values as wide as keys.
    """
    if how.attention == "eager" or part.softcap is not None or sinks_N is not None or part.learned:
        return "eager"
    return "math" if how.device == "cpu" and (part.uneven or dropout > 0) else how.attention


def _eager(
    part: Softmax, q_BNTH: Tensor, k_BNSH: Tensor, v_BNSU: Tensor, sight: Sight, sinks_N: Tensor | None, dropout: float
) -> Tensor:
    """Every product written out."""
    weights_BNTS = _pattern(part, q_BNTH, k_BNSH, v_BNSU.dtype, sight, sinks_N)
    return F.dropout(weights_BNTS, dropout, dropout > 0) @ v_BNSU


def _pattern(
    part: Softmax, q_BNTH: Tensor, k_BNSH: Tensor, dtype: torch.dtype, sight: Sight, sinks_N: Tensor | None
) -> Tensor:
    """How much of each key's value each query takes [B, N, T, S]; the softmax is in float32 at least."""
    scores_BNTS = q_BNTH @ k_BNSH.transpose(-1, -2) * part.scale
    if part.softcap is not None:
        scores_BNTS = softcapped(scores_BNTS, part.softcap)
    bias_NTS = part.bias(sight, part.n_heads) if part.bias else None
    if bias_NTS is not None:
        scores_BNTS = scores_BNTS + bias_NTS.to(scores_BNTS.dtype)
    hidden_TS = sight.hidden(part.window)
    if hidden_TS is not None:
        scores_BNTS = scores_BNTS.masked_fill(hidden_TS, -torch.inf)
    weights_BNTS = _weights(tap("scores", scores_BNTS, sight), sinks_N)
    return tap("pattern", weights_BNTS.to(dtype), sight)


def _fused(backend: SDPBackend) -> Callable[..., Tensor]:
    """PyTorch's scaled_dot_product_attention by this backend."""

    def run(
        part: Softmax, q_BNTH: Tensor, k_BNSH: Tensor, v_BNSU: Tensor, sight: Sight, sinks_N: None, dropout: float
    ) -> Tensor:
        triangle = sight.is_triangle and part.window is None and part.bias is None
        mask = None if triangle else sight.added(part.window, part.bias, part.n_heads, q_BNTH.dtype)
        if q_BNTH.device.type == "cpu":
            # The CPU's kernel lays its result out as the queries are: by token, it is read on without a copy.
            q_BNTH = q_BNTH.transpose(1, 2).contiguous().transpose(1, 2)
        # Where one pair alone is turned, torch.cat may lay the heads last, which no fused kernel reads.
        q_BNTH, k_BNSH, v_BNSU = (x if x.stride(-1) == 1 else x.contiguous() for x in (q_BNTH, k_BNSH, v_BNSU))
        with sdpa_kernel([backend]):
            return F.scaled_dot_product_attention(
                q_BNTH, k_BNSH, v_BNSU, mask, dropout, is_causal=triangle, scale=part.scale
            )

    return run


KERNELS: dict[Kernel, Callable[..., Tensor]] = {
    "eager": _eager,
    "math": _fused(SDPBackend.MATH),
    "flash": _fused(SDPBackend.FLASH_ATTENTION),
}


def _for_each_head(x_BKSH: Tensor, n_heads: int) -> Tensor:
    """[B, N, S, H]: each kv head repeated for the query heads that share it."""
    n_each = n_heads // x_BKSH.shape[1]
    return x_BKSH if n_each == 1 else x_BKSH.repeat_interleave(n_each, dim=1)


def _weights(scores_BNTS: Tensor, sinks_N: Tensor | None) -> Tensor:
    dtype = wide_dtype(scores_BNTS.dtype)
    if sinks_N is None:
        return scores_BNTS.softmax(-1, dtype=dtype)
    sinks_BNT1 = sinks_N.to(scores_BNTS.dtype).view(-1, 1, 1).expand(*scores_BNTS.shape[:-1], 1)
    return torch.cat((scores_BNTS, sinks_BNT1), -1).softmax(-1, dtype=dtype)[..., :-1]
