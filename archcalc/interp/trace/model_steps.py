"""The steps of a forward pass, built from the spec: each has a name and an expression over earlier steps.

The functions of the expressions are listed in archcalc.interp.trace.glossary. A step that is a site of
archcalc.spec.sites has the site's name.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from functools import reduce
from operator import add

from archcalc.interp.trace import bottleneck_steps, prompt_steps
from archcalc.interp.trace.expression import Call, Expression, Module, Operand, Parameter, Value, call
from archcalc.interp.trace.part_steps import PartContext, affine, normalized
from archcalc.interp.trace.step import Step
from archcalc.spec import Spec
from archcalc.spec.bottleneck import Bottleneck
from archcalc.spec.branches import (
    arm_conv,
    arm_norm,
    arm_norm_out,
    arm_sum,
    borrowed_names,
    first_branches,
    names,
    names_after,
    stream_branches,
    stream_start,
    tied_norms,
)
from archcalc.spec.cycles import is_high, layers_of_run
from archcalc.spec.embedding import Embedding, ExtraTable
from archcalc.spec.global_tokens import global_norm
from archcalc.spec.groups import layers_of, lender_indices, router_links, weight_indices
from archcalc.spec.layer import Arm, Branch, Cycles, GlobalTokens, Layer, Stack
from archcalc.spec.model import Head, HeadReads, ModelStack
from archcalc.spec.norm import Affine, Norm
from archcalc.spec.position import Sinusoidal, TablePosition
from archcalc.spec.stream_variants import stream_implementation
from archcalc.spec.streams import AnyStreams
from archcalc.spec.variants import implementation, variant

# Yields steps and returns the value of the last.
Steps = Generator[Step, None, Value]


def steps(spec: Spec) -> tuple[Step, ...]:
    """Return all steps of a forward pass over a whole text, in order."""
    return tuple(_steps(spec))


def _steps(spec: Spec) -> Iterator[Step]:
    last = None
    for model_stack in spec.stacks:
        prefix, stack = model_stack.prefix, model_stack.stack
        source, source_ids = last, f"{spec.stacks[0].prefix}ids"
        yield Step(f"{prefix}ids", "ids", None)
        yield from _embedding_steps(model_stack)
        yield from _per_layer_steps(model_stack)
        last = yield from _stack_steps(model_stack, source, source_ids)
        if stack.final_norm is not None:
            last = yield from _norm_steps(stack.final_norm, f"{prefix}final_norm", last, f"{prefix}final_norm")
    assert last is not None, "a spec has a stack"
    if spec.pooler is not None:
        pooled = call("linear", call("place", last, 0), Module("pooler"))
        yield Step("pooled", "pooled", call(spec.pooler.activation, pooled))
        last = Value("pooled")
    if spec.head is not None:
        yield Step("logits", "logits", _logits(spec, spec.head, last))
        yield Step("probabilities", "probabilities", call("softmax", Value("logits")))
        yield Step("choice", "choice", call("top", Value("probabilities"), 1))


def _stack_steps(model_stack: ModelStack, source: Value | None, source_ids: str) -> Steps:
    """Yield the steps from the input of the first layer to the last states of the stack before its norm."""
    prefix, stack = model_stack.prefix, model_stack.stack
    last: Expression = Value(f"{prefix}embed")
    if stack.streams is not None:
        first_steps = stream_implementation(stack.streams, "first_steps")
        yield Step(f"{prefix}split", "streams", first_steps(stack.streams, last, prefix))
        last = Value(f"{prefix}split")
    if stack.global_tokens is not None:
        last = call("followed", last, Parameter(f"{prefix}global_tokens.weight"))
    if stack.soft_prompt is not None:
        last = call("followed", prompt_steps.soft_prompt_rows(stack.soft_prompt, model_stack), last)
    if stack.prompts is not None:
        yield from prompt_steps.learned_prompts(stack, prefix)
    states = yield from _layer_steps(model_stack, last, source, source_ids)
    if stack.global_tokens is not None:
        yield Step(f"{prefix}text", "residual", call("without_last", states, stack.global_tokens.n_tokens))
        return Value(f"{prefix}text")
    if stack.soft_prompt is not None:
        yield Step(f"{prefix}text", "residual", call("without_first", states, stack.soft_prompt.n_tokens))
        return Value(f"{prefix}text")
    if stack.streams is not None:
        merged = stream_implementation(stack.streams, "merged_steps")(stack.streams, states, prefix)
        yield Step(f"{prefix}merged", "residual", merged)
        return Value(f"{prefix}merged")
    return states


def _layer_steps(model_stack: ModelStack, x: Expression, source: Value | None, source_ids: str) -> Steps:
    """Yield the steps of all layers, the first of which would read `x`; return the output of the last."""
    prefix, stack = model_stack.prefix, model_stack.stack
    owners, lenders, links = weight_indices(stack), lender_indices(stack), router_links(stack)
    modules = CycleExpressions.of(stack, prefix, x)
    x_0, last = x, Value("")  # a stack has a layer
    for i, layer in enumerate(layers_of(stack)):
        link = links[i]
        steps_of_layer = LayerSteps(
            layer,
            step_prefix=f"{prefix}layers.{i}.",
            weight_prefix=f"{prefix}layers.{owners[i]}.",
            source=source,
            is_causal=model_stack.is_causal,
            key_prefix=f"{prefix}layers.{lenders[i]}.",
            ids=f"{prefix}ids",
            source_ids=source_ids,
            per_layer=call("piece", Value(f"{prefix}per_layer"), i, len(owners)) if stack.per_layer else None,
            d_model=model_stack.model.d_model,
            embedded=x_0,
            stack_prefix=prefix,
            streams=stack.streams,
            global_tokens=stack.global_tokens,
            index=i,
            router_state=None if link is None else Value(f"{prefix}layers.{link.site}"),
            learned=prompt_steps.learned_pairs(stack, layer, prefix, i),
        )
        x = last = yield from steps_of_layer.steps(x if modules is None else modules.layer_input(i, x))
        if modules is not None:
            yield from modules.update(i, last)
    return last


def _with_tables(x: Expression, part: Embedding, embed: str, ids: Value) -> Expression:
    """Return the tokens `x`, projected, and with the rows that they read from other tables."""
    read = [table for table in part.tables if table.is_read]
    if part.factor and part.factor.widen == "before_positions":
        x = call("with_neighbors", x, part.factor.n_neighbors) if part.factor.n_neighbors else x
        x = call("linear", x, Module(f"{embed}project"))
    if part.join:
        for table in read:
            x = call("concat", x, _rows(table, embed, ids)) if table.use == "joined" else x
        x = call("linear", x, Module(f"{embed}join"))
    if part.n_token_types:
        x += call("rows", Module(f"{embed}types"), 0)
    for table in read:
        x = x + _rows(table, embed, ids) if table.use == "added" else x
    return x


def _rows(table: ExtraTable, embed: str, ids: Value) -> Expression:
    """Return the rows that tokens read from an extra table; a table that is added gives all tokens the same row."""
    assert table.default_row is not None, "called only for tables that are read"
    indices = ids * 0 + table.default_row if table.use == "joined" else table.default_row
    rows = call("rows", Module(f"{embed}tables.{table.name}"), indices)
    return rows if table.n_reads == 1 else rows * table.n_reads


def _embedding_steps(model_stack: ModelStack) -> Iterator[Step]:
    part, stack = model_stack.model.embedding, model_stack.stack
    prefix, embed = model_stack.prefix, model_stack.embed_prefix
    tokens, ids = call("rows", Module(f"{embed}tokens"), Value(f"{prefix}ids")), Value(f"{prefix}ids")
    tokens = tokens if part.scale is None else tokens * part.scale
    if part.token_dropout:
        tokens *= call("rescaled", ids, part.token_dropout.mask_id, part.token_dropout.share)
    yield Step(f"{prefix}tokens", "tokens", tokens)
    x = _with_tables(Value(f"{prefix}tokens"), part, embed, ids)
    is_norm_first = stack.embed_norm is not None and stack.embed_norm_reads == "tokens"
    if is_norm_first:
        x = _embed_normed(stack.embed_norm, x, prefix)
    if stack.position is not None:
        positions = Value(f"{prefix}positions")
        yield Step(positions.name, "positions", _positions(stack.position, Module(positions.name)))
        x += positions
    if not is_norm_first:
        x = _embed_normed(stack.embed_norm, x, prefix)
    if part.factor and part.factor.widen == "after_positions":
        x = call("linear", x, Module(f"{embed}project"))
    yield Step(f"{prefix}embed", "embed", x)


def _embed_normed(part: Norm | None, x: Expression, prefix: str) -> Expression:
    """Return the sum of the embeddings after their norm, if there is one."""
    if part is None:
        return x
    module = f"{prefix}embed_norm"
    return affine(part, x, module) if isinstance(part, Affine) else call("norm", x, Module(module))


def _per_layer_steps(model_stack: ModelStack) -> Iterator[Step]:
    """Yield the tokens' own numbers for all layers."""
    part, prefix = model_stack.stack.per_layer, model_stack.prefix
    if part is None:
        return
    assert part.n_rows is not None, "the spec is resolved"
    module, n_layers = f"{prefix}per_layer", len(weight_indices(model_stack.stack))
    projected: Expression = call("linear", Value(f"{prefix}embed"), Module(f"{module}.project"))
    projected = projected * model_stack.model.d_model**-0.5
    if part.norm is not None:
        projected = call("joined", call("norm", call("heads", projected, n_layers), Module(f"{module}.norm")))
    ids = call("in_table", Value(f"{prefix}ids"), part.n_rows)
    rows = call("rows", Module(f"{module}.table"), ids) * part.d_per_layer**0.5
    yield Step(module, "per_layer", (projected + rows) * 2**-0.5)


_ORDERS = {"alternating": "sinusoids", "halves": "sinusoid_halves", "fairseq": "fairseq_sinusoids"}


def _positions(part: TablePosition, table: Module) -> Call:
    positions = Value("token_positions") + part.n_extra if part.n_extra else Value("token_positions")
    return call(_ORDERS[part.order], positions) if isinstance(part, Sinusoidal) else call("rows", table, positions)


def _logits(spec: Spec, head: Head, last: Expression) -> Expression:
    x = last if head.scale is None else last * head.scale
    if head.labels is not None and head.labels.picks == "before":
        x = _label_states(head.labels.reads, x)
    transform = head.transform
    if transform is not None:
        x = call(transform.activation, call("linear", x, Module("head.transform")))
        if transform.d_hidden:
            x = call(transform.activation, call("linear", x, Module("head.transform_out")))
        x = call("norm", x, Module("head.norm")) if transform.norm else x
    elif not head.own_columns and (head.d_in or (head.tied and spec.embedding.factor)):
        x = call("linear", x, Module("head.project"))
    x = _scores(spec, head, x)
    x = x + Parameter("head.bias_buffer") if head.bias_buffer else x
    if head.labels is not None and head.labels.picks == "after":
        x = _label_states(head.labels.reads, x)
    x = x if head.softcap is None else call("capped", x, head.softcap)
    return x if head.n_scored is None else call("first", x, head.n_scored)


def _scores(spec: Spec, head: Head, x: Expression) -> Expression:
    """Return the product with the head's matrix and its own columns, plus its bias."""
    bias = [Parameter("head.bias")] if head.bias else []
    matrix = Module("embed.tokens" if head.tied else "head")
    if not head.own_columns:
        return call("linear", x, matrix, *bias)
    width = spec.embedding.factor.d_embed if head.tied and spec.embedding.factor else head.d_in or spec.d_model
    own = call("linear", call("last", x, spec.d_model - width), Module("head.columns"))
    return call("linear", call("first", x, width), matrix, *bias) + own


def _label_states(reads: HeadReads, x: Expression) -> Expression:
    """Return the states that a classification head reads: first, last, average or all."""
    if reads == "mean":
        return call("average", x)
    return call("place", x, 0 if reads == "first" else -1) if reads in ("first", "last") else x


@dataclass
class CycleExpressions:
    """The states of two modules of layers that run in turn."""

    stack: Stack
    cycles: Cycles
    prefix: str
    high: Expression
    low: Expression

    @classmethod
    def of(cls, stack: Stack, prefix: str, x: Expression) -> CycleExpressions | None:
        """Return the first states, given the input of the first layer; None without cycles."""
        return cls(stack, stack.cycles, prefix, x, Parameter(f"{prefix}cycles.start")) if stack.cycles else None

    def layer_input(self, layer: int, x: Expression) -> Expression:
        """Return what a layer reads: at the start of a run both states, else the layer before."""
        return x if layer % layers_of_run(self.stack, self.cycles) else self.high + self.low

    def update(self, layer: int, x: Value) -> Iterator[Step]:
        """Yield the steps of the end of a run, which gives its module's new state; the last run's is the stack's."""
        run, place = divmod(layer + 1, layers_of_run(self.stack, self.cycles))
        if place or run == self.cycles.n_runs:
            return
        name, part = f"{self.prefix}cycles.{run - 1}", self.stack.final_norm
        if part is None:
            yield Step(name, "residual", x)
        else:
            yield from _norm_steps(part, name, x, f"{self.prefix}final_norm")
        if is_high(self.cycles, run - 1):
            self.high = Value(name)
        else:
            self.low = Value(name)


@dataclass(frozen=True)
class LayerSteps:
    """The steps of a layer. Prefixes, `source` and `is_causal` are those of PartContext, for the whole layer.

    `key_prefix` is that of the layer whose keys and values are read by arms that share them, `stack_prefix` that of the
    stack. `ids` and `source_ids` are the steps of the stack's and the source's tokens. `per_layer` is the layer's own
    embedding, `embedded` the input of the first layer, `inputs` are those that the branches so far read. With `streams`
    the layer has several residual streams, with `global_tokens` more tokens. `split`: what queries, keys (None: as
    queries) and values of an arm are projected from, if these differ. `index` is that of the layer. `router_state`:
    that of an earlier layer's router which this one's adds. `learned`: keys and values that an arm reads before others.
    """

    layer: Layer
    step_prefix: str
    weight_prefix: str
    source: Value | None
    is_causal: bool
    key_prefix: str
    ids: str
    source_ids: str
    per_layer: Expression | None
    d_model: int
    embedded: Expression
    stack_prefix: str
    streams: AnyStreams | None = None
    global_tokens: GlobalTokens | None = None
    inputs: dict[str, Expression] = field(default_factory=dict)
    split: dict[str, tuple[Expression, Expression | None, Expression]] = field(default_factory=dict)
    index: int = 0
    router_state: Value | None = None
    learned: Mapping[str, tuple[Expression, Expression]] = field(default_factory=dict)

    def steps(self, last: Expression) -> Steps:
        """Yield the steps of the layer, whose input is `last`; return its output."""
        if self.layer.bottleneck is not None:
            return (yield from self._narrowed(self.layer.bottleneck, last))
        if self.streams is None:
            return (yield from self.branches(last))
        layer_steps: Steps = stream_implementation(self.streams, "steps")(self.streams, self, last)
        return (yield from layer_steps)

    def _narrowed(self, part: Bottleneck, last: Expression) -> Steps:
        """Yield the steps of a layer with a bottleneck; return its output."""
        residual, prefix = (yield from self.step("resid_pre", "residual", last)), self.weight_prefix
        if part.splits_attention:
            projected = bottleneck_steps.projected(part, "keys", residual, prefix)
            keys = yield from self.step("narrow_keys", "bottleneck", projected)
            self.split[stream_branches(self.layer)[0].arms[0].name] = keys, None, residual
        stream = yield from self.branches(bottleneck_steps.projected(part, "down", residual, prefix))
        total = bottleneck_steps.widened(residual, stream, prefix)
        if part.norm is None:
            return (yield from self.step("resid_post", "residual", total))
        widened = yield from self.step("widened", "residual", total)
        normed = call("norm", widened, Module(f"{prefix}bottleneck.up_norm"))
        return (yield from self.step("resid_post", "residual", normed))

    def branches(self, last: Expression) -> Steps:
        """Yield the steps of the branches of one stream; return its value after them."""
        residual = yield from self.step(stream_start(self.layer), "residual", last)
        read: Expression = residual
        for branch, stream_name in zip(first_branches(self.layer), names_after(self.layer), strict=True):
            if stream_name is None:
                read = yield from self._next(branch, read, residual)
            else:
                read = residual = yield from self._branch(branch, read, residual, stream_name)
        return residual

    def _next(self, branch: Branch, read: Expression, residual: Value) -> Generator[Step, None, Expression]:
        """Yield the steps of a branch that the next one reads; return what that reads."""
        self.inputs[branch.arms[0].name] = branch_input = yield from self.branch_input(branch, read)
        yield from self.split_input(branch, branch_input, read, read)
        outputs = yield from self.outputs(branch)
        given = [_times(output, branch.scale) for output in outputs]
        total = reduce(add, [residual, *given] if branch.joins == "next_sum" else given)
        return (yield from self.step(str(names(branch).next), "residual", total))

    def _stream(self, name: str, x: Expression) -> Steps:
        """Yield the residual stream after a branch; the last of the layer is multiplied by its number, if any."""
        if name == "resid_post" and self.layer.out_scalar:
            x = x * Parameter(f"{self.weight_prefix}out_scalar")
        return (yield from self.step(name, "residual", x))

    def _branch(self, branch: Branch, read: Expression, residual: Value, stream_name: str) -> Steps:
        own = names(branch)
        branch_input = yield from self.branch_input(branch, read)
        self.inputs[branch.arms[0].name] = branch_input
        yield from self.split_input(branch, branch_input, read, read)
        outputs = yield from self.outputs(branch)
        skip = branch_input if branch.skip_reads == "normed" else residual
        if own.skip is not None:
            skip = _weighed(skip, f"{self._prefix_of(own.skip)}{own.skip}", has_bias=branch.skip_bias)
        total = reduce(add, [_times(skip, branch.skip), *(_times(output, branch.scale) for output in outputs)])
        if own.sum is None:
            return (yield from self._stream(stream_name, total))
        summed = yield from self.step(own.sum, "residual", total)
        normed = yield from self.normed(branch.norm_after, own.norm_after, summed)
        return (yield from self._stream(stream_name, normed))

    def branch_input(self, branch: Branch, x: Expression) -> Generator[Step, None, Expression]:
        """Yield the steps of what the arms read; return its value."""
        own = names(branch)
        if own.joined:
            x = yield from self.step(own.joined, "residual", call("concat", x, self.embedded))
        y = yield from self.normed(branch.norm_in, own.norm_in, x, global_norm(branch, self.global_tokens))
        if own.in_gate is None:
            return y
        down, up = (Module(f"{self._prefix_of(own.in_gate)}{own.in_gate}.{name}") for name in ("down", "up"))
        gate = call("sigmoid", call("linear", call("silu", call("linear", y, down)), up))
        return (yield from self.step(own.in_gate, "gated", y * gate))

    def split_input(
        self, branch: Branch, queries: Expression, keys: Expression, values: Expression
    ) -> Generator[Step, None, None]:
        """Yield the steps of the norms of keys and values, if these have their own, of these states."""
        own = names(branch)
        if own.norm_keys is not None:
            keys = yield from self.normed(branch.norm_in, own.norm_keys, keys)
            values = yield from self.normed(branch.norm_in, own.norm_values, values)
            self.split[own.first] = queries, keys, values

    def outputs(self, branch: Branch) -> Generator[Step, None, list[Expression]]:
        """Yield the steps of the arms; return the values that are added to the residual stream."""
        outputs = []
        for arm in branch.arms:
            read = self.inputs[arm.input_of or branch.arms[0].name]
            arm_input = yield from self.normed(arm.norm, arm_norm(arm), read)
            yield from self._part(arm, _times(arm_input, arm.in_scale))
            output: Expression = Value(f"{self.step_prefix}{arm.name}.out")
            if name := arm_conv(arm):
                convolved = call("convolved", output, Module(f"{self.weight_prefix}{name}"))
                output = yield from self.step(name, "residual", output + convolved)
            output = _times(output, arm.scale)
            output = yield from self.normed(arm.norm_out, arm_norm_out(arm), output)
            if name := arm_sum(arm):
                output = yield from self.step(name, "residual", arm_input + output)
            outputs.append(output)
        if branch.norm_out is None:
            return outputs
        own, summed = names(branch), outputs[0]
        if own.arms_sum:
            summed = yield from self.step(own.arms_sum, "residual", reduce(add, outputs))
        return [(yield from self.normed(branch.norm_out, own.norm_out, summed))]

    def _prefix_of(self, name: str) -> str:
        """Return the prefix of the weights of an arm, norm or gate, which may be those of an earlier layer."""
        owner = borrowed_names(self.layer).get(name)
        return self.weight_prefix if owner is None else f"{self.stack_prefix}layers.{owner}."

    def step(self, name: str, kind: str, expression: Expression, key_ids: str = "") -> Steps:
        """Yield a step of the layer; return its value."""
        yield Step(f"{self.step_prefix}{name}", kind, expression, self.step_prefix.rstrip("."), key_ids)
        return Value(f"{self.step_prefix}{name}")

    def normed(
        self, part: Norm | None, name: str | None, x: Expression, of_global: str | None = None
    ) -> Generator[Step, None, Expression]:
        """Yield the steps of a norm; return its value, or `x` without a norm. `of_global`: that of global tokens."""
        if part is None or name is None:
            return x
        name_of_weights = tied_norms(self.layer).get(name, name)
        module = f"{self._prefix_of(name_of_weights)}{name_of_weights}"
        layer, tokens = self.step_prefix.rstrip("."), self.global_tokens
        more: tuple[Operand, ...] = ()
        if of_global and tokens:
            more = Module(f"{self.weight_prefix}{of_global}"), tokens.n_tokens
        return (yield from _norm_steps(part, f"{self.step_prefix}{name}", x, module, layer, more))

    def _part(self, arm: Arm, arm_input: Expression) -> Iterator[Step]:
        is_cross = arm.reads == "source"
        arm_input, key_input, values = self.split.get(arm.name, (arm_input, None, None))
        key_prefix = self.key_prefix if arm.reads == "shared" else self.step_prefix
        context = PartContext(
            step_prefix=f"{self.step_prefix}{arm.name}.",
            weight_prefix=f"{self._prefix_of(arm.name)}{arm.name}.",
            input=arm_input,
            source=self.source if is_cross else None,
            is_causal=self.is_causal and not is_cross,
            key_prefix=f"{key_prefix}{arm.name}.",
            lender_prefix=f"{self.key_prefix}{arm.name}.",
            per_layer=self.per_layer,
            d_model=self.layer.bottleneck.d_bottleneck if self.layer.bottleneck else self.d_model,
            ids=Value(self.ids),
            value_input=values,
            key_input=key_input,
            router_state=self.router_state,
            learned=self.learned.get(arm.name),
        )
        keys = self.source_ids if is_cross else self.ids
        key_ids = keys if variant(arm.part).mixes_tokens else ""
        for name, kind, expression in implementation(arm.part, "steps")(arm.part, context):
            yield from self.step(f"{arm.name}.{name}", kind, expression, key_ids)


def _weighed(x: Expression, module: str, *, has_bias: bool) -> Expression:
    """Return x, plus a bias, times the factors of its channels."""
    return (x + Parameter(f"{module}.bias") if has_bias else x) * Parameter(f"{module}.weight")


def _times(x: Expression, factor: float) -> Expression:
    return x if factor == 1 else x * factor


def _norm_steps(
    part: Norm, name: str, x: Expression, module: str, layer: str = "", of_last: tuple[Operand, ...] = ()
) -> Steps:
    """Yield the normalization and the scaling of a norm; return its value.

    `of_last`: the module that scales the last tokens, and their number.
    """
    if isinstance(part, Affine) and not of_last:
        yield Step(name, "norm", affine(part, x, module), layer)
        return Value(name)
    if not isinstance(part, Affine):
        yield Step(f"{name}.normalized", "normalized", normalized(part, x), layer)
        x = Value(f"{name}.normalized")
    scaling = "scaled_apart" if of_last else "scaled"
    yield Step(name, "norm", call(scaling, x, Module(module), *of_last), layer)
    return Value(name)
