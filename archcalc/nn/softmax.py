"""Softmax attention of queries, keys and values, by kernel.

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

from archcalc.nn.attention_context import AttentionContext
from archcalc.nn.global_rows import GlobalRows
from archcalc.nn.score_terms import ScoreTerm, with_heads
from archcalc.nn.taps.points import is_edited, is_read, tap, warn_eager
from archcalc.nn.upcast import upcast_dtype
from archcalc.spec.execution import Execution, Kernel

# Returns the bias [N, T, S] of `n_heads` heads; None if there is none.
Bias = Callable[[AttentionContext, int], Tensor | None]


@dataclass(frozen=True, kw_only=True)
class SoftmaxConfig:
    """The softmax of one attention.

    Scores are multiplied by `scale`, capped to ±softcap by a tanh (Gemma 2, section 2), biased, and hidden beyond the
    `window`, or the chunk of that length. A sink is a score without a value that joins the softmax (gpt-oss).
    `is_eager`: no fused kernel has it, as a bias with a gradient; `has_value_width`: values have a width of their own.
    """

    n_heads: int
    scale: float
    dropout: float = 0.0
    window: int | None = None
    is_chunked: bool = False
    softcap: float | None = None
    bias: Bias | None = None
    is_eager: bool = False
    has_value_width: bool = False


# `attend` or a replacement of it.
Attend = Callable[..., Tensor]


def attend(
    config: SoftmaxConfig,
    q_BNTH: Tensor,
    k_BKSH: Tensor,
    v_BKSU: Tensor,
    context: AttentionContext,
    execution: Execution,
    *,
    sinks_N: Tensor | None = None,
    terms: tuple[ScoreTerm, ...] = (),
    rows: GlobalRows | None = None,
    training: bool = False,
) -> Tensor:
    """Return each head's values [B, N, T, U], averaged by its softmaxed scores (Vaswani et al. 2017, eq. 1).

    The kernel is the one that `execution` names, or its fallback where it does not support this attention, or where
    scores are edited. Scores that are only recorded are computed next to it. `terms` are added to the scores. `rows`
    replace the scores of global tokens and what they read.
    """
    dropout = config.dropout if training and execution.dropout else 0.0
    kernel = "eager" if terms else _kernel(config, execution, dropout, sinks_N)
    if kernel != "eager" and is_edited("scores", "pattern"):
        warn_eager(kernel)
        kernel = "eager"

    def run_kernel(q_BNTH: Tensor, k_BKSH: Tensor, v_BKSU: Tensor, *heads_NRH: Tensor) -> Tensor:
        k_BNSH, v_BNSU = (repeat_kv_heads(x, config.n_heads) for x in (k_BKSH, v_BKSU))
        if kernel != "eager" and is_read("scores", "pattern"):
            _pattern(config, q_BNTH, k_BNSH, v_BNSU.dtype, context, sinks_N)
        if terms:
            own = with_heads(terms, heads_NRH)
            return _eager(config, q_BNTH, k_BNSH, v_BNSU, context, sinks_N, dropout, own)
        if rows is not None:
            first = rows.with_heads(*heads_NRH)
            return _eager(config, q_BNTH, k_BNSH, v_BNSU, context, sinks_N, dropout, rows=first)
        return KERNELS[kernel](config, q_BNTH, k_BNSH, v_BNSU, context, sinks_N, dropout)

    heads = [tensor for term in terms for tensor in term.heads] if rows is None else rows.heads
    if execution.recompute == "selective" and training:
        y_BNTU: Tensor = checkpoint(run_kernel, q_BNTH, k_BKSH, v_BKSU, *heads, use_reentrant=False)
        return y_BNTU
    return run_kernel(q_BNTH, k_BKSH, v_BKSU, *heads)


def softcap(x: Tensor, cap: float) -> Tensor:
    """Return cap · tanh(x / cap): near x where that is small, never beyond ±cap."""
    return torch.tanh(x / cap) * cap


def _kernel(config: SoftmaxConfig, execution: Execution, dropout: float, sinks_N: Tensor | None) -> Kernel:
    """Return the kernel to use.

    PyTorch's fused attention supports no softcap and no sinks, and would copy a learned bias for every layer. The CPU's
    flash kernel supports no dropout and needs values as wide as keys.
    """
    if execution.attention == "eager" or config.softcap is not None or sinks_N is not None or config.is_eager:
        return "eager"
    return "math" if execution.device == "cpu" and (config.has_value_width or dropout > 0) else execution.attention


def _eager(
    config: SoftmaxConfig,
    q_BNTH: Tensor,
    k_BNSH: Tensor,
    v_BNSU: Tensor,
    context: AttentionContext,
    sinks_N: Tensor | None,
    dropout: float,
    terms: tuple[ScoreTerm, ...] = (),
    rows: GlobalRows | None = None,
) -> Tensor:
    """Compute every product explicitly."""
    weights_BNTS = _pattern(config, q_BNTH, k_BNSH, v_BNSU.dtype, context, sinks_N, terms, rows)
    weights_BNTS = F.dropout(weights_BNTS, dropout, dropout > 0)
    y_BNTU = weights_BNTS @ v_BNSU
    return y_BNTU if rows is None else rows.values(y_BNTU, weights_BNTS)


def _pattern(
    config: SoftmaxConfig,
    q_BNTH: Tensor,
    k_BNSH: Tensor,
    dtype: torch.dtype,
    context: AttentionContext,
    sinks_N: Tensor | None,
    terms: tuple[ScoreTerm, ...] = (),
    rows: GlobalRows | None = None,
) -> Tensor:
    """Return attention weights [B, N, T, S]; the softmax is in float32 at least."""
    scores_BNTS = q_BNTH @ k_BNSH.transpose(-1, -2) * config.scale
    if config.softcap is not None:
        scores_BNTS = softcap(scores_BNTS, config.softcap)
    bias_NTS = config.bias(context, config.n_heads) if config.bias else None
    if bias_NTS is not None:
        scores_BNTS = scores_BNTS + bias_NTS.to(scores_BNTS.dtype)
    for term in terms:
        if (added := term.scores(q_BNTH, k_BNSH, context, config.scale)) is not None:
            scores_BNTS = scores_BNTS + added
    if rows is not None:
        scores_BNTS = rows.scores(scores_BNTS, config.scale)
    hidden_TS = context.hidden_mask(config.window, config.is_chunked)
    for term in terms:
        hidden_TS, sinks_N = term.hidden(hidden_TS), term.sinks(sinks_N)
    if hidden_TS is not None:
        scores_BNTS = scores_BNTS.masked_fill(hidden_TS, -torch.inf)
    weights_BNTS = _softmax_with_sinks(tap("scores", scores_BNTS, context), sinks_N)
    return tap("pattern", weights_BNTS.to(dtype), context)


def _additive_mask(config: SoftmaxConfig, context: AttentionContext, dtype: torch.dtype) -> Tensor | None:
    return context.additive_mask(config.window, config.bias, config.n_heads, dtype, is_chunked=config.is_chunked)


def _fused(*backends: SDPBackend) -> Callable[..., Tensor]:
    """Return PyTorch's scaled_dot_product_attention with the first of these backends that supports a call."""

    def run(
        config: SoftmaxConfig,
        q_BNTH: Tensor,
        k_BNSH: Tensor,
        v_BNSU: Tensor,
        context: AttentionContext,
        sinks_N: None,
        dropout: float,
    ) -> Tensor:
        is_causal = context.is_causal_square and config.window is None and config.bias is None
        mask = None if is_causal else _additive_mask(config, context, q_BNTH.dtype)
        if q_BNTH.device.type == "cpu":
            # The CPU's kernel lays out its result like the queries; by token, the next matrix reads it without a copy.
            q_BNTH = q_BNTH.transpose(1, 2).contiguous().transpose(1, 2)
        # If one pair alone is rotated, torch.cat may lay out heads last, which no fused kernel reads.
        q_BNTH, k_BNSH, v_BNSU = (x if x.stride(-1) == 1 else x.contiguous() for x in (q_BNTH, k_BNSH, v_BNSU))
        with sdpa_kernel(list(backends)):
            return F.scaled_dot_product_attention(
                q_BNTH, k_BNSH, v_BNSU, mask, dropout, is_causal=is_causal, scale=config.scale
            )

    return run


KERNELS: dict[Kernel, Callable[..., Tensor]] = {
    "eager": _eager,
    "math": _fused(SDPBackend.MATH),
    # A GPU's flash kernel supports 16-bit dtypes alone, no mask, and values as wide as keys.
    "flash": _fused(SDPBackend.FLASH_ATTENTION, SDPBackend.MATH),
}


def repeat_kv_heads(x_BKSH: Tensor, n_heads: int) -> Tensor:
    """Return [B, N, S, H]: each kv head repeated for its query heads."""
    n_each = n_heads // x_BKSH.shape[1]
    return x_BKSH if n_each == 1 else x_BKSH.repeat_interleave(n_each, dim=1)


def _softmax_with_sinks(scores_BNTS: Tensor, sinks_N: Tensor | None) -> Tensor:
    dtype = upcast_dtype(scores_BNTS.dtype)
    if sinks_N is None:
        return scores_BNTS.softmax(-1, dtype=dtype)
    sinks_BNT1 = sinks_N.to(scores_BNTS.dtype)
    sinks_BNT1 = (sinks_BNT1.view(-1, 1, 1) if sinks_N.dim() == 1 else sinks_BNT1).expand(*scores_BNTS.shape[:-1], 1)
    return torch.cat((scores_BNTS, sinks_BNT1), -1).softmax(-1, dtype=dtype)[..., :-1]
