"""Replace parts of a model with faster ones; parts without a fast form stay, and their children are replaced."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from archcalc.nn.attention import Attention
from archcalc.nn.ffn import Gated
from archcalc.nn.head import Head
from archcalc.nn.linear import Linear
from archcalc.nn.model import EncoderDecoder
from archcalc.nn.moe import MoE
from archcalc.nn.norm import RMSNorm
from archcalc.run.pack.allocator import trim_heap
from archcalc.run.pack.blockwise_attention import attend_blockwise
from archcalc.run.pack.fused_norm import FusedRMSNorm
from archcalc.run.pack.packed_linear import PackedHead, PackedLinear, PackedTable
from archcalc.run.pack.panel_formats import MATRICES, TABLES, pack_matrix
from archcalc.run.pack.panels import Panels

PackFunction = Callable[[Tensor], Panels]

# Linears of the same inputs, packed as one matrix.
FUSED_LINEARS: dict[type, tuple[str, ...]] = {Attention: ("q", "k", "v"), Gated: ("gate", "up")}


def replace_parts(model: Any, quantize: str | None) -> None:
    """Replace the parts of a model one after another; each canonical weight is freed when it is packed."""
    embed: Any = model.embed
    head: Head | None = model.head
    _replace_children(model, partial(pack_matrix, MATRICES[quantize]))
    head_weight_VW = head.weight if head else None
    is_tied = head is not None and head_weight_VW is None
    if is_tied or quantize:
        embed.tokens = PackedTable(pack_matrix(TABLES[quantize], embed.tokens.weight))
    source: Any = model.encoder.embed if isinstance(model, EncoderDecoder) else None
    if source is not None and quantize:
        source.tokens = PackedTable(pack_matrix(TABLES[quantize], source.tokens.weight))
    if head is not None:
        head_panels = embed.tokens.panels if head_weight_VW is None else pack_matrix(TABLES[quantize], head_weight_VW)
        head.weight = None
        model.head = PackedHead(head, head_panels)


def _replace_children(module: nn.Module, pack: PackFunction) -> None:
    for name, child in module.named_children():
        setattr(module, name, PACKERS.get(type(child), _keep)(child, pack))


def _keep(module: nn.Module, pack: PackFunction) -> nn.Module:
    _replace_children(module, pack)
    return module


def _linear(linear: Linear, pack: PackFunction) -> nn.Module:
    return PackedLinear(pack(linear.weight), _bias(linear))


def _norm(norm: RMSNorm, pack: PackFunction) -> nn.Module:
    return FusedRMSNorm(norm)


def _fuse_linears(module: nn.Module, pack: PackFunction) -> nn.Module:
    """Pack some Linears as parts of one matrix."""
    names = [name for name in FUSED_LINEARS[type(module)] if getattr(module, name) is not None]
    if any(not isinstance(module.get_submodule(name), Linear) for name in names):  # grouped
        return _keep(module, pack)
    linears = {name: cast(Linear, module.get_submodule(name)) for name in names}
    if len({linear.in_features for linear in linears.values()}) > 1:  # keys and values read a source of another width
        return _keep(module, pack)
    fused, start = pack(torch.cat([linear.weight for linear in linears.values()])), 0
    for name, linear in linears.items():
        setattr(module, name, PackedLinear(fused.part(start, linear.out_features), _bias(linear), fused))
        start += linear.out_features
    trim_heap()
    return _keep(module, pack)


def _attention(attention: Attention, pack: PackFunction) -> nn.Module:
    attention.attend = attend_blockwise
    return _fuse_linears(attention, pack)


def _moe(moe: MoE, pack: PackFunction) -> nn.Module:
    """Pack a mixture, but keep its router in float32, so that quantization does not change the choice of experts."""
    moe.router = _linear(moe.router, partial(pack_matrix, MATRICES[None]))  # type: ignore[assignment]
    return _keep(moe, pack)


def _bias(linear: Linear) -> Tensor | None:
    return None if linear.bias is None else linear.bias.detach().float()


PACKERS: dict[type, Callable[[Any, PackFunction], nn.Module]] = {
    Linear: _linear,
    RMSNorm: _norm,
    Attention: _attention,
    Gated: _fuse_linears,
    MoE: _moe,
}
