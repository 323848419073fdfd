"""The gated delta rule (Yang et al. 2025): linear attention whose state is partly forgotten and rewritten.

Axes: B batch, T tokens, D model, G key heads, N heads, K width of keys, V width of values, W width of convolutions less
one; M chunks, C and c tokens of a chunk; Z decays of a head, 1 or K.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archcalc.nn.arm_cache import CacheConfig, RecurrentState
from archcalc.nn.attention_context import AttentionContext
from archcalc.nn.linear import Linear
from archcalc.nn.mixers.chunks import in_chunks
from archcalc.nn.mixers.context import read_state, without_padding, write_state
from archcalc.nn.mixers.conv import CausalConv
from archcalc.nn.norm import RMSNorm
from archcalc.nn.taps.points import tap
from archcalc.nn.upcast import upcast, upcast_dtype
from archcalc.spec import Spec
from archcalc.spec import mixer as spec

EPS = 1e-6  # of the lengths of queries and keys
_GATES: dict[str, Callable[[Tensor], Tensor]] = {"silu": F.silu, "sigmoid": torch.sigmoid}


class GatedDelta(nn.Module):
    """Convolved queries, keys and values through the gated delta rule, then a gated norm and a projection."""

    def __init__(self, part: spec.GatedDelta, model: Spec) -> None:
        super().__init__()
        assert part.n_key_heads is not None, "the spec is resolved"
        assert part.d_value is not None, "the spec is resolved"
        self.n_heads, self.n_key_heads, self.d_key = part.n_heads, part.n_key_heads, part.d_key
        self.part, self.chunk, self.negative = part, part.chunk, part.negative
        d_keys, d_values = part.n_key_heads * part.d_key, part.n_heads * part.d_value
        for name, width in (("q", d_keys), ("k", d_keys), ("v", d_values)):
            self.add_module(name, Linear(model.d_model, width, bias=False))
            self.add_module(f"{name}_conv", CausalConv(width, part.d_conv, bias=False))
        self.beta = Linear(model.d_model, part.n_heads, bias=False)
        n_decays = part.n_heads * (1 if part.decay_over == "head" else part.d_key)
        self._add_projection("decay", model.d_model, part.decay_rank, n_decays)
        self.decay_log = nn.Parameter(torch.empty(part.n_heads))
        self.decay_bias = nn.Parameter(torch.empty(n_decays))
        self.norm = RMSNorm(part.norm, part.d_value)
        self._add_projection("gate", model.d_model, part.gate_rank, d_values)
        self.out = Linear(d_values, model.d_model, bias=False)

    def forward(self, x_BTD: Tensor, context: AttentionContext) -> Tensor:
        """Map states [B, T, D] to states [B, T, D]."""
        x_BTD = without_padding(x_BTD, context)
        *pasts, state_BNKV = read_state(context) or (None,) * 4
        pairs = [self._convolved(name, x_BTD, past) for name, past in zip("qkv", pasts, strict=True)]
        (q, k, v), recents = ([pair[index] for pair in pairs] for index in (0, 1))
        beta_BTN = torch.sigmoid(self.beta(x_BTD))
        beta_BTN = tap("beta", beta_BTN * 2.0 if self.negative else beta_BTN)
        decay_BTNZ = torch.unflatten(tap("decay", self._log_decay(x_BTD)), -1, (self.n_heads, -1))
        q_BTGK, k_BTGK = (_unit_length(torch.unflatten(upcast(x), -1, (self.n_key_heads, -1))) for x in (q, k))
        tensors = (
            self._by_head(q_BTGK * self.d_key**-0.5),
            self._by_head(k_BTGK),
            torch.unflatten(upcast(v), -1, (self.n_heads, -1)),
            upcast(beta_BTN),
            decay_BTNZ,
        )
        if x_BTD.shape[1] == 1 and state_BNKV is not None:
            y_BTNV, state_BNKV = step(*tensors, state_BNKV)
        else:
            y_BTNV, state_BNKV = chunked(*tensors, state_BNKV, self.chunk)
        write_state(context, *recents, state_BNKV)
        y_BTZ = tap("mixed", y_BTNV.to(x_BTD.dtype, copy=True, memory_format=torch.contiguous_format).flatten(-2))
        y_BTZ = self.norm(torch.unflatten(y_BTZ, -1, (self.n_heads, -1))).flatten(-2)
        gate_BTZ = _GATES[self.part.gate_activation](upcast(self._projected("gate", x_BTD)))
        gated_BTZ = (y_BTZ * gate_BTZ).to(x_BTD.dtype)
        out_BTD: Tensor = self.out(gated_BTZ)
        return out_BTD

    def _add_projection(self, name: str, d_in: int, rank: int | None, d_out: int) -> None:
        """Add a linear layer, or one into `rank` dimensions and one out of them."""
        if rank is None:
            self.add_module(name, Linear(d_in, d_out, bias=False))
        else:
            self.add_module(f"{name}_down", Linear(d_in, rank, bias=False))
            self.add_module(f"{name}_up", Linear(rank, d_out, bias=False))

    def _projected(self, name: str, x_BTD: Tensor) -> Tensor:
        """Return the projection that `_add_projection` added."""
        y: Tensor = (
            self.get_submodule(name)(x_BTD)
            if hasattr(self, name)
            else self.get_submodule(f"{name}_up")(self.get_submodule(f"{name}_down")(x_BTD))
        )
        return y

    def _log_decay(self, x_BTD: Tensor) -> Tensor:
        """Return the logarithm of the decay of each head [B, T, N] or channel [B, T, N·K], in float32 at least."""
        shifted_BTZ = upcast(self._projected("decay", x_BTD)) + self.decay_bias
        rates_N1 = upcast(self.decay_log).exp().unsqueeze(-1)
        if self.part.decay_bound is None:
            softplus_BTNZ = torch.unflatten(F.softplus(shifted_BTZ), -1, (self.n_heads, -1))
            return (-rates_N1 * softplus_BTNZ).flatten(-2)
        rated_BTNZ = rates_N1 * torch.unflatten(shifted_BTZ, -1, (self.n_heads, -1))
        return -self.part.decay_bound * torch.sigmoid(rated_BTNZ).flatten(-2)

    def _convolved(self, name: str, x_BTD: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return activated queries, keys or values [B, T, …], and the last inputs of their convolution."""
        y, recent = self.get_submodule(f"{name}_conv")(self.get_submodule(name)(x_BTD), past)
        return tap(name, F.silu(y)), recent

    def _by_head(self, x_BTGK: Tensor) -> Tensor:
        """Repeat each key head for the heads that it serves."""
        return x_BTGK.repeat_interleave(self.n_heads // self.n_key_heads, 2)


def _unit_length(x: Tensor) -> Tensor:
    return x * torch.rsqrt((x * x).sum(-1, keepdim=True) + EPS)


def step(
    q_BTNK: Tensor, k_BTNK: Tensor, v_BTNV: Tensor, beta_BTN: Tensor, decay_BTNZ: Tensor, state_BNKV: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the output [B, 1, N, V] of one token, and the state after it."""
    k_BNK1, q_BNK1 = k_BTNK[:, 0].unsqueeze(-1), q_BTNK[:, 0].unsqueeze(-1)
    state_BNKV = state_BNKV * decay_BTNZ[:, 0].unsqueeze(-1).exp()
    error_BNV = (v_BTNV[:, 0] - (k_BNK1 * state_BNKV).sum(-2)) * beta_BTN[:, 0].unsqueeze(-1)
    state_BNKV = state_BNKV + k_BNK1 * error_BNV.unsqueeze(-2)
    return (q_BNK1 * state_BNKV).sum(-2).unsqueeze(1), state_BNKV


def chunked(
    q_BTNK: Tensor,
    k_BTNK: Tensor,
    v_BTNV: Tensor,
    beta_BTN: Tensor,
    decay_BTNZ: Tensor,
    state_BNKV: Tensor | None,
    chunk: int,
) -> tuple[Tensor, Tensor]:
    """Return the outputs [B, T, N, V], and the state after the last token.

    Within a chunk the rewritten values solve a triangular system (the UT transform); the state is passed from chunk to
    chunk. The last chunk is padded with tokens that change no state.
    """
    n_tokens = q_BTNK.shape[1]
    q, k, v, decay = (in_chunks(x.transpose(1, 2), chunk) for x in (q_BTNK, k_BTNK, v_BTNV, decay_BTNZ))
    beta = in_chunks(beta_BTN.transpose(1, 2).unsqueeze(-1), chunk)
    sum_BNMCZ = decay.cumsum(-2)
    kept_BNMCZ, end_BNM1Z = sum_BNMCZ.exp(), sum_BNMCZ[..., -1:, :]
    rest_BNMCZ, chunk_decay_BNMZ1 = (end_BNM1Z - sum_BNMCZ).exp(), end_BNM1Z.exp().transpose(-1, -2)
    scaled_k = k * beta
    system_BNMCc, scores_BNMCc = _decayed_products((scaled_k, q), k, sum_BNMCZ)
    right = torch.cat((v * beta, scaled_k * kept_BNMCZ), -1)
    solved = torch.linalg.solve_triangular(system_BNMCc, right, upper=False, unitriangular=True)
    new_v, read_k = solved.split((v.shape[-1], k.shape[-1]), -1)
    state = q.new_zeros(*q.shape[:2], k.shape[-1], v.shape[-1]) if state_BNKV is None else upcast(state_BNKV)
    outputs = []
    for m in range(q.shape[2]):
        written_v = new_v[:, :, m] - read_k[:, :, m] @ state
        outputs.append((q[:, :, m] * kept_BNMCZ[:, :, m]) @ state + scores_BNMCc[:, :, m] @ written_v)
        with torch.set_grad_enabled(torch.is_grad_enabled() and m < q.shape[2] - 1):
            written_k = (k[:, :, m] * rest_BNMCZ[:, :, m]).transpose(-1, -2)
            state = state * chunk_decay_BNMZ1[:, :, m] + written_k @ written_v
    return torch.stack(outputs, 2).flatten(2, 3)[:, :, :n_tokens].transpose(1, 2), state


def _decayed_products(rows: Sequence[Tensor], k_BNMCK: Tensor, sum_BNMCZ: Tensor) -> list[Tensor]:
    """Return the product [B, N, M, C, c] of each of `rows` [B, N, M, C, K] with the keys, decayed since then.

    A decay of a whole head multiplies the products. Decays of channels multiply the keys: one matrix for each row.
    """
    n_tokens, n_decays = sum_BNMCZ.shape[-2:]
    is_later_Cc1 = torch.ones(n_tokens, n_tokens, dtype=torch.bool, device=sum_BNMCZ.device).triu(1).unsqueeze(-1)
    decay_BNMCcZ = sum_BNMCZ.unsqueeze(-2) - sum_BNMCZ.unsqueeze(-3)
    decay_BNMCcZ = decay_BNMCcZ.masked_fill(is_later_Cc1, -torch.inf).exp()
    if n_decays == 1:
        return [(x @ k_BNMCK.transpose(-1, -2)) * decay_BNMCcZ.squeeze(-1) for x in rows]
    decayed_BNMCcK = k_BNMCK.unsqueeze(-3) * decay_BNMCcZ
    return [(decayed_BNMCcK @ x.unsqueeze(-1)).squeeze(-1) for x in rows]


def state(part: spec.GatedDelta, config: CacheConfig) -> RecurrentState:
    """Return the last d_conv − 1 inputs of the three convolutions, and the state of each head in float32."""
    assert part.n_key_heads is not None, "the spec is resolved"
    assert part.d_value is not None, "the spec is resolved"
    d_keys, d_values = part.n_key_heads * part.d_key, part.n_heads * part.d_value
    shape = (config.batch, part.n_heads, part.d_key, part.d_value)
    return RecurrentState(
        *(config.zero_state(width, part.d_conv - 1) for width in (d_keys, d_keys, d_values)),
        torch.zeros(shape, dtype=upcast_dtype(config.dtype), device=config.device),
    )
