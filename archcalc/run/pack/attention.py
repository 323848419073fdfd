"""Attention of a prompt to itself, a few queries at a time: each block looks at no key behind its last query.

Axes: B batch, T tokens, S keys that a block looks at, N heads, K kv heads, n heads of one kv head, H head width,
U value width, b queries of a block, G all B·K.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from archcalc.nn.sight import Sight
from archcalc.nn.softmax import Softmax, attend
from archcalc.spec.execution import Execution

BLOCK = 64  # queries
TOKENS = range(2 * BLOCK, 1025)  # of a prompt whose scores stay in a CPU's cache; PyTorch's kernel is faster beyond


def attend_in_blocks(
    part: Softmax,
    q_BNTH: Tensor,
    k_BKSH: Tensor,
    v_BKSU: Tensor,
    sight: Sight,
    how: Execution,
    *,
    sinks_N: Tensor | None,
    training: bool,
) -> Tensor:
    """Return what `archcalc.nn.softmax.attend` does: of prompts of a few hundred tokens in blocks of queries."""
    is_plain = all(each is None for each in (part.bias, part.softcap, part.window, sinks_N))
    if is_plain and sight.is_triangle and q_BNTH.shape[2] in TOKENS:
        return in_blocks(q_BNTH, k_BKSH, v_BKSU, part.scale)
    return attend(part, q_BNTH, k_BKSH, v_BKSU, sight, how, sinks_N=sinks_N, training=training)


def in_blocks(q_BNTH: Tensor, k_BKTH: Tensor, v_BKTU: Tensor, scale: float) -> Tensor:
    """Values [B, N, T, U] that every query finds in itself and what stands before it."""
    q_GnTH = (q_BNTH * scale).reshape(k_BKTH.shape[0] * k_BKTH.shape[1], -1, *q_BNTH.shape[2:])
    k_GHT, v_GTU = k_BKTH.flatten(0, 1).transpose(1, 2).contiguous(), v_BKTU.flatten(0, 1).contiguous()
    y_GnTU = torch.cat(list(_blocks(q_GnTH, k_GHT, v_GTU)), 2)
    return y_GnTU.view(*q_BNTH.shape[:3], -1)


def _blocks(q_GnTH: Tensor, k_GHT: Tensor, v_GTU: Tensor) -> Iterator[Tensor]:
    """What each block of queries finds: [G, n, b, U]."""
    later_bb = torch.full((BLOCK, BLOCK), -torch.inf).triu(1)
    for start in range(0, q_GnTH.shape[2], BLOCK):
        q_GnbH = q_GnTH[:, :, start : start + BLOCK]
        n_heads, n_queries = q_GnbH.shape[1:3]
        stop = start + n_queries
        scores_GnbS = torch.bmm(q_GnbH.flatten(1, 2), k_GHT[:, :, :stop]).view(-1, n_heads, n_queries, stop)
        scores_GnbS[..., start:] += later_bb[:n_queries, :n_queries]
        weights_GnbS = F.softmax(scores_GnbS, -1)
        yield torch.bmm(weights_GnbS.flatten(1, 2), v_GTU[:, :stop]).view(-1, n_heads, n_queries, v_GTU.shape[-1])
