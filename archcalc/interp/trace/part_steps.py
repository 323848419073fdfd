"""The steps of a layer's parts: attention, feed-forward, mixture of experts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from archcalc.interp.trace.expression import Call, Expression, Module, Parameter, Value, call
from archcalc.nn.mla import latent_scale
from archcalc.spec.activation import AnyActivation, CappedSwish, ClampedSwish
from archcalc.spec.attention import (
    Attention,
    Differential,
    Gate,
    Indexer,
    LatentAttention,
    LateTemperature,
    LogTemperature,
    Temperature,
)
from archcalc.spec.ffn import Adapters, Gated, MoE, PerLayerGate, Plain, ProductKeys, StateProjection
from archcalc.spec.low_rank import LowRank
from archcalc.spec.norm import Affine, LayerNorm, Norm
from archcalc.spec.position import Alibi, ContentBias, Disentangled, RelativeBias, Rope

# A step's own name, its kind, its expression.
PartSteps = Iterator[tuple[str, str, Expression]]


@dataclass(frozen=True)
class PartContext:
    """The input of a part and the prefixes of its names.

    `step_prefix` begins the names of its steps, `weight_prefix` those of its weights, `key_prefix` those of its keys
    and values, which belong to an earlier layer if they are shared, `lender_prefix` those of the layer that lends a
    selection. `input` is what it reads, `source` the one that cross-attention computes keys and values from,
    None for self-attention. `is_causal`: later keys are masked. `per_layer`: the layer's own embedding. `d_model` is
    the width of the states, `ids` are the tokens. `value_input`: what values are projected from, if keys have another
    input; `key_input`: what keys are, if queries have another. `router_state`: the state of an earlier layer's router
    that this one's adds. `learned`: keys and values that all queries read before the others.
    """

    step_prefix: str
    weight_prefix: str
    input: Expression
    source: Value | None
    is_causal: bool
    key_prefix: str
    lender_prefix: str = ""
    per_layer: Expression | None = None
    d_model: int = 0
    ids: Value | None = None
    value_input: Expression | None = None
    key_input: Expression | None = None
    router_state: Value | None = None
    learned: tuple[Expression, Expression] | None = None

    @property
    def has_own_keys(self) -> bool:
        """Whether keys and values are steps of this part."""
        return self.key_prefix == self.step_prefix

    def step(self, name: str) -> Value:
        """Return the value of a step of the part."""
        return Value(f"{self.step_prefix}{name}")

    def with_learned(self, keys: Expression, values: Expression) -> tuple[Expression, Expression]:
        """Return keys and values after learned ones, if there are any."""
        if self.learned is None:
            return keys, values
        return call("followed", self.learned[0], keys), call("followed", self.learned[1], values)

    def linear(self, x: Expression, module: str, block: int | None = None) -> Call:
        """Return `x` through a matrix of the part, whose outputs may be in groups that read a `block` of channels."""
        weight = Module(f"{self.weight_prefix}{module}")
        return call("linear", x, weight) if block is None else call("grouped", x, weight, block)

    def normed(self, x: Expression, module: str) -> Call:
        """Return `x` through a norm of the part."""
        return call("norm", x, Module(f"{self.weight_prefix}{module}"))


def normalized(part: Norm, x: Expression) -> Expression:
    """Return `x` as a norm leaves it before its weights."""
    if isinstance(part, Affine):
        return x
    return call("standardized" if isinstance(part, LayerNorm) else "over_rms", x, part.eps)


def affine(part: Affine, x: Expression, module: str) -> Expression:
    """Return `x` scaled and shifted by the weights of a module."""
    if not (part.bias_first and part.bias and part.weight):
        return call("scaled", x, Module(module))
    weight: Expression = Parameter(f"{module}.weight")
    return (x + Parameter(f"{module}.bias")) * (weight + 1 if part.unit_offset else weight)


def attention(part: Attention, ctx: PartContext) -> PartSteps:
    """Yield the steps of multi-head, grouped-query or cross-attention."""
    assert part.d_head is not None, "the spec is resolved"
    assert part.n_kv_heads is not None, "the spec is resolved"
    states = ctx.source or ctx.key_input or ctx.input
    yield "q", "queries", _tempered(part.temperature, _projected(part, ctx, "q", ctx.input, part.n_heads))
    if ctx.has_own_keys:
        yield "k", "keys", _projected(part, ctx, "k", states, part.n_kv_heads)
        name, block = ("k", part.k_block) if part.value_is_key else ("v", part.v_block)
        read = _linear(part, ctx, name, ctx.value_input or states, block)
        convolved = _with_convolution(part, ctx, name, read, ctx.value_input or states)
        values = call("heads", convolved, part.n_kv_heads)
        yield "v", "values", _values(part, values if part.v_norm is None else ctx.normed(values, "v_norm"))
    scale = part.score_scale
    k, v = ctx.with_learned(Value(f"{ctx.key_prefix}k"), Value(f"{ctx.key_prefix}v"))
    scores: Expression = call("dot", ctx.step("q"), k) * scale
    if part.softcap is not None:
        scores = call("capped", scores, part.softcap)
    if isinstance(part.position, Alibi):
        penalty = Value("slopes") * Value("distance")
        scores -= penalty * scale if part.position.scaled else penalty
    if isinstance(part.position, RelativeBias):
        table = ctx.weight_prefix if part.position.shared == "layer" else ctx.step_prefix.partition("layers.")[0]
        scores += call("rows", Module(f"{table}relative_bias"), Value("buckets"))
    if isinstance(part.position, Disentangled):
        scores = _with_distances(part, part.position, ctx, scores)
    if isinstance(part.position, ContentBias):
        scores = _with_content(part, ctx, scores)
    scores = _with_key_bias(part, ctx, scores, v)
    v = call("paired", v) if part.differential else v
    is_masked = ctx.is_causal or part.window is not None
    yield from softmaxed(scores, ctx, v, is_masked=is_masked, sinks=_sinks(part, ctx))
    yield from _gate(part.gate, part.n_heads, ctx.input, ctx)
    joined = _joined(part.gate, ctx)
    if part.differential:
        yield "difference", "difference", _difference(part.differential, ctx)
        joined = call("joined", ctx.step("difference"))
    read = joined if part.out_norm is None else ctx.normed(joined, "out_norm")
    yield "out", "attention_out", ctx.linear(read, "out", part.out_block)


def _difference(part: Differential, ctx: PartContext) -> Expression:
    """Return what pairs of heads give: the first minus λ times the second, normalized and scaled."""
    weight = call("pair_factor", Module(f"{ctx.weight_prefix}differences"), part.offset)
    return ctx.normed(call("less", ctx.step("values"), weight), "differences.norm") * (1 - part.offset)


def _gate(part: Gate | None, n_heads: int, read: Expression, ctx: PartContext) -> PartSteps:
    """Yield the step of an output gate, a projection of `read`."""
    if part is not None:
        gate: Expression = call("heads", ctx.linear(read, "gate"), n_heads)
        if part.bias:
            gate += call("by_head", Parameter(f"{ctx.weight_prefix}gate_bias"))
        yield "gate", "gate", call(part.activation, gate)


def _joined(gate: Gate | None, ctx: PartContext) -> Call:
    """Return the heads' values, gated if there is a gate, concatenated."""
    return call("joined", ctx.step("values") if gate is None else ctx.step("values") * ctx.step("gate"))


def _with_distances(part: Attention, position: Disentangled, ctx: PartContext, scores: Expression) -> Expression:
    """Return the scores plus the products of contents and relative positions."""
    stack, own = ctx.step_prefix.partition("layers.")[0], "" if position.shares_projections else "relative."
    rows: Expression = Parameter(f"{stack}distances.weight")
    if position.norm is not None:
        rows = call("norm", rows, Module(f"{stack}distances.norm"))
    if position.content_to_position:
        keys = call("heads", ctx.linear(rows, f"{own}k", None if own else part.k_block), part.n_heads)
        scores += call("by_distance", call("dot", ctx.step("q"), keys), Value("distance_rows")) * part.score_scale
    if position.position_to_content:
        queries = call("heads", ctx.linear(rows, f"{own}q", None if own else part.q_block), part.n_heads)
        products = call("dot", queries, ctx.step("k"))
        scores += call("of_distance", products, Value("distance_rows")) * part.score_scale
    return scores


def _with_key_bias(part: Attention, ctx: PartContext, scores: Expression, v: Expression) -> Expression:
    """Return the scores plus the bias of each key, and those of the largest biases alone if the others are hidden."""
    if part.key_bias is None:
        return scores
    steps = call("softplus", ctx.linear(call("joined", v), "key_bias.steps"))
    biases = call("of_keys", call("exp", Parameter(f"{ctx.weight_prefix}key_bias.rate") * steps), part.n_heads)
    n_kept = part.key_bias.n_kept
    return scores + biases if n_kept is None else call("kept", scores + biases, biases, n_kept)


def _with_convolution(part: Attention, ctx: PartContext, name: str, x: Expression, read: Expression) -> Expression:
    """Return keys or values `x`, projected from `read`, plus their convolution if there is one."""
    if part.d_conv is None:
        return x
    module = Module(f"{ctx.weight_prefix}{name}_conv")
    if part.conv_by_token:
        numbers = ctx.linear(read, f"{name}_conv.numbers")
        convolved = call("convolved_by", x, module, numbers, part.n_kv_heads or part.n_heads)
    else:
        convolved = call("convolved", x, module)
    total = x + convolved
    return total if part.conv_scale == 1 else total * part.conv_scale


def _with_content(part: Attention, ctx: PartContext, scores: Expression) -> Expression:
    """Return the scores plus the bias of each distance, which the query's token decides."""
    shares = call("heads", ctx.linear(ctx.input, "content.r"), part.n_heads)
    if isinstance(part.position, ContentBias) and part.position.clip is not None:
        scaled = shares * call("of_heads", Parameter(f"{ctx.weight_prefix}content.r_scale"))
        shares = call("no_longer", scaled, part.position.clip)
    profiles = Parameter(f"{ctx.weight_prefix}content.profiles")
    return scores + call("at_distance", _tempered(part.temperature, shares), profiles)


def _projected(part: Attention, ctx: PartContext, name: str, x: Expression, n_heads: int) -> Expression:
    """Return queries or keys: projected, split into heads, normalized and rotated."""
    when, over = (part.qk_norm.when, part.qk_norm.over) if part.qk_norm is not None else ("", "")
    projected = _linear(part, ctx, name, x, part.q_block if name == "q" else part.k_block)
    projected = projected if name == "q" else _with_convolution(part, ctx, name, projected, x)
    heads = call("heads", ctx.normed(projected, f"{name}_norm") if over == "full" else projected, n_heads)
    if when == "before" and over != "full":
        heads = ctx.normed(heads, f"{name}_norm")
    rotated = _rotated(part, _shortened(part, ctx, name, _clamped(part, heads)))
    return ctx.normed(rotated, f"{name}_norm") if when == "after" else rotated


def _rotated(part: Attention, x: Expression) -> Expression:
    if not isinstance(part.position, Rope):
        return x
    assert part.position.d_rotary is not None, "the spec is resolved"
    return call("rotated", x, part.position.d_rotary)


def _clamped(part: Attention, x: Expression) -> Expression:
    return x if part.clip is None else call("clamped", x, part.clip)


def _shortened(part: Attention, ctx: PartContext, name: str, x: Expression) -> Expression:
    """Return queries, times learned numbers, or keys scaled down where they are too long."""
    if part.qk_clip is None:
        return x
    scaled = x * call("of_heads", Parameter(f"{ctx.weight_prefix}q_scale")) if name == "q" else x
    return call("no_longer", scaled, part.qk_clip)


def _values(part: Attention, x: Expression) -> Expression:
    x = _clamped(part, x)
    x = x if part.value_scale is None else x * part.value_scale
    return _rotated(part, x) if isinstance(part.position, Rope) and part.position.values else x


def _tempered(part: Temperature | None, x: Expression) -> Expression:
    if part is None:
        return x
    if isinstance(part, LateTemperature):
        return call("late_tempered", x, Value("token_positions") + 1, part.factor, part.n_tokens)
    positions = Value("token_positions") + 1 if part.from_one else Value("token_positions")
    if isinstance(part, LogTemperature):
        return call("log_tempered", x, positions, part.factor, part.n_tokens)
    return call("power_tempered", x, positions, part.exponent, part.n_tokens)


def latent(part: LatentAttention, ctx: PartContext) -> PartSteps:
    """Yield the steps of multi-head latent attention (MLA)."""
    down = ctx.linear(ctx.input, "kv_down")

    def rotated(x: Call) -> Call:
        return x if part.position is None else call("rotated", x, part.d_rope)

    normed = ctx.normed(call("first", down, part.kv_rank), "kv_down_norm")
    yield "latent", "latent", _scaled(part, part.kv_rank, normed, ctx)
    key = call("last", down, part.d_rope)
    key = key if part.key_norm is None else ctx.normed(key, "key_norm")
    yield "k_shared", "keys", rotated(call("heads", key, 1))
    up = call("heads", ctx.linear(ctx.step("latent"), "kv_up"), part.n_heads)
    yield "k", "keys", call("concat", call("first", up, part.d_nope), ctx.step("k_shared"))
    yield "v", "values", call("last", up, part.d_v)
    q_latent: Expression = ctx.input
    if part.q_rank is not None:
        q_latent = _scaled(part, part.q_rank, ctx.normed(ctx.linear(ctx.input, "q_down"), "q_down_norm"), ctx)
    q_input = call("concat", q_latent, ctx.linear(ctx.input, "q_down")) if part.raw_latent else q_latent
    q = call("heads", ctx.linear(q_input, "q" if part.q_rank is None else "q_up"), part.n_heads)
    yield "q", "queries", call("concat", call("first", q, part.d_nope), rotated(call("last", q, part.d_rope)))
    scores = call("dot", ctx.step("q"), ctx.step("k")) * latent_scale(part)
    if isinstance(part.indexer, Indexer):
        yield from _indexed(part, part.indexer, q_latent, ctx)
    if part.indexer is not None:
        owner = ctx.step_prefix if isinstance(part.indexer, Indexer) else ctx.lender_prefix
        scores = call("selected", scores, call("top", Value(f"{owner}index_scores"), part.indexer.n_selected))
    is_masked = ctx.is_causal or part.window is not None
    v = Value(f"{ctx.key_prefix}v")
    yield from softmaxed(scores, ctx, v, is_masked=is_masked, sinks=learned_sinks(ctx) if part.sinks else None)
    yield from _gate(part.gate, part.n_heads, q_input if part.raw_latent else ctx.input, ctx)
    yield "out", "attention_out", ctx.linear(_joined(part.gate, ctx), "out")


def _scaled(part: LatentAttention, rank: int, latent: Expression, ctx: PartContext) -> Expression:
    return latent * math.sqrt(ctx.d_model / rank) if part.scale_latents else latent


def _indexed(part: LatentAttention, own: Indexer, latent: Expression, ctx: PartContext) -> PartSteps:
    """Yield the steps of an indexer."""

    def rotated(x: Call) -> Call:
        if own.rotated == "first":
            return call("rotated", x, part.d_rope)
        last = call("rotated", call("last", x, part.d_rope), part.d_rope)
        return call("concat", call("first", x, own.d_index - part.d_rope), last)

    yield "index_q", "queries", rotated(call("heads", ctx.linear(latent, "indexer.q"), own.n_index_heads))
    k = ctx.normed(ctx.linear(ctx.input, "indexer.k"), "indexer.k_norm")
    yield "index_k", "keys", rotated(call("heads", k, 1))
    dots = call("relu", call("dot", ctx.step("index_q"), ctx.step("index_k")) * own.d_index**-0.5)
    scores = call("over_heads", dots, ctx.linear(ctx.input, "indexer.head_weights") * own.n_index_heads**-0.5)
    yield "index_scores", "index_scores", call("masked", scores) if ctx.is_causal else scores


def learned_sinks(ctx: PartContext) -> Parameter:
    """Return the learned sinks of all heads."""
    return Parameter(f"{ctx.weight_prefix}sinks")


def _sinks(part: Attention, ctx: PartContext) -> Expression | None:
    """Return the sinks of all heads, learned or computed; None without any."""
    if part.token_sinks:
        return call("heads", ctx.linear(ctx.input, "sink"), part.n_heads)
    return learned_sinks(ctx) if part.sinks else None


def softmaxed(
    scores: Expression, ctx: PartContext, values: Expression, *, is_masked: bool, sinks: Expression | None = None
) -> PartSteps:
    """Yield the steps from scores to the values of heads."""
    yield "scores", "scores", call("masked", scores) if is_masked else scores
    yield "pattern", "pattern", call("softmax", ctx.step("scores"), *([] if sinks is None else [sinks]))
    yield "values", "weighted_values", call("mix", ctx.step("pattern"), values)


def plain_ffn(part: Plain, ctx: PartContext) -> PartSteps:
    """Yield the steps of a feed-forward with two matrices."""
    yield "up", "up", ctx.linear(ctx.input, "up", part.up_block)
    yield "hidden", "hidden", activated(part.activation, ctx.step("up"), ctx)
    yield "out", "ffn_out", _down(part, ctx, part.down_block)


def gated_ffn(part: Gated, ctx: PartContext) -> PartSteps:
    """Yield the steps of a gated feed-forward, with three matrices."""
    yield "gate", "up", ctx.linear(ctx.input, "gate")
    yield "up", "up", ctx.linear(ctx.input, "up")
    gate: Expression = ctx.step("gate")
    up: Expression = ctx.step("up")
    if part.low_rank is not None:
        more = [call("piece", _pair(part.low_rank, ctx, "gate_up", ctx.input), i, 2) for i in range(2)]
        gate, up = gate + more[0], up + more[1]
    gate = gate if part.gate_scale == 1 else gate * part.gate_scale
    gate = gate if part.sparsity is None else call("sparse", gate, part.sparsity)
    yield "hidden", "hidden", _gated(part.activation, gate, up, ctx)
    out = _down(part, ctx)
    yield "out", "ffn_out", out * Parameter(f"{ctx.weight_prefix}out_scale") if part.out_scale else out


def _pair(part: LowRank, ctx: PartContext, name: str, x: Expression) -> Call:
    """Return what the low-rank pair of this use adds to a projection."""
    down, up = (Module(f"{ctx.weight_prefix}{name}_pairs.{each}") for each in ("down", "up"))
    return call("linear_at", call("linear_at", x, part.active, down), part.active, up)


def _linear(part: Attention, ctx: PartContext, name: str, x: Expression, block: int | None) -> Expression:
    """Return a projection of an attention, with its low-rank pair."""
    y = ctx.linear(x, name, block)
    return y if part.low_rank is None else y + _pair(part.low_rank, ctx, name, x)


def _down(part: Plain | Gated, ctx: PartContext, block: int | None = None) -> Expression:
    hidden = ctx.step("hidden")
    return ctx.linear(hidden if part.down_norm is None else ctx.normed(hidden, "down_norm"), "down", block)


def activated(part: AnyActivation, x: Expression, ctx: PartContext) -> Call:
    """Return the activation of `x`."""
    if isinstance(part, ClampedSwish):
        return call("clamped_swish", x, part.limit, part.alpha)
    if isinstance(part, CappedSwish):
        return call("capped", x, part.cap) * call("sigmoid", x)
    return call(part, x, *([Module(f"{ctx.weight_prefix}activation")] if part == "xielu" else []))


def _gated(part: AnyActivation, gate: Expression, up: Expression, ctx: PartContext) -> Call:
    """Return activation(gate) · up."""
    if isinstance(part, ClampedSwish):
        up = call("within", up, part.limit)
        up = up + part.up_offset if part.up_offset else up
    if isinstance(part, CappedSwish):
        up = call("capped", up, part.up_cap)
    return activated(part, gate, ctx) * up


def mixture(part: MoE, ctx: PartContext) -> PartSteps:
    """Yield the steps of a mixture of experts."""
    yield from _router(part, ctx)
    logits: Expression = ctx.step("router")
    logits = logits if part.router_scale == 1 else logits * part.router_scale
    if part.router_softcap is not None:
        logits = call("capped", logits, part.router_softcap)
    all_scores = logits if part.choose == "logits" else call(part.choose, logits)
    scores = call("first", all_scores, part.n_choices) if part.scores_shared else all_scores
    corrected = scores if part.correction == "none" else scores + Parameter(f"{ctx.weight_prefix}correction_bias")
    if part.n_active_groups < part.n_groups:
        n_best = 2 if part.group_score == "two_best" else 1
        corrected = call("best_groups", corrected, part.n_groups, n_best, part.n_active_groups)
    chosen = call("top", corrected, part.n_active)
    if part.by_token:
        assert ctx.ids is not None, "a layer has tokens"
        chosen = call("picked", Parameter(f"{ctx.weight_prefix}expert_table"), ctx.ids)
    yield "chosen", "chosen", chosen
    yield from _routing_weights(part, ctx, logits, all_scores)
    is_input_weighted, experts = part.weight_on == "input", Module(f"{ctx.weight_prefix}experts")
    expert_input = _normed(part.input_norm, ctx, "input_norm")
    input_weights = [ctx.step("weights")] if is_input_weighted else []
    read = expert_input if part.d_latent is None else ctx.linear(expert_input, "latent_down")
    outputs = call("experts", read, ctx.step("chosen"), experts, *input_weights)
    if part.n_zero:
        own = (read,) if part.zero_returns == "input" else ()
        name = "or_input" if own else "or_zero"
        outputs = call(name, outputs, *own, ctx.step("chosen"), part.n_experts)
    yield "experts", "experts", outputs
    out: Expression = (
        call("total", ctx.step("experts"))
        if is_input_weighted
        else call("summed", ctx.step("weights"), ctx.step("experts"))
    )
    if part.d_latent is not None:
        out = ctx.linear(out, "latent_up")
    if part.out_bias:
        out += Parameter(f"{ctx.weight_prefix}out_bias")
    if part.n_shared and not part.scores_shared:
        yield "shared.hidden", "hidden", _shared_hidden(part, ctx, expert_input)
    out = _with_shared(part, ctx, expert_input, out) if part.n_shared else out
    yield "out", "ffn_out", out * 0.5 if part.shared_combine == "average" else out


def _router(part: MoE, ctx: PartContext) -> PartSteps:
    """Yield the steps of a router's logits, of the input or of a state of its own."""
    read = _normed(part.router_norm, ctx, "router_norm")
    if part.router_mlp is not None:
        state: Expression = ctx.linear(read, "router_mlp.down")
        if part.router_mlp.adds_previous:
            assert ctx.router_state is not None, "an earlier layer has a state"
            state = state + ctx.router_state * Parameter(f"{ctx.weight_prefix}router_mlp.state_scale")
        yield "router_state", "router_state", state
        read = ctx.normed(ctx.step("router_state"), "router_mlp.norm")
        for name in ("first", "second"):
            read = activated(part.router_mlp.activation, ctx.linear(read, f"router_mlp.{name}"), ctx)
    yield "router", "router", ctx.linear(read, "router")


def _routing_weights(part: MoE, ctx: PartContext, logits: Expression, all_scores: Expression) -> PartSteps:
    """Yield the steps of the weights of the chosen experts, and of the shared ones if the router weighs those."""
    scores = call("first", all_scores, part.n_choices) if part.scores_shared else all_scores
    weights = _weights(part, logits, scores, ctx.step("chosen"))
    if part.scores_shared:
        weights = call("concat", weights, call("last", all_scores, part.n_shared))
    if part.normalize:
        weights = call("shares", weights, *([part.normalize_min] if part.normalize_min else []))
    scaled = weights if part.scale == 1 else weights * part.scale
    if part.expert_scales:
        scaled *= call("at", Parameter(f"{ctx.weight_prefix}expert_scales"), ctx.step("chosen"))
    if part.weight_scale:
        scaled *= Parameter(f"{ctx.weight_prefix}weight_scale")
    if part.scores_shared:
        yield "weights", "chosen", call("first", scaled, part.n_active)
        yield "shared_weights", "chosen", call("last", scaled, part.n_shared)
        return
    taken = scaled if part.capacity is None else call("taken", scaled, ctx.step("chosen"), part.capacity)
    yield "weights", "chosen", taken


def _shared_hidden(part: MoE, ctx: PartContext, x: Expression) -> Expression:
    """Return the hidden units of the shared experts."""
    up, gate = (ctx.linear(x, f"shared.{name}") for name in ("up", "gate"))
    act = part.shared_activation or part.activation
    return _gated(act, gate, up, ctx) if part.gated else activated(act, up, ctx)


def _with_shared(part: MoE, ctx: PartContext, x: Expression, out: Expression) -> Expression:
    """Return the sum of the routed experts plus the output of the shared ones."""
    if part.scores_shared:
        every = call("every_expert", x, Module(f"{ctx.weight_prefix}shared"))
        return out + call("summed", ctx.step("shared_weights"), every)
    shared = ctx.linear(ctx.step("shared.hidden"), "shared.down")
    return out + (shared * call("sigmoid", ctx.linear(x, "shared_gate")) if part.shared_gate else shared)


def per_layer_gate(part: PerLayerGate, ctx: PartContext) -> PartSteps:
    """Yield the steps of a gate on a layer's own embedding."""
    assert ctx.per_layer is not None, "a stack with such gates has per-layer embeddings"
    yield "gate", "up", ctx.linear(ctx.input, "gate")
    yield "hidden", "hidden", _gated(part.activation, ctx.step("gate"), ctx.per_layer, ctx)
    yield "out", "ffn_out", ctx.linear(ctx.step("hidden"), "down")


def adapters(part: Adapters, ctx: PartContext) -> PartSteps:
    """Yield the steps of the one adapter that is computed."""
    up, down = (Module(f"{ctx.weight_prefix}experts.{name}") for name in ("up", "down"))
    yield "up", "up", call("linear_at", ctx.input, part.active, up)
    yield "hidden", "hidden", activated(part.activation, ctx.step("up"), ctx)
    yield "out", "ffn_out", call("linear_at", ctx.step("hidden"), part.active, down)


def projection(part: StateProjection, ctx: PartContext) -> PartSteps:
    """Yield the step of a projection."""
    yield "out", "ffn_out", ctx.linear(ctx.input, "project")


def _normed(part: Norm | None, ctx: PartContext, name: str) -> Expression:
    """Return the input after a norm of the part, if there is one."""
    return ctx.input if part is None else ctx.normed(ctx.input, name)


def _weights(part: MoE, logits: Expression, scores: Expression, chosen: Value) -> Call:
    """Return the unnormalized weights of the chosen experts."""
    if part.weigh == "score":
        return call("at", scores, chosen)
    if part.weigh == "sparsemixer":
        assert part.jitter is not None, "the spec is resolved"
        return call("sparsemixer", logits, chosen, part.jitter)
    return call(part.weigh, call("at", logits, chosen))


def product_keys(part: ProductKeys, ctx: PartContext) -> PartSteps:
    """Yield the steps of experts of one hidden unit each."""
    up, down = (Module(f"{ctx.weight_prefix}{name}_rows") for name in ("up", "down"))
    yield "router", "router", ctx.linear(ctx.input, "router")
    sums = call("pair_sums", ctx.step("router"))
    yield "chosen", "chosen", call("top", sums, part.n_active)
    yield "weights", "chosen", call("softmax", call("at", sums, ctx.step("chosen")))
    hidden = activated(part.activation, call("linears", ctx.input, ctx.step("chosen"), up), ctx)
    yield "hidden", "hidden", hidden * ctx.step("weights")
    yield "out", "ffn_out", call("summed", ctx.step("hidden"), call("rows", down, ctx.step("chosen")))
