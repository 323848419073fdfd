"""The steps of mixers."""

from __future__ import annotations

from archcalc.interp.trace.expression import Call, Expression, Module, Parameter, call
from archcalc.interp.trace.part_steps import PartContext, PartSteps, activated, normalized
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


def short_conv(part: ShortConv, ctx: PartContext) -> PartSteps:
    """Yield the steps of a short convolution."""
    yield "projected", "projected", ctx.linear(ctx.input, "in")
    b, c, x = (call("piece", ctx.step("projected"), i, 3) for i in range(3))
    yield "conv", "convolved", _convolved(b * x, ctx)
    yield "out", "mixer_out", ctx.linear(c * ctx.step("conv"), "out")


def span_conv(part: SpanConv, ctx: PartContext) -> PartSteps:
    """Yield the steps of a convolution over the tokens around each."""
    yield "conv", "convolved_around", call("convolved_around", ctx.input, Module(f"{ctx.weight_prefix}conv"))
    yield "out", "mixer_out", activated(part.activation, ctx.step("conv"), ctx)


def fourier(part: Fourier, ctx: PartContext) -> PartSteps:
    """Yield the step of a Fourier transform."""
    yield "out", "mixer_out", call("fourier", ctx.input)


def gated_delta(part: GatedDelta, ctx: PartContext) -> PartSteps:
    """Yield the steps of a gated delta rule."""
    assert part.n_key_heads is not None, "the spec is resolved"
    for name in ("q", "k", "v"):
        yield name, "convolved", call("silu", _convolved(ctx.linear(ctx.input, name), ctx, f"{name}_conv"))
    beta: Expression = call("sigmoid", ctx.linear(ctx.input, "beta"))
    yield "beta", "write_rates", beta * 2 if part.negative else beta
    yield "decay", "log_decays", _log_decay(part, ctx)
    tensors = (ctx.step(name) for name in ("q", "k", "v", "beta", "decay"))
    yield "mixed", "mixed", call("delta_rule", *tensors, part.n_heads, part.n_key_heads)
    normed = call("joined", ctx.normed(call("heads", ctx.step("mixed"), part.n_heads), "norm"))
    gate = call(part.gate_activation, _projected(ctx, "gate", part.gate_rank))
    yield "out", "mixer_out", ctx.linear(normed * gate, "out")


def _log_decay(part: GatedDelta, ctx: PartContext) -> Expression:
    """Return the logarithm of a head's decay, or of the decay of each channel of its keys."""
    rates: Expression = call("exp", Parameter(f"{ctx.weight_prefix}decay_log"))
    x: Expression = _projected(ctx, "decay", part.decay_rank) + Parameter(f"{ctx.weight_prefix}decay_bias")
    is_by_channel = part.decay_over == "channel"
    if part.decay_bound is None:
        x = call("softplus", x)
    if is_by_channel:
        x, rates = call("heads", x, part.n_heads), call("by_head", rates)
    x *= rates
    x = x * -1 if part.decay_bound is None else call("sigmoid", x) * -part.decay_bound
    return call("joined", x) if is_by_channel else x


def _projected(ctx: PartContext, name: str, rank: int | None) -> Call:
    """Return a projection of the input, through `rank` dimensions if there is one."""
    x = ctx.input if rank is None else ctx.linear(ctx.input, f"{name}_down")
    return ctx.linear(x, name if rank is None else f"{name}_up")


def lightning(part: Lightning, ctx: PartContext) -> PartSteps:
    """Yield the steps of lightning attention."""
    for name, kind in (("q", "queries"), ("k", "keys"), ("v", "values")):
        yield name, kind, call("silu", ctx.linear(ctx.input, name))
    tensors = (ctx.step(name) for name in ("q", "k", "v"))
    yield "mixed", "mixed", call("decayed_attention", *tensors, part.n_heads, part.rate)
    gate = call("sigmoid", ctx.linear(ctx.input, "gate"))
    yield "out", "mixer_out", ctx.linear(ctx.normed(ctx.step("mixed"), "norm") * gate, "out")


def mlstm(part: MLstm, ctx: PartContext) -> PartSteps:
    """Yield the steps of an mLSTM."""
    for name, kind in (("q", "queries"), ("k", "keys"), ("v", "values")):
        yield name, kind, ctx.linear(ctx.input, name)
    for name, kind in (("write_gate", "write_rates"), ("keep_gate", "log_decays")):
        gate = ctx.linear(ctx.input, name)
        yield name, kind, gate if part.gate_cap is None else call("capped", gate, part.gate_cap)
    tensors = (ctx.step(name) for name in ("q", "k", "v", "write_gate", "keep_gate"))
    yield "mixed", "mixed", call("matrix_memory", *tensors, part.n_heads)
    heads = call("joined", normalized(part.norm, call("heads", ctx.step("mixed"), part.n_heads)))
    normed = call("scaled", heads, Module(f"{ctx.weight_prefix}norm"))
    yield "out", "mixer_out", ctx.linear(call("sigmoid", ctx.linear(ctx.input, "gate")) * normed, "out")


def mamba1(part: Mamba1, ctx: PartContext) -> PartSteps:
    """Yield the steps of Mamba."""
    assert part.dt_rank is not None, "the spec is resolved"
    yield "projected", "projected", ctx.linear(ctx.input, "in")
    u, z = (call("piece", ctx.step("projected"), i, 2) for i in range(2))
    yield "conv", "convolved", call("silu", _convolved(u, ctx))
    yield "selection", "selection", ctx.linear(ctx.step("conv"), "x", part.d_head)
    selected: Expression = ctx.step("selection")
    if part.n_heads is not None:
        selected = call("heads", selected, part.n_heads)
    low = call("first", selected, part.dt_rank)
    b = call("last", call("first", selected, part.dt_rank + part.d_state), part.d_state)
    c = call("last", selected, part.d_state)
    low, b, c = (_normed(part, x, name, ctx) for x, name in ((low, "dt_norm"), (b, "b_norm"), (c, "c_norm")))
    if part.n_heads is not None:
        low, b, c = (call("joined", x) for x in (low, b, c))
    yield "delta", "selection", call("softplus", ctx.linear(low, "dt", part.dt_rank if part.n_heads else None))
    mixer = Module(ctx.weight_prefix.rstrip("."))
    yield "scan", "scan", call("selective_scan", ctx.step("conv"), ctx.step("delta"), b, c, mixer)
    yield "out", "mixer_out", ctx.linear(ctx.step("scan") * call("silu", z), "out")


def rg_lru(part: RgLru, ctx: PartContext) -> PartSteps:
    """Yield the steps of a real-gated linear recurrent unit."""
    yield "conv", "convolved", _convolved(ctx.linear(ctx.input, "in"), ctx)
    for name in ("input_gate", "decay_gate"):
        weight, bias = (Parameter(f"{ctx.weight_prefix}{name}{suffix}") for suffix in ("", "_bias"))
        yield name, "selection", call("sigmoid", call("blockwise", ctx.step("conv"), weight, bias))
    tensors = (ctx.step(name) for name in ("conv", "input_gate", "decay_gate"))
    yield "scan", "scan", call("gated_scan", *tensors, Parameter(f"{ctx.weight_prefix}decay_rate"))
    gate = call(part.activation, ctx.linear(ctx.input, "gate"))
    yield "out", "mixer_out", ctx.linear(ctx.step("scan") * gate, "out")


def time_mix(part: TimeMix, ctx: PartContext) -> PartSteps:
    """Yield the steps of RWKV's time mixing."""
    yield "k", "keys", ctx.linear(_mixed(ctx, "k"), "k")
    yield "v", "values", ctx.linear(_mixed(ctx, "v"), "v")
    yield "r", "gate", call("sigmoid", ctx.linear(_mixed(ctx, "r"), "r"))
    learned = (Parameter(f"{ctx.weight_prefix}{name}") for name in ("decay", "bonus"))
    yield "scan", "scan", call("weighted_means", ctx.step("k"), ctx.step("v"), *learned)
    yield "out", "mixer_out", ctx.linear(ctx.step("scan") * ctx.step("r"), "out")


def channel_mix(part: ChannelMix, ctx: PartContext) -> PartSteps:
    """Yield the steps of RWKV's channel mixing."""
    yield "hidden", "hidden", call("relu2", ctx.linear(_mixed(ctx, "k"), "k"))
    yield "r", "gate", call("sigmoid", ctx.linear(_mixed(ctx, "r"), "r"))
    yield "out", "ffn_out", ctx.linear(ctx.step("hidden"), "v") * ctx.step("r")


def _mixed(ctx: PartContext, name: str) -> Expression:
    """Return the mixture of a token's input with that of the token before it."""
    before = call("shifted", ctx.input)
    return before + (ctx.input - before) * Parameter(f"{ctx.weight_prefix}mix_{name}")


def mamba2(part: Mamba2, ctx: PartContext) -> PartSteps:
    """Yield the steps of Mamba-2."""
    d_inner, d_selected = part.n_heads * part.d_head, part.n_state_groups * part.d_state
    yield "projected", "projected", _multiplied(part, ctx.linear(ctx.input, "in"))
    z, delta = call("first", ctx.step("projected"), d_inner), call("last", ctx.step("projected"), part.n_heads)
    before_delta = call("first", ctx.step("projected"), 2 * (d_inner + d_selected))
    u = call("last", before_delta, d_inner + 2 * d_selected)
    yield "conv", "convolved", call("silu", _convolved(u, ctx))
    yield "v", "values", call("first", ctx.step("conv"), d_inner)
    delta = call("softplus", delta + Parameter(f"{ctx.weight_prefix}dt_bias"))
    yield "delta", "selection", _limited(part, delta)
    b, c = (call("piece", call("last", ctx.step("conv"), 2 * d_selected), i, 2) for i in range(2))
    mixer = Module(ctx.weight_prefix.rstrip("."))
    yield "scan", "scan", call("head_scan", ctx.step("v"), ctx.step("delta"), b, c, part.n_state_groups, mixer)
    yield "out", "mixer_out", ctx.linear(_gated(part, ctx.step("scan"), call("silu", z), ctx), "out")


def _multiplied(part: Mamba2, projected: Call) -> Call:
    own, d_inner, d_selected = part.multipliers, part.n_heads * part.d_head, part.n_state_groups * part.d_state
    if own is None:
        return projected
    slices: tuple[float, ...] = (d_inner, own.z, d_inner, own.v, d_selected, own.b, d_selected, own.c)
    return call("by_slice", projected, *slices, part.n_heads, own.delta)


def _limited(part: Mamba2, delta: Call) -> Call:
    delta = delta if part.step_min is None else call("at_least", delta, part.step_min)
    return delta if part.step_max is None else call("at_most", delta, part.step_max)


def _gated(part: Mamba2, y: Expression, gate: Expression, ctx: PartContext) -> Expression:
    def normed(x: Expression) -> Expression:
        return (
            x if part.norm is None else call("group_norm", x, part.n_state_groups, Module(f"{ctx.weight_prefix}norm"))
        )

    return normed(y) * gate if part.norm_when == "before" else normed(y * gate)


def _normed(part: Mamba1, x: Call, name: str, ctx: PartContext) -> Call:
    return x if part.norm is None else ctx.normed(x, name)


def _convolved(x: Call, ctx: PartContext, module: str = "conv") -> Call:
    return call("convolved", x, Module(f"{ctx.weight_prefix}{module}"))
