"""One record for each variant of a part: the functions that implement it in each package.

Functions are named by 'module:name' and imported when they are needed, so that ledger and modules of a variant are in
one record without importing each other. A variant without an implementation has None; a forgotten one is a missing
argument.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from typing import Any, Literal

import msgspec

from archcalc.errors import InputError
from archcalc.spec.attention import Attention, LatentAttention
from archcalc.spec.base import Part
from archcalc.spec.branches import arms
from archcalc.spec.cca import ConvolutionalAttention
from archcalc.spec.compressed import CompressedAttention
from archcalc.spec.convolved import ConvolvedAttention
from archcalc.spec.ffn import Adapters, Gated, MoE, PerLayerGate, Plain, ProductKeys, StateProjection
from archcalc.spec.layer import Layer
from archcalc.spec.mixer import (
    ChannelMix,
    Fourier,
    GatedDelta,
    Lightning,
    Mamba1,
    Mamba2,
    MLstm,
    RgLru,
    ShortConv,
    SpanConv,
    TimeMix,
)
from archcalc.spec.routed import RoutedAttention
from archcalc.spec.sparse import SparseAttention
from archcalc.spec.xl import XlAttention
from archcalc.words import msg


class Heads(msgspec.Struct, frozen=True):
    """The heads of an attention: their number, and the widths of keys (and queries) and values."""

    n_heads: int
    d_key: int
    d_value: int


class Variant(msgspec.Struct, frozen=True, kw_only=True):
    """The implementations of one variant.

    `component`: the component of its dropout masks. `mixes_tokens`: its module takes an attention context. `roles` are
    those of the stacks that may have it: a mixer that reads only earlier tokens has no place in an encoder, an
    attention that keeps no cache none in a decoder.

    `resolve(part, spec, where)` fills in sizes. `ledger(part, symbols, x, ctx)` yields its leaves. `module(part, spec)`
    builds its module, `query_module` one that shares keys and values. `cache(part, room)` is the cache of its own
    tokens, `source_cache` that of a source. `sites(part, width, reads)` are its named points, `steps(part, where)`
    their formulas. `label` is its text in a diagram. `heads` are for the papers' conventions. `rank(part, n)` is the
    share of one of n ranks, `split` the axes that are split. `fast(module)` is its form for one token.
    """

    component: Literal["attention", "ffn", "mixer"]
    mixes_tokens: bool
    roles: tuple[Literal["encoder", "decoder"], ...]
    resolve: str
    ledger: str
    module: str
    query_module: str | None
    cache: str | None
    source_cache: str | None
    sites: str
    steps: str
    label: str
    heads: Callable[[Any], Heads] | None
    rank: str | None
    split: Mapping[str, int]
    fast: str | None


ANY_STACK: tuple[Literal["encoder", "decoder"], ...] = ("encoder", "decoder")
_UP_SPLIT = {f"{name}.{kind}": 0 for name in ("gate", "up") for kind in ("weight", "bias")}

VARIANTS: dict[type[Part], Variant] = {
    Attention: Variant(
        component="attention",
        mixes_tokens=True,
        roles=ANY_STACK,
        resolve="archcalc.spec.resolve_parts:attention",
        ledger="archcalc.ledger.attention:leaves",
        module="archcalc.nn.attention:Attention",
        query_module="archcalc.nn.attention:QueryAttention",
        cache="archcalc.nn.attention:token_cache",
        source_cache="archcalc.nn.attention:source_cache",
        sites="archcalc.spec.sites:attention",
        steps="archcalc.interp.trace.part_steps:attention",
        label="archcalc.render.diagram.box_texts:attention",
        heads=lambda part: Heads(part.n_heads, part.d_head, part.d_value or part.d_head),
        rank="archcalc.run.distributed.split_plan:attention_of_rank",
        split={f"{name}.{kind}": 0 for name in "qkv" for kind in ("weight", "bias")}
        | {"sinks": 0, "out.weight": 1, "gate.weight": 0, "gate.bias": 0, "gate_bias": 0, "relative_bias.weight": 1}
        | {"sink.weight": 0, "q_scale": 0},
        fast="archcalc.run.pack.decode_step:single_query_attention",
    ),
    LatentAttention: Variant(
        component="attention",
        mixes_tokens=True,
        roles=ANY_STACK,
        resolve="archcalc.spec.resolve_parts:latent",
        ledger="archcalc.ledger.latent_attention:leaves",
        module="archcalc.nn.mla:LatentAttention",
        query_module=None,
        cache="archcalc.nn.mla:token_cache",
        source_cache=None,
        sites="archcalc.spec.sites:latent_attention",
        steps="archcalc.interp.trace.part_steps:latent",
        label="archcalc.render.diagram.box_texts:latent",
        heads=lambda part: Heads(part.n_heads, part.d_nope + part.d_rope, part.d_v),
        rank="archcalc.run.distributed.split_plan:latent_of_rank",
        split={"q.weight": 0, "q_up.weight": 0, "kv_up.weight": 0, "sinks": 0, "out.weight": 1}
        | {"gate.weight": 0, "gate.bias": 0, "gate_bias": 0},
        fast=None,
    ),
    CompressedAttention: Variant(
        component="attention",
        mixes_tokens=True,
        roles=("decoder",),
        resolve="archcalc.spec.resolve_parts:compressed",
        ledger="archcalc.ledger.compressed:leaves",
        module="archcalc.nn.compressed:CompressedAttention",
        query_module=None,
        cache="archcalc.nn.compressed_cache:cache",
        source_cache=None,
        sites="archcalc.spec.compressed_sites:compressed",
        steps="archcalc.interp.trace.compressed_steps:compressed",
        label="archcalc.render.diagram.compressed_texts:compressed",
        heads=lambda part: Heads(part.n_heads, part.d_head, part.d_head),
        rank=None,
        split={},
        fast=None,
    ),
    SparseAttention: Variant(
        component="attention",
        mixes_tokens=True,
        roles=("encoder",),
        resolve="archcalc.spec.resolve_sparse:sparse",
        ledger="archcalc.ledger.sparse_attention:leaves",
        module="archcalc.nn.sparse_attention:SparseAttention",
        query_module=None,
        cache=None,
        source_cache=None,
        sites="archcalc.spec.sparse_sites:sparse",
        steps="archcalc.interp.trace.sparse_steps:sparse",
        label="archcalc.render.diagram.sparse_texts:sparse",
        heads=lambda part: Heads(part.n_heads, part.d_head, part.d_head),
        rank=None,
        split={},
        fast=None,
    ),
    ConvolvedAttention: Variant(
        component="attention",
        mixes_tokens=True,
        roles=("encoder",),
        resolve="archcalc.spec.resolve_convolved:convolved",
        ledger="archcalc.ledger.convolved_attention:leaves",
        module="archcalc.nn.convolved_attention:ConvolvedAttention",
        query_module=None,
        cache=None,
        source_cache=None,
        sites="archcalc.spec.convolved_sites:convolved",
        steps="archcalc.interp.trace.convolved_steps:convolved",
        label="archcalc.render.diagram.convolved_texts:convolved",
        heads=lambda part: Heads(part.n_heads, part.d_head, part.d_head),
        rank=None,
        split={},
        fast=None,
    ),
    XlAttention: Variant(
        component="attention",
        mixes_tokens=True,
        roles=("encoder",),
        resolve="archcalc.spec.resolve_convolved:xl",
        ledger="archcalc.ledger.xl_attention:leaves",
        module="archcalc.nn.xl_attention:XlAttention",
        query_module=None,
        cache=None,
        source_cache=None,
        sites="archcalc.spec.convolved_sites:xl",
        steps="archcalc.interp.trace.convolved_steps:xl",
        label="archcalc.render.diagram.convolved_texts:xl",
        heads=lambda part: Heads(part.n_heads, part.d_head, part.d_head),
        rank=None,
        split={},
        fast=None,
    ),
    RoutedAttention: Variant(
        component="attention",
        mixes_tokens=True,
        roles=ANY_STACK,
        resolve="archcalc.spec.resolve_routed:routed",
        ledger="archcalc.ledger.routed_attention:leaves",
        module="archcalc.nn.routed_attention:RoutedAttention",
        query_module=None,
        cache="archcalc.nn.routed_attention:token_cache",
        source_cache=None,
        sites="archcalc.spec.routed_sites:routed",
        steps="archcalc.interp.trace.routed_steps:routed",
        label="archcalc.render.diagram.routed_texts:routed",
        heads=lambda part: Heads(part.n_heads, part.d_head, part.d_head),
        rank=None,
        split={},
        fast=None,
    ),
    ConvolutionalAttention: Variant(
        component="attention",
        mixes_tokens=True,
        roles=("decoder",),
        resolve="archcalc.spec.resolve_cca:convolutional",
        ledger="archcalc.ledger.cca:leaves",
        module="archcalc.nn.cca:ConvolutionalAttention",
        query_module=None,
        cache="archcalc.nn.cca:cache",
        source_cache=None,
        sites="archcalc.spec.cca_sites:convolutional",
        steps="archcalc.interp.trace.cca_steps:convolutional",
        label="archcalc.render.diagram.cca_texts:convolutional",
        heads=lambda part: Heads(part.n_heads, part.d_head, part.d_head),
        rank=None,
        split={},
        fast=None,
    ),
    ShortConv: Variant(
        component="mixer",
        mixes_tokens=True,
        roles=("decoder",),
        resolve="archcalc.spec.resolve_mixers:unchanged",
        ledger="archcalc.ledger.mixers.short_conv:leaves",
        module="archcalc.nn.mixers.short_conv:ShortConv",
        query_module=None,
        cache="archcalc.nn.mixers.short_conv:state",
        source_cache=None,
        sites="archcalc.spec.mixer_sites:short_conv",
        steps="archcalc.interp.trace.mixer_steps:short_conv",
        label="archcalc.render.diagram.mixer_texts:short_conv",
        heads=None,
        rank=None,
        split={},
        fast=None,
    ),
    GatedDelta: Variant(
        component="mixer",
        mixes_tokens=True,
        roles=("decoder",),
        resolve="archcalc.spec.resolve_mixers:gated_delta",
        ledger="archcalc.ledger.mixers.gated_delta:leaves",
        module="archcalc.nn.mixers.gated_delta:GatedDelta",
        query_module=None,
        cache="archcalc.nn.mixers.gated_delta:state",
        source_cache=None,
        sites="archcalc.spec.mixer_sites:gated_delta",
        steps="archcalc.interp.trace.mixer_steps:gated_delta",
        label="archcalc.render.diagram.mixer_texts:gated_delta",
        heads=None,
        rank=None,
        split={},
        fast=None,
    ),
    Lightning: Variant(
        component="mixer",
        mixes_tokens=True,
        roles=("decoder",),
        resolve="archcalc.spec.resolve_mixers:lightning",
        ledger="archcalc.ledger.mixers.lightning:leaves",
        module="archcalc.nn.mixers.lightning:Lightning",
        query_module=None,
        cache="archcalc.nn.mixers.lightning:state",
        source_cache=None,
        sites="archcalc.spec.mixer_sites:lightning",
        steps="archcalc.interp.trace.mixer_steps:lightning",
        label="archcalc.render.diagram.mixer_texts:lightning",
        heads=None,
        rank=None,
        split={},
        fast=None,
    ),
    Mamba1: Variant(
        component="mixer",
        mixes_tokens=True,
        roles=("decoder",),
        resolve="archcalc.spec.resolve_mixers:mamba1",
        ledger="archcalc.ledger.mixers.mamba1:leaves",
        module="archcalc.nn.mixers.mamba1:Mamba1",
        query_module=None,
        cache="archcalc.nn.mixers.mamba1:state",
        source_cache=None,
        sites="archcalc.spec.mixer_sites:mamba1",
        steps="archcalc.interp.trace.mixer_steps:mamba1",
        label="archcalc.render.diagram.mixer_texts:mamba1",
        heads=None,
        rank=None,
        split={},
        fast=None,
    ),
    MLstm: Variant(
        component="mixer",
        mixes_tokens=True,
        roles=("decoder",),
        resolve="archcalc.spec.resolve_mixers:mlstm",
        ledger="archcalc.ledger.mixers.mlstm:leaves",
        module="archcalc.nn.mixers.mlstm:MLstm",
        query_module=None,
        cache="archcalc.nn.mixers.mlstm:state",
        source_cache=None,
        sites="archcalc.spec.mixer_sites:mlstm",
        steps="archcalc.interp.trace.mixer_steps:mlstm",
        label="archcalc.render.diagram.mixer_texts:mlstm",
        heads=None,
        rank=None,
        split={},
        fast=None,
    ),
    RgLru: Variant(
        component="mixer",
        mixes_tokens=True,
        roles=("decoder",),
        resolve="archcalc.spec.resolve_mixers:rg_lru",
        ledger="archcalc.ledger.mixers.rg_lru:leaves",
        module="archcalc.nn.mixers.rg_lru:RgLru",
        query_module=None,
        cache="archcalc.nn.mixers.rg_lru:state",
        source_cache=None,
        sites="archcalc.spec.mixer_sites:rg_lru",
        steps="archcalc.interp.trace.mixer_steps:rg_lru",
        label="archcalc.render.diagram.mixer_texts:rg_lru",
        heads=None,
        rank=None,
        split={},
        fast=None,
    ),
    TimeMix: Variant(
        component="mixer",
        mixes_tokens=True,
        roles=("decoder",),
        resolve="archcalc.spec.resolve_mixers:time_mix",
        ledger="archcalc.ledger.mixers.time_mix:leaves",
        module="archcalc.nn.mixers.time_mix:TimeMix",
        query_module=None,
        cache="archcalc.nn.mixers.time_mix:state",
        source_cache=None,
        sites="archcalc.spec.mixer_sites:time_mix",
        steps="archcalc.interp.trace.mixer_steps:time_mix",
        label="archcalc.render.diagram.mixer_texts:time_mix",
        heads=None,
        rank=None,
        split={},
        fast=None,
    ),
    ChannelMix: Variant(
        component="mixer",
        mixes_tokens=True,
        roles=("decoder",),
        resolve="archcalc.spec.resolve_mixers:unchanged",
        ledger="archcalc.ledger.mixers.channel_mix:leaves",
        module="archcalc.nn.mixers.channel_mix:ChannelMix",
        query_module=None,
        cache="archcalc.nn.mixers.channel_mix:state",
        source_cache=None,
        sites="archcalc.spec.mixer_sites:channel_mix",
        steps="archcalc.interp.trace.mixer_steps:channel_mix",
        label="archcalc.render.diagram.mixer_texts:channel_mix",
        heads=None,
        rank=None,
        split={},
        fast=None,
    ),
    Mamba2: Variant(
        component="mixer",
        mixes_tokens=True,
        roles=("decoder",),
        resolve="archcalc.spec.resolve_mixers:mamba2",
        ledger="archcalc.ledger.mixers.mamba2:leaves",
        module="archcalc.nn.mixers.mamba2:Mamba2",
        query_module=None,
        cache="archcalc.nn.mixers.mamba2:state",
        source_cache=None,
        sites="archcalc.spec.mixer_sites:mamba2",
        steps="archcalc.interp.trace.mixer_steps:mamba2",
        label="archcalc.render.diagram.mixer_texts:mamba2",
        heads=None,
        rank=None,
        split={},
        fast=None,
    ),
    SpanConv: Variant(
        component="mixer",
        mixes_tokens=True,
        roles=("encoder",),
        resolve="archcalc.spec.resolve_mixers:span_conv",
        ledger="archcalc.ledger.mixers.span_conv:leaves",
        module="archcalc.nn.mixers.span_conv:SpanConv",
        query_module=None,
        cache=None,
        source_cache=None,
        sites="archcalc.spec.mixer_sites:span_conv",
        steps="archcalc.interp.trace.mixer_steps:span_conv",
        label="archcalc.render.diagram.mixer_texts:span_conv",
        heads=None,
        rank=None,
        split={},
        fast=None,
    ),
    Fourier: Variant(
        component="mixer",
        mixes_tokens=True,
        roles=("encoder",),
        resolve="archcalc.spec.resolve_mixers:unchanged",
        ledger="archcalc.ledger.mixers.fourier:leaves",
        module="archcalc.nn.mixers.fourier:Fourier",
        query_module=None,
        cache=None,
        source_cache=None,
        sites="archcalc.spec.mixer_sites:fourier",
        steps="archcalc.interp.trace.mixer_steps:fourier",
        label="archcalc.render.diagram.mixer_texts:fourier",
        heads=None,
        rank=None,
        split={},
        fast=None,
    ),
    Plain: Variant(
        component="ffn",
        mixes_tokens=False,
        roles=ANY_STACK,
        resolve="archcalc.spec.resolve_parts:dense",
        ledger="archcalc.ledger.ffn:plain",
        module="archcalc.nn.ffn:Plain",
        query_module=None,
        cache=None,
        source_cache=None,
        sites="archcalc.spec.sites:dense",
        steps="archcalc.interp.trace.part_steps:plain_ffn",
        label="archcalc.render.diagram.box_texts:dense",
        heads=None,
        rank="archcalc.run.distributed.split_plan:dense_of_rank",
        split=_UP_SPLIT | {"down.weight": 1},
        fast="archcalc.run.pack.decode_step:module_forward",
    ),
    Gated: Variant(
        component="ffn",
        mixes_tokens=False,
        roles=ANY_STACK,
        resolve="archcalc.spec.resolve_parts:dense",
        ledger="archcalc.ledger.ffn:gated",
        module="archcalc.nn.ffn:Gated",
        query_module=None,
        cache=None,
        source_cache=None,
        sites="archcalc.spec.sites:dense",
        steps="archcalc.interp.trace.part_steps:gated_ffn",
        label="archcalc.render.diagram.box_texts:dense",
        heads=None,
        rank="archcalc.run.distributed.split_plan:dense_of_rank",
        split=_UP_SPLIT | {"down.weight": 1},
        fast="archcalc.run.pack.decode_step:gated_ffn",
    ),
    MoE: Variant(
        component="ffn",
        mixes_tokens=False,
        roles=ANY_STACK,
        resolve="archcalc.spec.resolve_parts:moe",
        ledger="archcalc.ledger.moe:leaves",
        module="archcalc.nn.moe:MoE",
        query_module=None,
        cache=None,
        source_cache=None,
        sites="archcalc.spec.sites:mixture",
        steps="archcalc.interp.trace.part_steps:mixture",
        label="archcalc.render.diagram.box_texts:moe",
        heads=None,
        rank=None,
        split={},
        fast="archcalc.run.pack.decode_step:mixture_forward",
    ),
    PerLayerGate: Variant(
        component="ffn",
        mixes_tokens=False,
        roles=ANY_STACK,
        resolve="archcalc.spec.resolve_parts:per_layer_gate",
        ledger="archcalc.ledger.per_layer:gate",
        module="archcalc.nn.per_layer:PerLayerGate",
        query_module=None,
        cache=None,
        source_cache=None,
        sites="archcalc.spec.sites:per_layer_gate",
        steps="archcalc.interp.trace.part_steps:per_layer_gate",
        label="archcalc.render.diagram.box_texts:per_layer_gate",
        heads=None,
        rank=None,
        split={},
        fast=None,
    ),
    Adapters: Variant(
        component="ffn",
        mixes_tokens=False,
        roles=ANY_STACK,
        resolve="archcalc.spec.resolve_parts:adapters",
        ledger="archcalc.ledger.ffn:adapters",
        module="archcalc.nn.ffn:Adapters",
        query_module=None,
        cache=None,
        source_cache=None,
        sites="archcalc.spec.sites:adapters",
        steps="archcalc.interp.trace.part_steps:adapters",
        label="archcalc.render.diagram.box_texts:adapters",
        heads=None,
        rank=None,
        split={},
        fast="archcalc.run.pack.decode_step:module_forward",
    ),
    StateProjection: Variant(
        component="ffn",
        mixes_tokens=False,
        roles=ANY_STACK,
        resolve="archcalc.spec.resolve_parts:projection",
        ledger="archcalc.ledger.ffn:projection",
        module="archcalc.nn.ffn:StateProjection",
        query_module=None,
        cache=None,
        source_cache=None,
        sites="archcalc.spec.sites:projection",
        steps="archcalc.interp.trace.part_steps:projection",
        label="archcalc.render.diagram.box_texts:projection",
        heads=None,
        rank=None,
        split={},
        fast="archcalc.run.pack.decode_step:module_forward",
    ),
    ProductKeys: Variant(
        component="ffn",
        mixes_tokens=False,
        roles=ANY_STACK,
        resolve="archcalc.spec.resolve_parts:product_keys",
        ledger="archcalc.ledger.product_keys:leaves",
        module="archcalc.nn.product_keys:ProductKeys",
        query_module=None,
        cache=None,
        source_cache=None,
        sites="archcalc.spec.sites:product_keys",
        steps="archcalc.interp.trace.part_steps:product_keys",
        label="archcalc.render.diagram.box_texts:product_keys",
        heads=None,
        rank=None,
        split={},
        fast="archcalc.run.pack.decode_step:module_forward",
    ),
}


def variant(part: Part) -> Variant:
    """Return the record of a part."""
    return VARIANTS[type(part)]


def implementation(part: Part, name: str) -> Any:
    """Return the function of this name in the part's record; None if the variant has none."""
    path = getattr(VARIANTS[type(part)], name)
    return None if path is None else imported_function(path)


def heads_of(layer: Layer) -> list[Heads]:
    """Return the heads of every self-attention of a layer, in order.

    Raises InputError for a layer with a mixer that has no heads.
    """
    heads = []
    for arm in arms(layer):
        record = variant(arm.part)
        if arm.reads in ("source", "nothing") or not record.mixes_tokens:
            continue
        if record.heads is None:
            raise InputError(
                msg("the paper gives no formula for such a layer"), where=arm.name, allowed=msg("attention")
            )
        heads.append(record.heads(arm.part))
    return heads


def implementations(name: str) -> list[Any]:
    """Return the functions of this name in all records; variants without one are left out."""
    return [imported_function(path) for record in VARIANTS.values() if (path := getattr(record, name)) is not None]


@cache
def imported_function(path: str) -> Any:
    """Return the function at a path 'module:name'."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)
