"""The mLSTM of xLSTM (Beck et al. 2024, section 2.3): a matrix for each head, written by exponential gates.

States are stored divided by exp(m), where m is the largest exponent so far; results do not depend on m.

Axes: B batch, T tokens, D model, N heads, K width of keys, V width of values; M chunks, C and c tokens of a chunk.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archcalc.nn.arm_cache import CacheConfig, RecurrentState
from archcalc.nn.attention_context import AttentionContext
from archcalc.nn.linear import Linear
from archcalc.nn.mixers.context import read_state, write_state
from archcalc.nn.norm import PieceNorm
from archcalc.nn.softmax import softcap
from archcalc.nn.taps.points import tap
from archcalc.nn.upcast import upcast
from archcalc.spec import Spec
from archcalc.spec import mixer as spec


class MatrixMemory(NamedTuple):
    """The states C [B, N, K, V] and s [B, N, K], divided by exp(m), and m [B, N]."""

    matrix: Tensor
    total: Tensor
    exponent: Tensor


class MLstm(nn.Module):
    """Queries, keys and values through a matrix memory, then a norm of each head, a gate and a projection."""

    def __init__(self, part: spec.MLstm, model: Spec) -> None:
        super().__init__()
        assert part.d_value is not None, "the spec is resolved"
        self.part = part
        keys, values = part.n_heads * part.d_key, part.n_heads * part.d_value
        self.q, self.k = (Linear(model.d_model, keys, bias=part.bias) for _ in "qk")
        self.v, self.gate = (Linear(model.d_model, values, bias=part.bias) for _ in "vg")
        self.write_gate, self.keep_gate = (Linear(model.d_model, part.n_heads, bias=True) for _ in "if")
        self.norm = PieceNorm(part.norm, part.n_heads, part.d_value)
        self.out = Linear(values, model.d_model, bias=part.bias)

    def forward(self, x_BTD: Tensor, context: AttentionContext) -> Tensor:
        """Map states [B, T, D] to states [B, T, D]."""
        part, n_tokens = self.part, x_BTD.shape[1]
        q, k, v = (self._by_head(tap(name, self.get_submodule(name)(x_BTD))) for name in ("q", "k", "v"))
        write_BNT, keep_BNT = self._gates(x_BTD, context)
        memory = self._memory(q, v, read_state(context))
        n_whole = n_tokens // part.chunk * part.chunk if n_tokens > 1 else 0
        outputs = []
        for run, start, stop, chunk in ((read_chunks, 0, n_whole, part.chunk), (read_steps, n_whole, n_tokens, 1)):
            if start < stop:
                tokens = [_in_chunks(x[:, :, start:stop], chunk) for x in (q, k, v, write_BNT, keep_BNT)]
                y_MBNCV, memory = run(tokens, memory, part.eps)
                outputs.append(y_MBNCV.permute(1, 0, 3, 2, 4).flatten(1, 2))
        write_state(context, *memory)
        y_BTZ = tap("mixed", torch.cat(outputs, 1).to(x_BTD.dtype).flatten(2))
        out_BTD: Tensor = self.out(torch.sigmoid(self.gate(x_BTD)) * self.norm(y_BTZ))
        return out_BTD

    def _by_head(self, x_BTZ: Tensor) -> Tensor:
        """Return [B, N, T, K or V] in float32 at least."""
        return torch.unflatten(upcast(x_BTZ), -1, (self.part.n_heads, -1)).transpose(1, 2)

    def _gates(self, x_BTD: Tensor, context: AttentionContext) -> tuple[Tensor, Tensor]:
        """Return the logarithms of what each head writes and keeps, both [B, N, T]; padding is not written."""
        write_BTN, forget_BTN = (self._capped(name, x_BTD) for name in ("write_gate", "keep_gate"))
        keep_BTN, padding_BT = -F.softplus(-forget_BTN), context.query_padding
        if padding_BT is not None:
            write_BTN = write_BTN.masked_fill(padding_BT.unsqueeze(-1), -torch.inf)
            keep_BTN = keep_BTN.masked_fill(padding_BT.unsqueeze(-1), 0.0)
        return write_BTN.transpose(1, 2), keep_BTN.transpose(1, 2)

    def _capped(self, name: str, x_BTD: Tensor) -> Tensor:
        gate_BTN, cap = upcast(self.get_submodule(name)(x_BTD)), self.part.gate_cap
        return tap(name, gate_BTN if cap is None else softcap(gate_BTN, cap))

    def _memory(self, q_BNTK: Tensor, v_BNTV: Tensor, read: tuple[Tensor, ...] | None) -> MatrixMemory:
        if read is not None:
            return MatrixMemory(*(upcast(tensor) for tensor in read))
        (batch, n_heads, _, d_key), d_value = q_BNTK.shape, v_BNTV.shape[-1]
        shapes = (batch, n_heads, d_key, d_value), (batch, n_heads, d_key), (batch, n_heads)
        return MatrixMemory(*(q_BNTK.new_zeros(shape) for shape in shapes))


def _in_chunks(x_BNTZ: Tensor, chunk: int) -> Tensor:
    """Return a copy [M, B, N, C, …] of tokens that are whole chunks."""
    x = torch.unflatten(x_BNTZ, 2, (-1, chunk))
    return x.movedim(2, 0).clone(memory_format=torch.contiguous_format)


class Written(NamedTuple):
    """The memory before the first chunk and after each, [M + 1, …].

    `keep` [M, B, N, C] is the sum of the logarithms of what is kept since the chunk began.
    """

    matrix: Tensor
    total: Tensor
    exponent: Tensor
    keep: Tensor
    last: MatrixMemory


def written(k: Tensor, v: Tensor, write_MBNC: Tensor, keep_MBNC: Tensor, memory: MatrixMemory) -> Written:
    """Return the memory after each chunk of keys [M, B, N, C, K] and values [M, B, N, C, V]."""
    sum_MBNC = keep_MBNC.cumsum(-1)
    end_MBN = sum_MBNC[..., -1]
    log_MBNC = end_MBN.unsqueeze(-1) - sum_MBNC + write_MBNC
    exponents = [memory.exponent]
    for end_BN, most_BN in zip(end_MBN.detach(), log_MBNC.detach().amax(-1), strict=True):
        exponents.append(torch.maximum(end_BN + exponents[-1], most_BN))
    exponent = torch.stack(exponents)
    weighted_k = k * (log_MBNC - exponent[1:].unsqueeze(-1)).exp().unsqueeze(-1)
    writes_MBNKV, sums_MBNK = weighted_k.transpose(-1, -2) @ v, weighted_k.sum(-2)
    kept_MBN = (end_MBN + exponent[:-1] - exponent[1:]).exp()
    matrices, totals = [memory.matrix], [memory.total]
    for kept_BN, write_BNKV, sum_BNK in zip(kept_MBN, writes_MBNKV, sums_MBNK, strict=True):
        matrices.append(kept_BN[..., None, None] * matrices[-1] + write_BNKV)
        totals.append(kept_BN[..., None] * totals[-1] + sum_BNK)
    last = MatrixMemory(matrices[-1], totals[-1], exponents[-1])
    return Written(torch.stack(matrices), torch.stack(totals), exponent, sum_MBNC, last)


def read_chunks(tokens: Sequence[Tensor], memory: MatrixMemory, eps: float) -> tuple[Tensor, MatrixMemory]:
    """Return what the queries read [M, B, N, C, V]: of the memory before their chunk, and of the chunk itself.

    `tokens` are queries, keys, values and the logarithms of what is written and kept, in chunks.
    """
    q, k, v, write_MBNC, keep_MBNC = tokens
    q, states = q * q.shape[-1] ** -0.5, written(k, v, write_MBNC, keep_MBNC, memory)
    later_Cc = torch.full((q.shape[-2],) * 2, -torch.inf, dtype=q.dtype, device=q.device).triu(1)
    log_MBNCc = states.keep.unsqueeze(-1) - states.keep.unsqueeze(-2) + write_MBNC.unsqueeze(-2) + later_Cc
    log_earlier_MBNC = states.keep + states.exponent[:-1].unsqueeze(-1)
    most_MBNC = torch.maximum(log_earlier_MBNC.detach(), log_MBNCc.detach().amax(-1))
    earlier_q = q * (log_earlier_MBNC - most_MBNC).exp().unsqueeze(-1)
    scores_MBNCc = (q @ k.transpose(-1, -2)) * (log_MBNCc - most_MBNC.unsqueeze(-1)).exp()
    matrix, total = states.matrix[:-1].clone(), states.total[:-1].clone()
    sums = earlier_q @ total.unsqueeze(-1) + scores_MBNCc.sum(-1, keepdim=True)
    return _divided(earlier_q @ matrix + scores_MBNCc @ v, sums, most_MBNC, eps), states.last


def read_steps(tokens: Sequence[Tensor], memory: MatrixMemory, eps: float) -> tuple[Tensor, MatrixMemory]:
    """Return what the queries of single tokens read [M, B, N, 1, V]: of the memory after their token."""
    q, k, v, write_MBN1, keep_MBN1 = tokens
    q, states = q * q.shape[-1] ** -0.5, written(k, v, write_MBN1, keep_MBN1, memory)
    matrix, total = states.matrix[1:].clone(), states.total[1:].clone()
    return _divided(q @ matrix, q @ total.unsqueeze(-1), states.exponent[1:].unsqueeze(-1), eps), states.last


def _divided(read: Tensor, sums: Tensor, exponent_MBNC: Tensor, eps: float) -> Tensor:
    return read / (torch.maximum(sums.abs(), (-exponent_MBNC).exp().unsqueeze(-1)) + eps)


def state(part: spec.MLstm, config: CacheConfig) -> RecurrentState:
    """Return the matrix [B, N, K, V], the sum [B, N, K] and the exponent [B, N] of each head."""
    assert part.d_value is not None, "the spec is resolved"
    return RecurrentState(
        config.zero_state(part.n_heads, part.d_key, part.d_value),
        config.zero_state(part.n_heads, part.d_key),
        config.zero_state(part.n_heads),
    )
