"""Attention of a prompt to itself in blocks of queries: each block skips the keys after its last query.

Axes: B batch, T tokens, S keys of a block, N heads, K kv heads, n heads of one kv head, H head width, U value width, b
queries of a block, G all B·K.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from archcalc.nn.attention_context import AttentionContext
from archcalc.nn.score_terms import ScoreTerm
from archcalc.nn.softmax import SoftmaxConfig, attend
from archcalc.spec.execution import Execution

BLOCK_QUERIES = 64  # queries
BLOCKWISE_TOKENS = range(
    2 * BLOCK_QUERIES, 1025
)  # of a prompt whose scores fit in a CPU's cache; beyond, PyTorch's kernel is faster


def attend_blockwise(
    config: SoftmaxConfig,
    q_BNTH: Tensor,
    k_BKSH: Tensor,
    v_BKSU: Tensor,
    context: AttentionContext,
    execution: Execution,
    *,
    sinks_N: Tensor | None,
    training: bool,
    terms: tuple[ScoreTerm, ...] = (),
) -> Tensor:
    """Return what `archcalc.nn.softmax.attend` does: in blocks of queries, for prompts of a few hundred tokens."""
    is_plain = all(each is None for each in (config.bias, config.softcap, config.window, sinks_N)) and not terms
    if is_plain and context.is_causal_square and q_BNTH.shape[2] in BLOCKWISE_TOKENS:
        return blockwise_attention(q_BNTH, k_BKSH, v_BKSU, config.scale)
    return attend(config, q_BNTH, k_BKSH, v_BKSU, context, execution, sinks_N=sinks_N, training=training, terms=terms)


def blockwise_attention(q_BNTH: Tensor, k_BKTH: Tensor, v_BKTU: Tensor, scale: float) -> Tensor:
    """Return values [B, N, T, U] of causal attention."""
    q_GnTH = (q_BNTH * scale).reshape(k_BKTH.shape[0] * k_BKTH.shape[1], -1, *q_BNTH.shape[2:])
    k_GHT, v_GTU = k_BKTH.flatten(0, 1).transpose(1, 2).contiguous(), v_BKTU.flatten(0, 1).contiguous()
    y_GnTU = torch.cat(list(_blocks(q_GnTH, k_GHT, v_GTU)), 2)
    return y_GnTU.view(*q_BNTH.shape[:3], -1)


def _blocks(q_GnTH: Tensor, k_GHT: Tensor, v_GTU: Tensor) -> Iterator[Tensor]:
    """Yield the values [G, n, b, U] of each block of queries."""
    causal_mask_bb = torch.full((BLOCK_QUERIES, BLOCK_QUERIES), -torch.inf).triu(1)
    for start in range(0, q_GnTH.shape[2], BLOCK_QUERIES):
        q_GnbH = q_GnTH[:, :, start : start + BLOCK_QUERIES]
        n_group_heads, n_queries = q_GnbH.shape[1:3]
        stop = start + n_queries
        scores_GnbS = torch.bmm(q_GnbH.flatten(1, 2), k_GHT[:, :, :stop]).view(-1, n_group_heads, n_queries, stop)
        scores_GnbS[..., start:] += causal_mask_bb[:n_queries, :n_queries]
        weights_GnbS = F.softmax(scores_GnbS, -1)
        yield torch.bmm(weights_GnbS.flatten(1, 2), v_GTU[:, :stop]).view(-1, n_group_heads, n_queries, v_GTU.shape[-1])
