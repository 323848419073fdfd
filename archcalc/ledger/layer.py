"""A layer: its residual branches in order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
from msgspec import structs

from archcalc.ledger import bottleneck, input_gate, norm
from archcalc.ledger.algebra import ONE
from archcalc.ledger.bottleneck import Split
from archcalc.ledger.forward_context import ForwardContext, dropout
from archcalc.ledger.leaves import Elementwise, Forward, Save, Weight, only_weights, with_prefix, without_weights
from archcalc.ledger.mixers.conv import causal_conv
from archcalc.ledger.symbols import Symbols
from archcalc.ledger.tensor import Tensor
from archcalc.ledger.tokens import CROSS
from archcalc.spec.bottleneck import Bottleneck
from archcalc.spec.branches import (
    arm_conv,
    arm_norm,
    arm_norm_out,
    branches,
    is_idle,
    names,
    reads_embedding,
    tied_norms,
)
from archcalc.spec.global_tokens import global_norm
from archcalc.spec.layer import Arm, Branch, Layer
from archcalc.spec.norm import Norm
from archcalc.spec.stream_variants import stream_implementation
from archcalc.spec.variants import implementation, variant


class LayerBuilder(msgspec.Struct, frozen=True):
    """A layer with the dimensions of each arm, in a forward pass through its stack.

    `inputs` are those of the branches so far, by their first arms. `tied_norms` are the norms without own weights.
    `split`: what queries, keys and values of an arm are projected from, if these differ.
    """

    symbols: dict[str, Symbols]
    ctx: ForwardContext
    inputs: dict[str, Tensor]
    tied_norms: Mapping[str, str]
    split: Mapping[str, Split] = {}

    def part(self, arm: Arm, x: Tensor) -> Forward[Tensor]:
        """Yield the leaves of an arm's part; return its output, before the residual."""
        if arm.name in self.split:
            x, _, _ = self.split[arm.name]
        if arm.in_scale != 1.0:
            x = x.new("scaled")
        leaves: Forward[Tensor] = implementation(arm.part, "ledger")(
            arm.part, self.symbols[arm.name], x, self._arm_context(arm)
        )
        y = yield from with_prefix(f"{self.ctx.prefix}{arm.name}.", leaves)
        if arm.d_out_conv is not None:
            width = self.symbols[arm.name].d_out_conv
            yield from causal_conv(f"{self.ctx.prefix}{arm_conv(arm)}", y, width, bias=False, component="other")
            y = y.new("sum with the convolution")
        return y if arm.scale == 1.0 else y.new("scaled")

    def _arm_context(self, arm: Arm) -> ForwardContext:
        """Return the context with the inputs of this arm only."""
        if arm.reads == "source":
            return structs.replace(self.ctx, arm=arm.name, span=CROSS, lent_in={})
        lent_in = {arm.name: self.ctx.lent_in[arm.name]} if arm.name in self.ctx.lent_in else {}
        ctx = structs.replace(self.ctx, arm=arm.name, source=None, lent_in=lent_in)
        if arm.name not in self.split:
            return ctx
        _, keys, values = self.split[arm.name]
        return structs.replace(ctx, key_states=keys, value_states=values)

    def norm(self, part: Norm | None, name: str | None, x: Tensor) -> Forward[Tensor]:
        """Yield the leaves of the norm of this name; return `x` if there is none."""
        leaves = norm.leaves(part, f"{self.ctx.prefix}{name}", x, self.ctx)
        return (yield from without_weights(leaves) if name in self.tied_norms else leaves)

    def norm_in(self, branch: Branch, name: str | None, x: Tensor) -> Forward[Tensor]:
        """Yield the leaves of the norm before a branch, which may have other weights for global tokens."""
        of_global, n_global = global_norm(branch, self.ctx.global_tokens), self.ctx.span.n_global
        if of_global is None or n_global is None:
            return (yield from self.norm(branch.norm_in, name, x))
        batch, tokens, width = x.axes
        last = n_global if self.ctx.span.passes is None else n_global * self.ctx.span.passes
        yield from self.norm(branch.norm_in, name, x.view(batch, tokens - last, width))
        yield from self.norm(branch.norm_in, of_global, x.view(batch, last, width))
        return x.new("normed")

    def gate(self, name: str | None, first: Arm, x: Tensor) -> Forward[Tensor]:
        """Yield the leaves of the gate of a branch's input; return `x` if there is none."""
        if name is None:
            return x
        return (yield from input_gate.leaves(f"{self.ctx.prefix}{name}", self.symbols[first.name], x))

    def dropout(self, arm: Arm, y: Tensor) -> Forward[Tensor]:
        """Yield the leaves of residual dropout."""
        component = variant(arm.part).component
        return dropout(y, self.ctx.dropout.residual, self.ctx, component, f"{self.ctx.prefix}{arm.name}.dropout")

    def branches(self, parts: Iterable[Branch], x: Tensor) -> Forward[Tensor]:
        """Yield the leaves of branches one after another; return the residual stream after them."""
        read = x
        for branch in parts:
            leaves = self._branch_leaves(branch, read, x)
            read = yield from without_weights(leaves) if branch.weights_of is not None else leaves
            if branch.joins not in ("next", "next_sum"):
                x = read
        return x

    def _branch_leaves(self, branch: Branch, read: Tensor, stream: Tensor) -> Forward[Tensor]:
        """Yield the leaves of a branch that reads `read` and joins `stream`; return what the next branch reads."""
        if is_idle(branch):
            yield from self.unused_weights(branch, read)
            return read
        if branch.joins in ("next", "next_sum"):
            y = yield from self.output(branch, read)
            return y.new("joined states") if branch.joins == "next_sum" else y
        return (yield from self.branch(branch, read, stream))

    def unused_weights(self, branch: Branch, x: Tensor) -> Forward[None]:
        """Yield the weights of a branch that is never computed."""
        yield from only_weights(self.branch(branch, x, x))

    def branch(self, branch: Branch, x: Tensor, stream: Tensor) -> Forward[Tensor]:
        """Yield the leaves of a branch that reads `x`; return the residual stream after it. The sum saves nothing."""
        read = yield from self.branch_input(branch, x)
        yield from self.skip(branch, read if branch.skip_reads == "normed" else stream)
        builder = yield from self._with_split(branch, read, (x, x))
        yield from builder.arms(branch, read)
        return (yield from self.norm(branch.norm_after, names(branch).norm_after, x.new("states")))

    def output(self, branch: Branch, x: Tensor, keys_values: tuple[Tensor, Tensor] | None = None) -> Forward[Tensor]:
        """Yield the leaves of a branch that reads `x`, up to what it adds; return that.

        `keys_values` are the states for keys and for values, if these read others.
        """
        read = yield from self.branch_input(branch, x)
        builder = yield from self._with_split(branch, read, keys_values or (x, x))
        return (yield from builder.arms(branch, read))

    def _with_split(self, branch: Branch, read: Tensor, keys_values: tuple[Tensor, Tensor]) -> Forward[LayerBuilder]:
        """Yield the norms of keys and values of these states, if they have their own; return the builder with them."""
        own, first_arm = names(branch), branch.arms[0].name
        if own.norm_keys is None:
            return self
        keys = yield from self.norm(branch.norm_in, own.norm_keys, keys_values[0])
        values = yield from self.norm(branch.norm_in, own.norm_values, keys_values[1])
        return structs.replace(self, split={first_arm: (read, keys, values)})

    def branch_input(self, branch: Branch, x: Tensor) -> Forward[Tensor]:
        """Yield the leaves of what the arms of a branch read; return that."""
        if reads_embedding(branch):
            x = x.new("states and embedding", *x.axes[:-1], x.axes[-1] + x.axes[-1])
        branch_input = yield from self.norm_in(branch, names(branch).norm_in, x)
        branch_input = yield from self.gate(names(branch).in_gate, branch.arms[0], branch_input)
        self.inputs[branch.arms[0].name] = branch_input
        return branch_input

    def skip(self, branch: Branch, x: Tensor) -> Forward[None]:
        """Yield the leaves of the weights of what a branch is added to, if there are any."""
        name = names(branch).skip
        if name is not None:
            path = f"{self.ctx.prefix}{name}"
            yield Weight(f"{path}.weight", x.axes[-1:], "other")
            if branch.skip_bias:
                yield Weight(f"{path}.bias", x.axes[-1:], "other")
            yield Elementwise(path, x.axes, "other", "affine" if branch.skip_bias else "product")
            yield Save(path, x.new("shifted") if branch.skip_bias else x, "other")

    def arms(self, branch: Branch, branch_input: Tensor) -> Forward[Tensor]:
        """Yield the leaves of the arms of a branch and of their norms; return what it adds."""
        outputs = []
        for arm in branch.arms:
            read = branch_input if arm.input_of is None else self.inputs[arm.input_of]
            arm_input = yield from self.norm(arm.norm, arm_norm(arm), read)
            y = yield from self.part(arm, arm_input)
            y = yield from self.norm(arm.norm_out, arm_norm_out(arm), y)
            y = y.new("sum with the input") if arm.skip else y
            if branch.norm_out is None:
                y = yield from self.dropout(arm, y)
            outputs.append(y)
        total = y if len(outputs) == 1 else y.new("sum of the arms")
        if branch.norm_out is None:
            return total
        normed = yield from self.norm(branch.norm_out, names(branch).norm_out, total)
        return (yield from self.dropout(branch.arms[0], normed))


def _narrowed(part: Bottleneck, builder: LayerBuilder, parts: tuple[Branch, ...], x: Tensor) -> Forward[Tensor]:
    """Yield the leaves of a layer with a bottleneck."""
    first = parts[0].arms[0].name

    def inner(stream: Tensor, split: Mapping[str, Split], ctx: ForwardContext) -> Forward[Tensor]:
        return structs.replace(builder, split=split, ctx=ctx).branches(parts, stream)

    return bottleneck.leaves(part, first, builder.symbols[first].d_model, x, builder.ctx, inner)


def leaves(layer: Layer, symbols: dict[str, Symbols], x: Tensor, ctx: ForwardContext) -> Forward[Tensor]:
    """Yield the leaves of a layer; return its output states. `symbols` are the dimensions of each arm."""
    builder = LayerBuilder(symbols, ctx, {}, tied_norms(layer))
    if layer.bottleneck is not None:
        return (yield from _narrowed(layer.bottleneck, builder, branches(layer), x))
    if ctx.streams is not None:
        layer_leaves: Forward[Tensor] = stream_implementation(ctx.streams, "layer")(ctx.streams, builder, layer, x)
        return (yield from layer_leaves)
    x = yield from builder.branches(branches(layer), x)
    if layer.out_scalar:
        yield Weight(f"{ctx.prefix}out_scalar", (ONE,), "other", kind="buffer")
        yield Elementwise(f"{ctx.prefix}out_scalar", x.axes, "other", "product")
        yield Save(f"{ctx.prefix}out_scalar", Tensor("out_scalar", (ONE,), x.dtype, is_stored=True), "other")
        x = x.new("states")
    return x
