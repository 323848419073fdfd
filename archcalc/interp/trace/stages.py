"""The steps of a forward pass, from its spec: a name, and a formula over the steps before it.

Formulas are written in the functions of archcalc.render.trace_words. Steps that are sites of archcalc.spec.sites carry
the site's name.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import reduce
from operator import add

from archcalc.interp.trace.expression import Call, Expression, Module, Parameter, Value, call
from archcalc.interp.trace.parts import Where
from archcalc.spec import Spec
from archcalc.spec.branches import active_branches, arm_norm, names, stream_names
from archcalc.spec.groups import key_indices, layers_of, weight_indices
from archcalc.spec.layer import Arm, Branch, Layer
from archcalc.spec.model import Head, HeadReads, ModelStack
from archcalc.spec.norm import LayerNorm, Norm
from archcalc.spec.position import Sinusoidal, TablePosition
from archcalc.spec.variants import implementation


@dataclass(frozen=True)
class Step:
    """One step: its name, its kind (for the words about it), its formula (None for ids), and the layer it stands in."""

    name: str
    kind: str
    formula: Expression | None
    layer: str = ""


# Steps, and then the value of the last.
Steps = Generator[Step, None, Value]


def steps(spec: Spec) -> tuple[Step, ...]:
    """All steps of a pass over a whole text, in their order."""
    return tuple(_steps(spec))


def _steps(spec: Spec) -> Iterator[Step]:
    last = None
    for each in spec.stacks:
        prefix, stack = each.prefix, each.stack
        source = last
        yield Step(f"{prefix}ids", "ids", None)
        yield from _embedded(each)
        last, owners, lenders = Value(f"{prefix}embed"), weight_indices(stack), key_indices(stack)
        for turn, layer in enumerate(layers_of(stack)):
            at = f"{prefix}layers.{turn}."
            of, hides = f"{prefix}layers.{owners[turn]}.", each.is_causal
            lender = f"{prefix}layers.{lenders[turn]}."
            yield from _Layer(layer, at, of, source, hides, lender).steps(last)
            last = Value(f"{at}resid_post")
        if stack.final_norm is not None:
            last = yield from _normed(stack.final_norm, f"{prefix}final_norm", last, f"{prefix}final_norm")
    assert last is not None, "a spec has a stack"
    if spec.pooler is not None:
        pooled = call("linear", call("place", last, 0), Module("pooler"))
        yield Step("pooled", "pooled", call(spec.pooler.activation, pooled))
        last = Value("pooled")
    if spec.head is not None:
        yield Step("logits", "logits", _logits(spec, spec.head, last))
        yield Step("probabilities", "probabilities", call("softmax", Value("logits")))
        yield Step("choice", "choice", call("top", Value("probabilities"), 1))


def _embedded(each: ModelStack) -> Iterator[Step]:
    part, stack, prefix, embed = each.model.embedding, each.stack, each.prefix, each.embed_prefix
    tokens, ids = call("rows", Module(f"{embed}tokens"), Value(f"{prefix}ids")), Value(f"{prefix}ids")
    tokens = tokens if part.scale is None else tokens * part.scale
    if part.token_dropout:
        tokens *= call("rescaled", ids, part.token_dropout.mask_id, part.token_dropout.share)
    yield Step(f"{prefix}tokens", "tokens", tokens)
    found: Expression = Value(f"{prefix}tokens")
    if part.factor and part.factor.widen == "before_positions":
        found = call("linear", found, Module(f"{embed}project"))
    if part.n_token_types:
        found += call("rows", Module(f"{embed}types"), 0)
    for table in part.tables:
        if table.default_row is not None:
            found += call("rows", Module(f"{embed}tables.{table.name}"), table.default_row)
    normed = stack.embed_norm is not None and stack.embed_norm_reads == "tokens"
    if normed:
        found = call("norm", found, Module(f"{prefix}embed_norm"))
    if stack.position is not None:
        positions = Value(f"{prefix}positions")
        yield Step(positions.name, "positions", _positions(stack.position, Module(positions.name)))
        found += positions
    if stack.embed_norm is not None and not normed:
        found = call("norm", found, Module(f"{prefix}embed_norm"))
    if part.factor and part.factor.widen == "after_positions":
        found = call("linear", found, Module(f"{embed}project"))
    yield Step(f"{prefix}embed", "embed", found)


_ORDERS = {"alternating": "sinusoids", "halves": "sinusoid_halves", "fairseq": "fairseq_sinusoids"}


def _positions(part: TablePosition, table: Module) -> Call:
    places = Value("places") + part.n_extra if part.n_extra else Value("places")
    return call(_ORDERS[part.order], places) if isinstance(part, Sinusoidal) else call("rows", table, places)


def _logits(spec: Spec, head: Head, last: Expression) -> Expression:
    found = last if head.scale is None else last * head.scale
    if head.labels is not None and head.labels.picks == "before":
        found = _picked(head.labels.reads, found)
    change = head.transform
    if change is not None:
        found = call(change.activation, call("linear", found, Module("head.transform")))
        if change.d_hidden:
            found = call(change.activation, call("linear", found, Module("head.transform_out")))
        found = call("norm", found, Module("head.norm")) if change.norm else found
    elif head.d_in or (head.tied and spec.embedding.factor):
        found = call("linear", found, Module("head.project"))
    bias = [Parameter("head.bias")] if head.bias else []
    found = call("linear", found, Module("embed.tokens" if head.tied else "head"), *bias)
    found = found + Parameter("head.bias_buffer") if head.bias_buffer else found
    if head.labels is not None and head.labels.picks == "after":
        found = _picked(head.labels.reads, found)
    return found if head.softcap is None else call("capped", found, head.softcap)


def _picked(reads: HeadReads, x: Expression) -> Expression:
    """Return what a head for labels reads of the states."""
    if reads == "mean":
        return call("average", x)
    return call("place", x, 0 if reads == "first" else -1) if reads in ("first", "last") else x


@dataclass(frozen=True)
class _Layer:
    """A layer's steps: `at` is before their names, `of` before its weights', `source` what cross-attention reads.

    `hides`: it is a decoder's. `lender` is before the names of the steps whose keys and values it shares.
    """

    layer: Layer
    at: str
    of: str
    source: Value | None
    hides: bool
    lender: str

    def steps(self, last: Value) -> Iterator[Step]:
        now = yield from self._step("resid_pre", "residual", last)
        for branch, left in zip(active_branches(self.layer), stream_names(self.layer), strict=True):
            now = yield from self._branch(branch, now, left)

    def _branch(self, branch: Branch, now: Value, left: str) -> Steps:
        own = names(branch)
        read = yield from self._normed(branch.norm_in, own.norm_in, now)
        outputs = yield from self._joining(branch, read)
        skip = read if branch.skip_reads == "normed" else now
        total = reduce(add, [_times(skip, branch.skip), *(_times(output, branch.scale) for output in outputs)])
        if own.sum is None:
            return (yield from self._step(left, "residual", total))
        summed = yield from self._step(own.sum, "residual", total)
        normed = yield from self._normed(branch.norm_after, own.norm_after, summed)
        return (yield from self._step(left, "residual", normed))

    def _joining(self, branch: Branch, read: Value) -> Generator[Step, None, list[Value]]:
        """What the arms add to the residual stream."""
        for arm in branch.arms:
            arm_read = yield from self._normed(arm.norm, arm_norm(arm), read)
            yield from self._part(arm, arm_read)
        outputs = [Value(f"{self.at}{arm.name}.out") for arm in branch.arms]
        if branch.norm_out is None:
            return outputs
        own, summed = names(branch), outputs[0]
        if own.arms_sum:
            summed = yield from self._step(own.arms_sum, "residual", reduce(add, outputs))
        return [(yield from self._normed(branch.norm_out, own.norm_out, summed))]

    def _step(self, name: str, kind: str, formula: Expression) -> Steps:
        """A step of the layer; its value."""
        yield Step(f"{self.at}{name}", kind, formula, self.at.rstrip("."))
        return Value(f"{self.at}{name}")

    def _normed(self, part: Norm | None, name: str | None, read: Value) -> Steps:
        """The steps of a norm; its value, or what it would read where there is none."""
        if part is None or name is None:
            return read
        return (yield from _normed(part, f"{self.at}{name}", read, f"{self.of}{name}", self.at.rstrip(".")))

    def _part(self, arm: Arm, read: Value) -> Iterator[Step]:
        source, hides = (self.source, False) if arm.reads == "source" else (None, self.hides)
        keys = self.lender if arm.reads == "shared" else self.at
        where = Where(f"{self.at}{arm.name}.", f"{self.of}{arm.name}.", read, source, hides, f"{keys}{arm.name}.")
        for name, kind, formula in implementation(arm.part, "steps")(arm.part, where):
            yield from self._step(f"{arm.name}.{name}", kind, formula)


def _times(x: Value, factor: float) -> Expression:
    return x if factor == 1 else x * factor


def _normed(part: Norm, name: str, read: Value, module: str, layer: str = "") -> Steps:
    """What is normalized alone, and then scaled; its value."""
    how = "standardised" if isinstance(part, LayerNorm) else "over_rms"
    yield Step(f"{name}.normalised", "normalised", call(how, read, part.eps), layer)
    yield Step(name, "norm", call("scaled", Value(f"{name}.normalised"), Module(module)), layer)
    return Value(name)
