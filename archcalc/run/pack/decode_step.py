"""Decode one token in as few kernels as possible.

Residual branches, embedding, norms and head are the canonical modules'; attention has a form for one query, which
attends to all cached tokens without a mask and without repeated heads.

Axes: B batch, D model, N heads, K kv heads, H head width, Z all heads of queries, keys and values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archcalc.nn import rope
from archcalc.nn.activation import gated
from archcalc.nn.arm_cache import ArmCache, Pair, PairCache
from archcalc.nn.attention import Attention
from archcalc.nn.block import Block
from archcalc.nn.cache import Cache
from archcalc.nn.cache_store import PlainStore as PlainStore
from archcalc.nn.ffn import Gated
from archcalc.nn.model import SingleStack
from archcalc.nn.moe import MoE
from archcalc.nn.scaling import multiply
from archcalc.run.pack.packed_linear import PackedLinear
from archcalc.spec.branches import norms
from archcalc.spec.layer import Arm
from archcalc.spec.position import Rope
from archcalc.spec.variants import implementation


@dataclass
class StepContext:
    """The position of the token, and the caches of the current layer."""

    past: int
    caches: Mapping[str, ArmCache] = field(default_factory=dict)
    arm: str = ""
    _rotary_tables: dict[Rope, Pair] = field(default_factory=dict)

    def rotate(self, x_BZH: Tensor, part: Rope) -> None:
        """Rotate heads in place: each pair (a, b) to (a·cos − b·sin, b·cos + a·sin), as `archcalc.nn.rope.rotate`."""
        if part not in self._rotary_tables:
            self._rotary_tables[part] = self._pair_tables(part)
        cos, sin = self._rotary_tables[part]
        pairs = x_BZH.narrow(-1, 0, cos.numel()).view(*x_BZH.shape[:-1], *cos.shape)
        torch.addcmul(pairs * cos, pairs.flip(_pair_axis(part)), sin, out=pairs)

    def update(self, k_BKH: Tensor, v_BKH: Tensor) -> Pair:
        """Return keys and values [B, K, S, H] of all tokens, the new included; write unquantized caches directly."""
        cache = cast(PairCache, self.caches[self.arm])
        is_plain = all(type(store) is PlainStore and store.tensors[0].dtype == k_BKH.dtype for store in cache.stores)
        if not is_plain or self.past >= cache.stores[0].capacity:
            return cache.update(lambda: (k_BKH.unsqueeze(2), v_BKH.unsqueeze(2)), self.past)
        keys, values = cache.stores[0].tensors[0], cache.stores[1].tensors[0]
        keys.select(2, self.past).copy_(k_BKH)
        values.select(2, self.past).copy_(v_BKH)
        return keys.narrow(2, 0, self.past + 1), values.narrow(2, 0, self.past + 1)

    def _pair_tables(self, part: Rope) -> Pair:
        """Return cosines and sines for both elements of every pair; the sine of the first is negated."""
        tables = rope.rotary_tables(part, torch.tensor([self.past]))
        cos_R, sin_R = (table_1R[0] for table_1R in tables)
        axis = _pair_axis(part)
        return torch.stack((cos_R, cos_R), axis), torch.stack((-sin_R, sin_R), axis)


# Maps states [B, D] to an output [B, D].
TokenForward = Callable[[Tensor, StepContext], Tensor]


class SingleQueryAttention:
    """Attention with one query."""

    def __init__(self, attention: Attention) -> None:
        self.attention, self.read = attention, FusedLinear(attention, "q", "k", "v")
        self.out, self.has_qk_norm = FusedLinear(attention, "out"), attention.part.qk_norm is not None
        self.n_heads, self.n_kv_heads, self.d_head = attention.n_heads, attention.n_kv_heads, attention.d_head
        self.scale, self.position = attention.softmax.scale, attention.part.position

    def __call__(self, x_BD: Tensor, context: StepContext) -> Tensor:
        """Map states [B, D] to states [B, D]."""
        n_rows, n_rotated = len(x_BD), self.n_heads + self.n_kv_heads
        heads_BZH = self.read(x_BD).float().view(n_rows, -1, self.d_head)
        rotated_BZH = heads_BZH.narrow(1, 0, n_rotated)
        if self.has_qk_norm:
            rotated_BZH = self._apply_qk_norm(rotated_BZH)
        if isinstance(self.position, Rope):
            context.rotate(rotated_BZH, self.position)
        k_BKH, v_BKH = rotated_BZH.narrow(1, self.n_heads, self.n_kv_heads), heads_BZH[:, n_rotated:]
        k_BKSH, v_BKSH = context.update(k_BKH, v_BKH)
        # The query heads of one key head are laid out as tokens.
        q_BKnH = rotated_BZH.narrow(1, 0, self.n_heads).view(n_rows, self.n_kv_heads, -1, self.d_head)
        y_BKnH = F.scaled_dot_product_attention(q_BKnH, k_BKSH, v_BKSH, scale=self.scale)
        return self.out(y_BKnH.reshape(n_rows, -1))

    def _apply_qk_norm(self, x_BZH: Tensor) -> Tensor:
        heads_and_norms = (
            (x_BZH[:, : self.n_heads], self.attention.q_norm),
            (x_BZH[:, self.n_heads :], self.attention.k_norm),
        )
        normed = (
            self.attention._apply_qk_norm(x.flatten(1).unsqueeze(1), norm).squeeze(2) for x, norm in heads_and_norms
        )
        return torch.cat(tuple(normed), 1)


class FusedLinear:
    """Linears of the same inputs as one matrix; outputs are bfloat16 where the kernel gives that."""

    def __init__(self, module: nn.Module, *names: str) -> None:
        linears = [cast(PackedLinear, module.get_submodule(name)) for name in names]
        self.panels = linears[0].panels if linears[0].fused is None else linears[0].fused
        biases = [torch.zeros(x.panels.n_out) if x.bias is None else x.bias for x in linears]
        self.bias = None if all(x.bias is None for x in linears) else torch.cat(biases)

    def __call__(self, x_BI: Tensor) -> Tensor:
        """Map inputs [B, I] to all outputs [B, O]."""
        y_BO = self.panels.product(x_BI)
        return y_BO if self.bias is None else y_BO + self.bias


def single_query_attention(attention: Attention) -> SingleQueryAttention | None:
    """Return the attention for one query; None if a field needs the full module."""
    config, part = attention.softmax, attention.part
    extras = (
        config.bias,
        config.softcap,
        attention.sinks,
        attention.sink,
        attention.relative,
        attention.content,
        *(getattr(part, field) for field in _UNSUPPORTED),
    )
    is_plain = all(each is None for each in extras) and not _has_other_rotation(part)
    return SingleQueryAttention(attention) if is_plain and type(attention) is Attention else None


# Fields of an attention that this form does not support; where one is set, the module itself runs.
_UNSUPPORTED = (
    *(
        "d_value",
        "value_scale",
        "clip",
        "qk_clip",
        "temperature",
        "gate",
        "out_norm",
        "v_norm",
        "differential",
        "key_bias",
    ),
    *("q_block", "k_block", "v_block", "out_block", "d_value_source", "d_conv", "low_rank"),
)


def _has_other_rotation(part: Any) -> bool:
    """Return whether queries and keys are normed after rotation, angles are stored, or values are rotated."""
    is_normed_after = part.qk_norm is not None and part.qk_norm.when == "after"
    return is_normed_after or (isinstance(part.position, Rope) and (part.position.stored or part.position.values))


def gated_ffn(ffn: Gated) -> TokenForward | None:
    """Return a feed-forward of three matrices, with gate and up fused; None if it is more than these."""
    if ffn.sparsity is not None or ffn.out_scale is not None or ffn.gate_up_pairs is not None:
        return None
    read, down = FusedLinear(ffn, "gate", "up"), FusedLinear(ffn, "down")

    def run(x_BD: Tensor, context: StepContext) -> Tensor:
        gate_BF, up_BF = read(x_BD).chunk(2, -1)
        hidden_BF = gated(ffn.activation, multiply(gate_BF, ffn.gate_scale), up_BF)
        return down(hidden_BF if ffn.down_norm is None else ffn.down_norm(hidden_BF))

    return run


def module_forward(module: nn.Module) -> TokenForward:
    """Return the module's own forward pass, for one token."""
    return lambda x_BD, context: cast(Tensor, module.forward(x_BD.unsqueeze(1))).squeeze(1)


def mixture_forward(module: MoE) -> TokenForward | None:
    """Return a mixture's own forward pass for one token; None if its router has a state that layers share."""
    return None if module.router_mlp is not None else module_forward(module)


class DecodeBlock(Block):
    """A block whose arms run in their forms for one token."""

    def __init__(self, block: Block, forwards: dict[str, TokenForward]) -> None:
        nn.Module.__init__(self)
        self.branches, self.branch_names, self.stream_names = block.branches, block.branch_names, block.stream_names
        self.later_branches = ()
        self.stream_start, self.bottleneck = block.stream_start, None
        self.out_scalar, self.streams = block.out_scalar, None
        self.forwards = forwards
        norm_names = [name for branch in block.branches for name, _ in norms(branch)]
        self.norms = {name: block.norm_module(name).forward for name in norm_names}
        gate_names = [own.in_gate for own in block.branch_names if own.in_gate is not None]
        self.gates = {name: block.part_module(name).forward for name in gate_names}
        skip_names = [own.skip for own in block.branch_names if own.skip is not None]
        self.skips = {name: block.part_module(name).forward for name in skip_names}

    def run_arm(self, arm: Arm, x_BTD: Tensor, context: Any) -> Tensor:
        """Return the output of one arm [B, D]; the context is a `StepContext`."""
        context.arm = arm.name
        return multiply(self.forwards[arm.name](multiply(x_BTD, arm.in_scale), context), arm.scale)

    def apply_norm(self, name: str | None, x_BTD: Tensor) -> Tensor:
        """Return the states after the norm of this name."""
        return x_BTD if name is None else cast(Tensor, self.norms[name](x_BTD.float()))

    def apply_gate(self, name: str | None, x_BTD: Tensor) -> Tensor:
        """Return the states times the gate of this name."""
        return x_BTD if name is None else cast(Tensor, self.gates[name](x_BTD))

    def weigh_skip(self, name: str | None, x_BTD: Tensor) -> Tensor:
        """Return the states times the weights of this name."""
        return x_BTD if name is None else cast(Tensor, self.skips[name](x_BTD))

    def apply_dropout(self, y_BTD: Tensor) -> Tensor:
        """Return the states as they are."""
        return y_BTD


class DecodeStep:
    """Decode one token of each text in a cache."""

    def __init__(self, model: SingleStack, blocks: list[DecodeBlock]) -> None:
        self.model, self.blocks = model, blocks

    def accepts(self, ids_BT: Tensor, cache: Cache, kwargs: dict[str, Any]) -> bool:
        """Return whether the call is a decode step: one token, no padding, no other options."""
        options = {name: value for name, value in kwargs.items() if value is not None}
        return ids_BT.shape[1] == 1 and options in ({}, {"n_logits": 1}) and getattr(cache, "padding", None) is None

    def __call__(self, ids_B1: Tensor, cache: Cache) -> Tensor:
        """Return logits [B, 1, V] of the next token [B, 1], and append it to the cache."""
        with torch.inference_mode():
            logits_B1V = self._logits(ids_B1, cache)
        return logits_B1V.clone()  # an ordinary tensor, which callers may change in place

    def _logits(self, ids_B1: Tensor, cache: Cache) -> Tensor:
        model, context = self.model, StepContext(cache.past)
        cache.admit(ids_B1)
        x_BD = model.input_states(model.embed, ids_B1, None, torch.tensor([cache.past])).squeeze(1)
        for block, caches in zip(self.blocks, cache.layers, strict=True):
            context.caches = caches
            x_BD = block.forward(x_BD, cast(Any, context))
        cache.past += 1
        read_B1D = model.apply_final_norm(x_BD.unsqueeze(1))
        return read_B1D if model.head is None else cast(Tensor, model.head(read_B1D, model.embed.tokens.weight))


def decode_step(model: nn.Module) -> DecodeStep | None:
    """Return the decode step of a packed model; None unless all arms have a one-token form.

    There is none either for other models than decoders, and for one with prompts, per-layer embeddings, several
    streams, or parts that read ids or the input of the first layer.
    """
    if not isinstance(model, SingleStack) or not model.is_causal or model.spec.reads_text:
        return None
    parts = (model.prompts, model.per_layer, model.streams, model.cycles)
    if any(each is not None for each in parts) or model.reads_ids or model.reads_embedding:
        return None
    blocks = {owner: _decode_block(cast(Block, block)) for owner, block in model.layers.items()}
    if any(block is None for block in blocks.values()):
        return None
    return DecodeStep(model, [cast(DecodeBlock, blocks[owner]) for owner in model.owners])


def _decode_block(block: Block) -> DecodeBlock | None:
    if any(branch.splits_input for branch in block.branches):
        return None
    forwards = {arm.name: _token_forward(block, arm) for arm in block.arms}
    return None if None in forwards.values() else DecodeBlock(block, cast(dict[str, TokenForward], forwards))


def _token_forward(block: Block, arm: Arm) -> TokenForward | None:
    """Return the form of an arm for one token, if its variant has one that supports its fields."""
    make_forward = implementation(arm.part, "fast") if arm.reads == "stream" and arm.d_out_conv is None else None
    return None if make_forward is None else cast(TokenForward | None, make_forward(block.part_module(arm.name)))


def _pair_axis(part: Rope) -> int:
    """Return the axis of a pair: adjacent elements, or elements half a width apart."""
    return -1 if part.interleaved else -2
