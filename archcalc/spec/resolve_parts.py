"""Resolve parts: fill in what is left out and refuse contradictions. One function for each variant."""

from __future__ import annotations

from math import isqrt
from typing import Any

import msgspec.structs

from archcalc.errors import InputError
from archcalc.spec.activation import with_parameters
from archcalc.spec.attention import Attention, Differential, Indexer, LatentAttention
from archcalc.spec.base import Part
from archcalc.spec.compressed import CompressedAttention
from archcalc.spec.ffn import Adapters, Gated, MoE, PerLayerGate, Plain, ProductKeys, StateProjection
from archcalc.spec.low_rank import low_rank
from archcalc.spec.model import Spec
from archcalc.spec.position import (
    Disentangled,
    DynamicScaling,
    Llama3Scaling,
    LongRopeScaling,
    ProportionalScaling,
    Rope,
    RopeScaling,
)
from archcalc.words import Message, msg


def head_width(d_head: int | None, n_heads: int, spec: Spec, where: str) -> int:
    """Return the width of a head, by default d_model / n_heads. Raises InputError if that is no whole number."""
    if d_head is None and spec.d_model % n_heads:
        raise InputError(
            msg(
                "left out, and d_model {d_model} is not divisible by n_heads {n_heads}",
                d_model=spec.d_model,
                n_heads=n_heads,
            ),
            where=f"{where}.d_head",
            allowed=msg("d_head stated, or an n_heads that divides d_model"),
        )
    return d_head or spec.d_model // n_heads


def kv_heads(n_kv_heads: int | None, n_heads: int, where: str) -> int:
    """Return the number of key-value heads, by default n_heads. Raises InputError if it does not divide them."""
    stated = n_kv_heads or n_heads
    if n_heads % stated:
        raise InputError(
            msg("{n_kv_heads} does not divide n_heads {n_heads}", n_kv_heads=stated, n_heads=n_heads),
            where=f"{where}.n_kv_heads",
            allowed=msg("a divisor of n_heads"),
        )
    return stated


def attention(part: Attention, spec: Spec, where: str) -> Attention:
    """Return the attention with n_kv_heads, d_head and d_rotary."""
    n_kv_heads = kv_heads(part.n_kv_heads, part.n_heads, where)
    d_head = head_width(part.d_head, part.n_heads, spec, where)
    if part.is_chunked and part.window is None:
        raise InputError(msg("there is no window"), where=f"{where}.window_kind", allowed="sliding")
    position = part.position
    if isinstance(position, Rope):
        position = rope(position, d_head, f"{where}.position")
        _check_rotary_values(position, part.d_value or d_head, f"{where}.position.values")
    if part.value_is_key and (part.v_norm is None or part.v_bias or part.d_value not in (None, d_head)):
        raise InputError(
            msg("values that are the keys have a norm, and no bias or width of their own"),
            where=f"{where}.value_is_key",
            allowed=msg("false, or a v_norm, no v_bias and no d_value"),
        )
    if part.value_is_key and part.d_conv:
        raise InputError(msg("values that are the keys are convolved once"), where=f"{where}.d_conv", allowed="null")
    _check_convolution(part, where)
    if part.sinks and part.token_sinks:
        raise InputError(msg("a head has one sink"), where=f"{where}.token_sinks", allowed=msg("false, or no sinks"))
    _check_blocks(part, spec, d_head, where)
    if isinstance(position, Disentangled):
        _check_distances(position, part.n_heads, n_kv_heads, where)
    if part.qk_norm and part.qk_norm.over == "full" and part.qk_norm.when == "after":
        raise InputError(
            msg("a norm over all heads must come before the rotation"),
            where=f"{where}.qk_norm.when",
            allowed=msg("before, or over head or each"),
        )
    _check_low_rank(part, f"{where}.low_rank")
    if part.is_chunked and part.key_bias and part.key_bias.n_kept is not None:
        raise InputError(
            msg("keys are kept among all, not among those of a chunk"),
            where=f"{where}.key_bias.n_kept",
            allowed=msg("null, or window_kind: sliding"),
        )
    differential = part.differential and _pairs(part.differential, part, n_kv_heads, where)
    return msgspec.structs.replace(
        part, n_kv_heads=n_kv_heads, d_head=d_head, position=position, differential=differential
    )


def _check_convolution(part: Attention, where: str) -> None:
    """Raise InputError for fields of a convolution that is not there."""
    if part.d_conv is not None:
        return
    for field, default in {"conv_scale": 1.0, "conv_by_token": False}.items():
        if getattr(part, field) != default:
            allowed = msg("no value, or a d_conv")
            raise InputError(msg("keys and values are not convolved"), where=f"{where}.{field}", allowed=allowed)


def _pairs(differential: Differential, part: Attention, n_kv_heads: int, where: str) -> Differential:
    """Return the differential attention with its number of pairs."""
    if n_kv_heads % 2:
        raise InputError(
            msg("{n_kv_heads} heads of keys and values are not pairs", n_kv_heads=n_kv_heads),
            where=f"{where}.n_kv_heads",
            allowed=msg("an even number"),
        )
    if part.gate is not None:
        raise InputError(msg("heads that are subtracted have no gate"), where=f"{where}.gate", allowed="null")
    if differential.offset >= 1:
        raise InputError(
            msg("found {found}", found=f"{differential.offset:g}"),
            where=f"{where}.differential.offset",
            allowed=msg("a number > 0 and < 1"),
        )
    n_pairs = part.n_heads // 2
    if differential.n_pairs not in (None, n_pairs):
        raise InputError(
            msg("found {found}", found=differential.n_pairs),
            where=f"{where}.differential.n_pairs",
            allowed=msg("n_heads / 2, {n}", n=n_pairs),
        )
    return msgspec.structs.replace(differential, n_pairs=n_pairs)


def _check_blocks(part: Attention, spec: Spec, d_head: int, where: str) -> None:
    """Refuse groups that do not divide a projection, and those of projections that other rows or no rows read."""
    d_value, d_source = part.d_value or d_head, part.d_source or spec.d_model
    n_kv_heads = part.n_kv_heads or part.n_heads
    check_block(part.q_block, spec.d_model, part.n_heads * d_head, f"{where}.q_block")
    check_block(part.k_block, d_source, n_kv_heads * d_head, f"{where}.k_block")
    check_block(part.v_block, part.d_value_source or d_source, n_kv_heads * d_value, f"{where}.v_block")
    check_block(part.out_block, part.n_heads * d_value, spec.d_model, f"{where}.out_block")
    if part.value_is_key and part.v_block is not None:
        raise InputError(msg("there is no projection of values"), where=f"{where}.v_block", allowed="null")


def check_block(block: int | None, d_in: int, d_out: int, where: str) -> None:
    """Raise InputError for groups that do not cover the channels of a projection."""
    if block is not None and (d_in % block or d_out % (d_in // block)):
        raise InputError(
            msg("groups of {block} channels do not divide {d_in} → {d_out}", block=block, d_in=d_in, d_out=d_out),
            where=where,
            allowed=msg("a divisor of the width, whose quotient divides the outputs"),
        )


def _check_distances(position: Disentangled, n_heads: int, n_kv_heads: int, where: str) -> None:
    if n_kv_heads != n_heads:
        raise InputError(
            msg("{n_kv_heads}, but relative positions are keys of every head", n_kv_heads=n_kv_heads),
            where=f"{where}.n_kv_heads",
            allowed=msg("n_heads, {n_heads}", n_heads=n_heads),
        )
    if position.max_distance is not None and (
        position.n_distances < 2 or position.max_distance < position.n_distances // 2 + 2
    ):
        raise InputError(
            msg("{max_distance} leaves no distances for logarithmic steps", max_distance=position.max_distance),
            where=f"{where}.position.max_distance",
            allowed=msg("more than n_distances / 2 + 1, with an n_distances of 2 or more"),
        )


def _check_rotary_values(rope: Rope, width: int, where: str) -> None:
    if rope.values and rope.d_rotary is not None and rope.d_rotary > width:
        raise InputError(
            msg("d_rotary {d_rotary} exceeds the width {width} of values", d_rotary=rope.d_rotary, width=width),
            where=where,
            allowed="false",
        )


def plain_rope(position: Rope | None, width: int, where: str, unsupported: Message) -> Rope | None:
    """Return the rotation, if there is one. Raises InputError if it is stored, or rotates values too."""
    if position is None:
        return None
    rotation = rope(position, width, where)
    for field in ("stored", "values"):
        if getattr(position, field):
            raise InputError(unsupported, where=f"{where}.{field}", allowed="false")
    return rotation


def rope(rope: Rope, width: int, where: str) -> Rope:
    """Return the rotation of heads of this width with d_rotary."""
    d_rotary = rope.d_rotary or width
    if d_rotary > width or d_rotary % 2:
        raise InputError(
            msg("{d_rotary} of {width} dimensions cannot be rotated in pairs", d_rotary=d_rotary, width=width),
            where=f"{where}.d_rotary",
            allowed=msg("an even number up to {width}", width=width),
        )
    if isinstance(ramp := rope.scaling, Llama3Scaling) and ramp.low_freq_factor > ramp.high_freq_factor:
        raise InputError(
            msg(
                "{high_freq_factor:g} is below low_freq_factor {low_freq_factor:g}",
                high_freq_factor=ramp.high_freq_factor,
                low_freq_factor=ramp.low_freq_factor,
            ),
            where=f"{where}.scaling.high_freq_factor",
            allowed=msg("a larger number"),
        )
    if rope.scaling is not None:
        _check_pairs(rope.scaling, d_rotary, f"{where}.scaling")
    if rope.stored and rope.scaling is not None:
        raise InputError(msg("a stored table has no scaling"), where=f"{where}.scaling", allowed="null")
    return msgspec.structs.replace(rope, d_rotary=d_rotary)


def _check_pairs(scaling: RopeScaling, d_rotary: int, where: str) -> None:
    """Check that each rotated pair has a factor; NTK's exponent d / (d − 2) needs two pairs or more."""
    if isinstance(scaling, LongRopeScaling):
        for field in ("short", "long"):
            if 2 * (n := len(getattr(scaling, field))) != d_rotary:
                raise InputError(
                    msg("{n} factors for {d_rotary} rotated dimensions", n=n, d_rotary=d_rotary),
                    where=f"{where}.{field}",
                    allowed=msg("{d_rotary}: one for each pair", d_rotary=d_rotary // 2),
                )
    if isinstance(scaling, ProportionalScaling) and 2 * scaling.n_pairs > d_rotary:
        raise InputError(
            msg("{n} pairs in {d_rotary} rotated dimensions", n=scaling.n_pairs, d_rotary=d_rotary),
            where=f"{where}.n_pairs",
            allowed=msg("up to {n}", n=d_rotary // 2),
        )
    if isinstance(scaling, DynamicScaling) and d_rotary < 4:
        raise InputError(
            msg("d_rotary is {d_rotary}", d_rotary=d_rotary),
            where=where,
            allowed=msg("a d_rotary of 4 or more for dynamic"),
        )
    if isinstance(scaling, LongRopeScaling) and scaling.attention_factor is None and scaling.n_ctx_original < 2:
        raise InputError(msg("ln(1) is 0"), where=f"{where}.n_ctx_original", allowed=msg("2 or more"))


def latent(part: LatentAttention, spec: Spec, where: str) -> LatentAttention:
    """Return the latent attention with d_rotary."""
    if part.indexer is not None and part.window is not None:
        raise InputError(
            msg("an indexer selects among all tokens"), where=f"{where}.window", allowed=msg("null, or no indexer")
        )
    if isinstance(part.indexer, Indexer):
        _check_indexer(part.indexer, part, f"{where}.indexer")
    if part.raw_latent and part.q_rank is None:
        raise InputError(
            msg("there is no latent of queries"), where=f"{where}.raw_latent", allowed=msg("a q_rank, or false")
        )
    if part.position is None:
        return part
    position = rope(part.position, part.d_rope, f"{where}.position")
    for field in ("stored", "values"):
        if getattr(position, field):
            raise InputError(
                msg("latent attention does not support it"), where=f"{where}.position.{field}", allowed="false"
            )
    if position.d_rotary != part.d_rope:
        raise InputError(
            msg("{d_rotary} differs from d_rope", d_rotary=position.d_rotary),
            where=f"{where}.position.d_rotary",
            allowed=str(part.d_rope),
        )
    return msgspec.structs.replace(part, position=position)


def compressed(part: CompressedAttention, spec: Spec, where: str) -> CompressedAttention:
    """Return the attention with d_rotary and d_out_group."""
    width = part.n_heads * part.d_head
    if width % part.n_out_groups:
        raise InputError(
            msg("{n} does not divide the heads' width {width}", n=part.n_out_groups, width=width),
            where=f"{where}.n_out_groups",
            allowed=msg("a divisor of it"),
        )
    d_out_group = width // part.n_out_groups
    if part.d_out_group is not None and part.d_out_group != d_out_group:
        found = msg("found {n}", n=part.d_out_group)
        raise InputError(found, where=f"{where}.d_out_group", allowed=str(d_out_group))
    position = rope(part.position, part.d_rope, f"{where}.position")
    for field in ("stored", "values"):
        if getattr(position, field):
            problem = msg("compressed attention does not support it")
            raise InputError(problem, where=f"{where}.position.{field}", allowed="false")
    if isinstance(position.scaling, DynamicScaling | LongRopeScaling):
        problem = msg("it depends on the number of tokens, which entries do not have")
        raise InputError(problem, where=f"{where}.position.scaling", allowed=msg("another scaling, or null"))
    if position.d_rotary != part.d_rope:
        problem = msg("{d_rotary} differs from d_rope", d_rotary=position.d_rotary)
        raise InputError(problem, where=f"{where}.position.d_rotary", allowed=str(part.d_rope))
    compression = part.compression
    indexed = compression.indexer.d_index if compression and compression.indexer else part.d_head
    for name, size in (("d_head", part.d_head), ("compression.indexer.d_index", indexed)):
        if size < part.d_rope:
            problem = msg("{size} is less than d_rope {d_rope}", size=size, d_rope=part.d_rope)
            raise InputError(problem, where=f"{where}.{name}", allowed=msg("{d_rope} or more", d_rope=part.d_rope))
    if compression and compression.n_pool < 2:
        found = msg("found {n}", n=compression.n_pool)
        raise InputError(found, where=f"{where}.compression.n_pool", allowed=msg("2 or more"))
    return msgspec.structs.replace(part, position=position, d_out_group=d_out_group)


def _check_indexer(indexer: Indexer, part: LatentAttention, where: str) -> None:
    if part.q_rank is None:
        raise InputError(
            msg("there is no latent of queries for it to read"), where=where, allowed=msg("a q_rank, or no indexer")
        )
    if part.position is None:
        raise InputError(
            msg("there is no position to rotate its keys by"), where=where, allowed=msg("a position, or no indexer")
        )
    if indexer.d_index < part.d_rope:
        raise InputError(
            msg("{d_index} is less than d_rope {d_rope}", d_index=indexer.d_index, d_rope=part.d_rope),
            where=f"{where}.d_index",
            allowed=msg("{d_rope} or more", d_rope=part.d_rope),
        )


def moe(part: MoE, spec: Spec, where: str) -> MoE:
    """Return the mixture with the width of its shared experts, its group score and its jitter."""
    if part.n_active > part.n_experts:
        raise InputError(
            msg("{n_active} of {n_experts} experts", n_active=part.n_active, n_experts=part.n_experts),
            where=f"{where}.n_active",
            allowed=msg("1 to {n_experts}", n_experts=part.n_experts),
        )
    if part.n_experts % part.n_groups:
        raise InputError(
            msg("{n_groups} does not divide n_experts {n_experts}", n_groups=part.n_groups, n_experts=part.n_experts),
            where=f"{where}.n_groups",
            allowed=msg("a divisor of n_experts"),
        )
    if part.n_active_groups > part.n_groups:
        raise InputError(
            msg("{n_active_groups} of {n_groups} groups", n_active_groups=part.n_active_groups, n_groups=part.n_groups),
            where=f"{where}.n_active_groups",
            allowed=msg("1 to {n_groups}", n_groups=part.n_groups),
        )
    if part.n_active > part.n_active_groups * (part.n_experts // part.n_groups):
        raise InputError(
            msg(
                "{n_active} experts do not fit into {n_active_groups} groups",
                n_active=part.n_active,
                n_active_groups=part.n_active_groups,
            ),
            where=f"{where}.n_active",
            allowed=msg("fewer, or more n_active_groups"),
        )
    _check_shared(part, where)
    _check_router(part, where)
    _check_zero_experts(part, where)
    activation, shared_activation = (
        with_parameters(part.activation),
        part.shared_activation and with_parameters(part.shared_activation),
    )
    fields: dict[str, Any] = {"activation": activation}
    fields["shared_activation"] = None if shared_activation == activation else shared_activation
    if part.router_mlp is not None:
        own = with_parameters(part.router_mlp.activation)
        fields["router_mlp"] = msgspec.structs.replace(part.router_mlp, activation=own)
    if part.n_groups > 1:
        fields["group_score"] = part.group_score or ("best" if part.correction == "none" else "two_best")
    if part.weigh == "sparsemixer":
        fields["jitter"] = 0.01 if part.jitter is None else part.jitter
    if part.n_shared:
        fields["d_shared"] = part.d_shared or part.d_expert
        fields["shared_bias"] = part.expert_bias if part.shared_bias is None else part.shared_bias
    return msgspec.structs.replace(part, **fields)


def _check_shared(part: MoE, where: str) -> None:
    """Refuse fields of shared experts if there are none, and what weighted ones do not have."""
    if part.n_shared:
        _check_weighted(part, where)
        return
    left_out = {"d_shared": None, "shared_activation": None, "shared_bias": None, "shared_gate": False}
    left_out["scores_shared"] = False
    for field, unset in (left_out | {"shared_combine": "sum"}).items():
        if getattr(part, field) != unset:
            raise InputError(
                msg("there are no shared experts"), where=f"{where}.{field}", allowed=msg("n_shared of 1 or more")
            )


# What shared experts that the router weighs may have.
_WEIGHTED = {
    "weigh": "score",
    "choose": "sigmoid",
    "by_token": False,
    "n_zero": 0,
    "capacity": None,
    "weight_on": "output",
    "shared_gate": False,
    "shared_combine": "sum",
    "expert_scales": False,
    "expert_bias": False,
    "gated": True,
}


def _check_weighted(part: MoE, where: str) -> None:
    for field, allowed in _WEIGHTED.items() if part.scores_shared else ():
        if getattr(part, field) != allowed:
            problem = msg("the router weighs the shared experts")
            raise InputError(problem, where=f"{where}.{field}", allowed=msg("no value, or scores_shared: false"))
    if part.scores_shared and part.shared_bias:
        problem = msg("the router weighs the shared experts")
        raise InputError(problem, where=f"{where}.shared_bias", allowed="false")


def _check_router(part: MoE, where: str) -> None:
    """Refuse fields that the router would not use."""
    if part.by_token:
        for field, unused in {"correction": "none", "n_groups": 1, "n_zero": 0}.items():
            if getattr(part, field) != unused:
                problem = msg("a table names the experts of each token")
                raise InputError(problem, where=f"{where}.{field}", allowed=msg("no value, or by_token: false"))
    if part.choose == "logits" and part.weigh == "score":
        raise InputError(
            msg("'score', but logits cannot be weights"),
            where=f"{where}.weigh",
            allowed="softmax, sigmoid, sparsemixer",
        )
    if part.group_score and part.n_groups == 1:
        raise InputError(msg("there are no groups"), where=f"{where}.group_score", allowed=msg("n_groups of 2 or more"))
    if part.jitter is not None and part.weigh != "sparsemixer":
        raise InputError(
            msg("{weigh} does not use a jitter", weigh=repr(part.weigh)),
            where=f"{where}.jitter",
            allowed="weigh: sparsemixer",
        )
    if part.capacity is not None and part.weight_on == "input":
        raise InputError(
            msg("an expert beyond its capacity would get an input of 0"), where=f"{where}.weight_on", allowed="output"
        )
    if part.latent_bias and part.d_latent is None:
        raise InputError(msg("there is no latent"), where=f"{where}.latent_bias", allowed="d_latent")
    if part.normalize_min and not part.normalize:
        raise InputError(
            msg("the weights are not normalized"), where=f"{where}.normalize_min", allowed="normalize: true"
        )


def _check_zero_experts(part: MoE, where: str) -> None:
    """Refuse fields that do not agree with experts that return their input."""
    if not part.n_zero:
        if part.zero_stored or part.zero_returns != "input":
            raise InputError(
                msg("there are no experts without weights"),
                where=f"{where}.{'zero_stored' if part.zero_stored else 'zero_returns'}",
                allowed=msg("n_zero of 1 or more"),
            )
        return
    if part.n_groups > 1:
        raise InputError(msg("experts without weights are in no group"), where=f"{where}.n_groups", allowed="1")
    if part.weight_on == "input":
        raise InputError(
            msg("experts without weights have no inner input"), where=f"{where}.weight_on", allowed="output"
        )


def dense(part: Plain | Gated, spec: Spec, where: str) -> Plain | Gated:
    """Return the feed-forward with the parameters of its activation."""
    if isinstance(part, Plain):
        check_block(part.up_block, spec.d_model, part.d_ff, f"{where}.up_block")
        check_block(part.down_block, part.d_ff, spec.d_model, f"{where}.down_block")
    _check_low_rank(part, f"{where}.low_rank")
    down_bias = None if part.down_bias == part.bias else part.down_bias
    return msgspec.structs.replace(part, activation=with_parameters(part.activation), down_bias=down_bias)


def _check_low_rank(part: Part, where: str) -> None:
    """Raise InputError for a pair that is not there, or beside keys that are not projected from the part's input."""
    pairs = low_rank(part)
    if pairs is None:
        return
    if pairs.active >= pairs.n_pairs:
        raise InputError(
            msg("number {active} of {n}, counted from 0", active=pairs.active, n=pairs.n_pairs),
            where=f"{where}.active",
            allowed=msg("less than n_pairs"),
        )
    if isinstance(part, Attention) and (part.value_is_key or part.d_source or part.d_value_source or part.is_grouped):
        raise InputError(
            msg("keys and values are not projected from the same input as queries"), where=where, allowed="null"
        )


def per_layer_gate(part: PerLayerGate, spec: Spec, where: str) -> PerLayerGate:
    """Return the gate with the parameters of its activation."""
    activation = with_parameters(part.activation)
    return msgspec.structs.replace(part, activation=activation)


def adapters(part: Adapters, spec: Spec, where: str) -> Adapters:
    """Return the adapters with the parameters of their activation."""
    if part.active >= part.n_adapters:
        raise InputError(
            msg("number {active} of {n}, counted from 0", active=part.active, n=part.n_adapters),
            where=f"{where}.active",
            allowed=msg("less than n_adapters"),
        )
    return msgspec.structs.replace(part, activation=with_parameters(part.activation))


def projection(part: StateProjection, spec: Spec, where: str) -> StateProjection:
    """Return the projection, which has nothing to fill in."""
    return part


def product_keys(part: ProductKeys, spec: Spec, where: str) -> ProductKeys:
    """Return the experts with the number of keys and the parameters of their activation."""
    n_keys = isqrt(part.n_experts)
    if part.n_keys not in (None, n_keys):
        raise InputError(
            msg("found {found}", found=part.n_keys), where=f"{where}.n_keys", allowed=msg("⌊√n_experts⌋, {n}", n=n_keys)
        )
    if part.n_active > n_keys * n_keys:
        raise InputError(
            msg("{n_active} of {n_experts} experts", n_active=part.n_active, n_experts=n_keys * n_keys),
            where=f"{where}.n_active",
            allowed=msg("1 to {n_experts}", n_experts=n_keys * n_keys),
        )
    return msgspec.structs.replace(part, activation=with_parameters(part.activation), n_keys=n_keys)
