"""The steps of mixers."""

from __future__ import annotations

from archcalc.interp.trace.expression import Call, Module, call
from archcalc.interp.trace.part_steps import PartContext, PartSteps
from archcalc.spec.mixer import ShortConv


def short_conv(part: ShortConv, ctx: PartContext) -> PartSteps:
    """Yield the steps of a short convolution."""
    yield "projected", "projected", ctx.linear(ctx.input, "in")
    b, c, x = (call("piece", ctx.step("projected"), i, 3) for i in range(3))
    yield "conv", "convolved", _convolved(b * x, ctx)
    yield "out", "mixer_out", ctx.linear(c * ctx.step("conv"), "out")


def _convolved(x: Call, ctx: PartContext) -> Call:
    return call("convolved", x, Module(f"{ctx.weight_prefix}conv"))
