"""Each part of a model for one that runs faster: what has no fast form stays, and the parts inside it are looked at."""

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
from archcalc.run.pack.allocator import give_back
from archcalc.run.pack.attention import attend_in_blocks
from archcalc.run.pack.formats import MATRICES, TABLES, stored_as
from archcalc.run.pack.linear import PackedHead, PackedLinear, PackedTable
from archcalc.run.pack.norm import FusedRMSNorm
from archcalc.run.pack.panels import Panels

Pack = Callable[[Tensor], Panels]

# Linears of the same inputs that lie together, so that one row reads them as one matrix.
TOGETHER: dict[type, tuple[str, ...]] = {Attention: ("q", "k", "v"), Gated: ("gate", "up")}


def replace(model: Any, quantize: str | None) -> None:
    """Put fast parts into a model, one after the other; each canonical weight is let go as it is packed."""
    embed: Any = model.embed
    head: Head | None = model.head
    _replace_inside(model, partial(stored_as, MATRICES[quantize]))
    weight_VW = head.weight if head else None
    tied = head is not None and weight_VW is None
    if tied or quantize:
        embed.tokens = PackedTable(stored_as(TABLES[quantize], embed.tokens.weight))
    source: Any = model.encoder.embed if isinstance(model, EncoderDecoder) else None
    if source is not None and quantize:
        source.tokens = PackedTable(stored_as(TABLES[quantize], source.tokens.weight))
    if head is not None:
        read = embed.tokens.panels if weight_VW is None else stored_as(TABLES[quantize], weight_VW)
        head.weight = None
        model.head = PackedHead(head, read)


def _replace_inside(module: nn.Module, pack: Pack) -> None:
    for name, child in module.named_children():
        setattr(module, name, PACKERS.get(type(child), _itself)(child, pack))


def _itself(module: nn.Module, pack: Pack) -> nn.Module:
    _replace_inside(module, pack)
    return module


def _linear(linear: Linear, pack: Pack) -> nn.Module:
    return PackedLinear(pack(linear.weight), _bias(linear))


def _norm(norm: RMSNorm, pack: Pack) -> nn.Module:
    return FusedRMSNorm(norm)


def _together(module: nn.Module, pack: Pack) -> nn.Module:
    """Some of the Linears as parts of one matrix."""
    linears = {name: cast(Linear, module.get_submodule(name)) for name in TOGETHER[type(module)]}
    if len({linear.in_features for linear in linears.values()}) > 1:  # a source of another width
        return _itself(module, pack)
    whole, start = pack(torch.cat([linear.weight for linear in linears.values()])), 0
    for name, linear in linears.items():
        setattr(module, name, PackedLinear(whole.part(start, linear.out_features), _bias(linear), whole))
        start += linear.out_features
    give_back()
    return _itself(module, pack)


def _attention(attention: Attention, pack: Pack) -> nn.Module:
    attention.attend = attend_in_blocks
    return _together(attention, pack)


def _mixture(mixture: MoE, pack: Pack) -> nn.Module:
    """A mixture whose choice of experts is not rounded."""
    mixture.router = _linear(mixture.router, partial(stored_as, MATRICES[None]))  # type: ignore[assignment]
    return _itself(mixture, pack)


def _bias(linear: Linear) -> Tensor | None:
    return None if linear.bias is None else linear.bias.detach().float()


PACKERS: dict[type, Callable[[Any, Pack], nn.Module]] = {
    Linear: _linear,
    RMSNorm: _norm,
    Attention: _attention,
    Gated: _together,
    MoE: _mixture,
}
