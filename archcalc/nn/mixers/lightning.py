"""Lightning attention: linear attention whose states decay at fixed rates.

Axes: B batch, T tokens, D model, N heads, H width of a head, Z = N·H; C and c tokens of a chunk.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archcalc.nn.arm_cache import CacheConfig, RecurrentState
from archcalc.nn.attention_context import AttentionContext
from archcalc.nn.linear import Linear
from archcalc.nn.mixers.context import read_state, without_padding, write_state
from archcalc.nn.norm import RMSNorm
from archcalc.nn.taps.points import tap
from archcalc.spec import Spec
from archcalc.spec import mixer as spec


class Lightning(nn.Module):
    """Activated queries, keys and values through decaying states, then a norm, a gate and a projection."""

    def __init__(self, part: spec.Lightning, model: Spec) -> None:
        super().__init__()
        assert part.d_head is not None, "the spec is resolved"
        self.n_heads, self.chunk, self.rate = part.n_heads, part.chunk, part.rate
        width = part.n_heads * part.d_head
        for name in ("q", "k", "v", "gate"):
            self.add_module(name, Linear(model.d_model, width, bias=False))
        self.norm = RMSNorm(part.norm, width)
        self.out = Linear(width, model.d_model, bias=False)

    def forward(self, x_BTD: Tensor, context: AttentionContext) -> Tensor:
        """Map states [B, T, D] to states [B, T, D]."""
        x_BTD = without_padding(x_BTD, context)
        q, k, v = (self._by_head(tap(name, F.silu(self.get_submodule(name)(x_BTD)))) for name in ("q", "k", "v"))
        read = read_state(context)
        log_decays_BNT = self._log_decays(self._counted(x_BTD, context))
        if read is not None and x_BTD.shape[1] == 1:
            y_BNTH, state_BNHH = step(q, k, v, log_decays_BNT, read[0])
        else:
            y_BNTH, state_BNHH = chunked(q, k, v, log_decays_BNT, read[0] if read else None, self.chunk)
        write_state(context, state_BNHH)
        y_BTZ = self.norm(tap("mixed", y_BNTH.transpose(1, 2).flatten(2)))
        out_BTD: Tensor = self.out(torch.sigmoid(self.get_submodule("gate")(x_BTD)) * y_BTZ)
        return out_BTD

    def _by_head(self, x_BTZ: Tensor) -> Tensor:
        """Return a copy [B, N, T, H]."""
        x_BNTH = torch.unflatten(x_BTZ, -1, (self.n_heads, -1)).transpose(1, 2)
        return x_BNTH.clone(memory_format=torch.contiguous_format)

    def _log_decays(self, counted_BT: Tensor) -> Tensor:
        heads_N = torch.arange(1, self.n_heads + 1, device=counted_BT.device)
        rates_N = self.rate * torch.exp2(heads_N * (-8.0 / self.n_heads))
        return -rates_N.unsqueeze(-1) * counted_BT.unsqueeze(1)

    @staticmethod
    def _counted(x_BTD: Tensor, context: AttentionContext) -> Tensor:
        """Return 1 for each token and 0 for padding, during which no state decays: [B, T], or [1, T] for all rows."""
        padding_BT = context.query_padding
        if padding_BT is None:
            return torch.ones(1, x_BTD.shape[1], device=x_BTD.device)
        return (~padding_BT).float()


def step(
    q_BN1H: Tensor, k_BN1H: Tensor, v_BN1H: Tensor, log_decays_BN1: Tensor, state_BNHH: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the output [B, N, 1, H] of one token, and the state after it."""
    decay_BN11 = log_decays_BN1.exp().to(q_BN1H.dtype).unsqueeze(-1)
    state_BNHH = decay_BN11 * state_BNHH.to(q_BN1H.dtype) + k_BN1H.transpose(-1, -2) @ v_BN1H
    return q_BN1H @ state_BNHH, state_BNHH


def chunked(
    q_BNTH: Tensor, k_BNTH: Tensor, v_BNTH: Tensor, log_decays_BNT: Tensor, state_BNHH: Tensor | None, chunk: int
) -> tuple[Tensor, Tensor]:
    """Return the outputs [B, N, T, H], and the state after the last token. The last chunk may be shorter."""
    q_decays_BNT1, k_decays_BNT1 = _decays(log_decays_BNT, chunk).to(q_BNTH.dtype).unbind(0)
    batch, n_heads, n_tokens, width = q_BNTH.shape
    state = q_BNTH.new_zeros(batch, n_heads, width, width) if state_BNHH is None else state_BNHH.to(q_BNTH.dtype)
    first_BNCc = _pair_decays(log_decays_BNT[..., :chunk]).to(q_BNTH.dtype)
    outputs = []
    for start in range(0, n_tokens, chunk):
        tokens = slice(start, min(start + chunk, n_tokens))
        q, k, v = q_BNTH[:, :, tokens], k_BNTH[:, :, tokens], v_BNTH[:, :, tokens]
        n_own = q.shape[2]
        is_alike = log_decays_BNT.shape[0] == 1
        decay_BNCc = (
            first_BNCc[..., :n_own, :n_own] if is_alike else _pair_decays(log_decays_BNT[..., tokens]).to(q.dtype)
        )
        own_BNCH = ((q @ k.transpose(-1, -2)) * decay_BNCc) @ v
        outputs.append((q * q_decays_BNT1[:, :, tokens]) @ state + own_BNCH)
        with torch.set_grad_enabled(torch.is_grad_enabled() and tokens.stop < n_tokens):
            written_BNHH = (k * k_decays_BNT1[:, :, tokens]).transpose(-1, -2) @ v
            state = state * q_decays_BNT1[:, :, tokens.stop - 1].unsqueeze(-1) + written_BNHH
    return torch.cat(outputs, 2), state


def _decays(log_decays_BNT: Tensor, chunk: int) -> Tensor:
    """Return what is left of the state before a chunk at each token, and of each token at its end: [2, B, N, T, 1]."""
    of_chunks = torch.split(log_decays_BNT, chunk, -1)
    since_start = torch.cat([own.cumsum(-1) for own in of_chunks], -1)
    until_end = torch.cat([own.sum(-1, keepdim=True) - own.cumsum(-1) for own in of_chunks], -1)
    return torch.stack((since_start, until_end)).exp().unsqueeze(-1)


def _pair_decays(log_decays_BNC: Tensor) -> Tensor:
    """Return what is left of each key at each query, 0 for later keys: [B, N, C, c]."""
    sum_BNC = log_decays_BNC.cumsum(-1)
    return (sum_BNC.unsqueeze(-1) - sum_BNC.unsqueeze(-2)).tril().exp().tril()


def state(part: spec.Lightning, config: CacheConfig) -> RecurrentState:
    """Return the state of each head [B, N, H, H]."""
    assert part.d_head is not None, "the spec is resolved"
    return RecurrentState(config.zero_state(part.n_heads, part.d_head, part.d_head))
