"""The steps of a forward pass, from its spec: a name, a formula over the names before it, and what it reads.

A formula is written in the functions that `parts.FUNCTIONS` says in mathematics; a dotted name is a step before it or a
module whose weights it uses. Steps that are sites of archcalc.spec.sites carry the site's name.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass

from archcalc.interp.trace.parts import Rows, Where
from archcalc.spec import Spec
from archcalc.spec.branches import arm_norm, computed, names, stream_names
from archcalc.spec.groups import key_indices, layers_of, weight_indices
from archcalc.spec.layer import Arm, Branch, Layer
from archcalc.spec.model import HeadReads, ModelStack
from archcalc.spec.norm import LayerNorm, Norm
from archcalc.spec.position import Sinusoidal, TablePosition
from archcalc.spec.variants import reading


@dataclass(frozen=True)
class Step:
    """One step: what it is called, of which kind (for the words about it), its formula, and the layer it stands in."""

    name: str
    kind: str
    formula: str
    layer: str = ""


def steps(spec: Spec) -> tuple[Step, ...]:
    """All steps of a pass over a whole text, in their order."""
    return tuple(_steps(spec))


def _steps(spec: Spec) -> Iterator[Step]:
    last = ""
    for each in spec.stacks:
        prefix, stack = each.prefix, each.stack
        source, last = last, ""
        ids = f"{prefix}ids" if prefix else "ids"
        yield Step(ids, "ids", "")
        yield from _embedded(each, ids)
        last, owners, lenders = f"{prefix}embed", weight_indices(stack), key_indices(stack)
        for turn, layer in enumerate(layers_of(stack)):
            at = f"{prefix}layers.{turn}."
            of, hides = f"{prefix}layers.{owners[turn]}.", each.is_causal
            lender = f"{prefix}layers.{lenders[turn]}."
            yield from _Layer(layer, at, of, source, hides, lender).steps(last)
            last = f"{at}resid_post"
        if stack.final_norm is not None:
            for name, kind, formula in _normed(stack.final_norm, f"{prefix}final_norm", last, f"{prefix}final_norm"):
                yield Step(name, kind, formula)
            last = f"{prefix}final_norm"
    if spec.pooler is not None:
        yield Step("pooled", "pooled", f"{spec.pooler.activation}(linear(place({last}, 0), pooler))")
        last = "pooled"
    if spec.head is not None:
        yield Step("logits", "logits", _logits(spec, last))
        yield Step("probabilities", "probabilities", "softmax(logits)")
        yield Step("choice", "choice", "top(probabilities, 1)")


def _embedded(each: ModelStack, ids: str) -> Iterator[Step]:
    part, stack, prefix, embed = each.model.embedding, each.stack, each.prefix, each.embed_prefix
    times = "" if part.scale is None else f" · {part.scale:.7g}"
    if part.token_dropout:
        times += f" · rescaled({ids}, {part.token_dropout.mask_id}, {part.token_dropout.share:.7g})"
    yield Step(f"{prefix}tokens", "tokens", f"rows({embed}tokens, {ids}){times}")
    found = f"{prefix}tokens"
    if part.factor and part.factor.widen == "before_positions":
        found = f"linear({found}, {embed}project)"
    if part.n_token_types:
        found = f"{found} + rows({embed}types, 0)"
    for table in part.tables:
        if table.default_row is not None:
            found = f"{found} + rows({embed}tables.{table.name}, {table.default_row})"
    normed = stack.embed_norm is not None and stack.embed_norm_reads == "tokens"
    if normed:
        found = f"norm({found}, {prefix}embed_norm)"
    if stack.position is not None:
        what = _positions(stack.position, f"{prefix}positions")
        yield Step(f"{prefix}positions", "positions", what)
        found = f"{found} + {prefix}positions"
    if stack.embed_norm is not None and not normed:
        found = f"norm({found}, {prefix}embed_norm)"
    if part.factor and part.factor.widen == "after_positions":
        found = f"linear({found}, {embed}project)"
    yield Step(f"{prefix}embed", "embed", found)


_ORDERS = {"alternating": "sinusoids", "halves": "sinusoid_halves", "fairseq": "fairseq_sinusoids"}


def _positions(part: TablePosition, table: str) -> str:
    places = f"places + {part.n_extra}" if part.n_extra else "places"
    return f"{_ORDERS[part.order]}({places})" if isinstance(part, Sinusoidal) else f"rows({table}, {places})"


def _logits(spec: Spec, last: str) -> str:
    head = spec.head
    assert head is not None, "asked for only where there is one"
    found = last if head.scale is None else f"{last} · {head.scale:.7g}"
    if head.labels is not None and head.labels.picks == "before":
        found = _PICKED[head.labels.reads].format(found)
    if head.transform is not None:
        found = f"{head.transform.activation}(linear({found}, head.transform))"
        if head.transform.d_hidden:
            found = f"{head.transform.activation}(linear({found}, head.transform_out))"
        found = f"norm({found}, head.norm)" if head.transform.norm else found
    elif head.d_in or (head.tied and spec.embedding.factor):
        found = f"linear({found}, head.project)"
    found = f"linear({found}, {'embed.tokens' if head.tied else 'head'}{', head.bias' if head.bias else ''})"
    found = f"{found} + head.bias_buffer" if head.bias_buffer else found
    if head.labels is not None and head.labels.picks == "after":
        found = _PICKED[head.labels.reads].format(found)
    return found if head.softcap is None else f"capped({found}, {head.softcap:g})"


# What a head for labels reads of the states.
_PICKED: dict[HeadReads, str] = {
    "every": "{}",
    "pooled": "{}",
    "first": "place({}, 0)",
    "last": "place({}, -1)",
    "mean": "average({})",
}


@dataclass(frozen=True)
class _Layer:
    """A layer's steps: `at` is before their names, `of` before its weights', `source` what cross-attention reads.

    `hides`: it is a decoder's. `lender` is before the names of the steps whose keys and values it shares.
    """

    layer: Layer
    at: str
    of: str
    source: str
    hides: bool
    lender: str

    def steps(self, last: str) -> Iterator[Step]:
        yield self._step("resid_pre", "residual", last)
        now = f"{self.at}resid_pre"
        for branch, left in zip(computed(self.layer), stream_names(self.layer), strict=True):
            yield from self._branch(branch, now, left)
            now = f"{self.at}{left}"

    def _branch(self, branch: Branch, now: str, left: str) -> Iterator[Step]:
        own = names(branch)
        read = yield from self._normed(branch.norm_in, own.norm_in, now)
        outputs = yield from self._joining(branch, read)
        skip = read if branch.skip_reads == "normed" else now
        total = " + ".join([_times(skip, branch.skip), *(_times(output, branch.scale) for output in outputs)])
        if own.sum is None:
            yield self._step(left, "residual", total)
            return
        yield self._step(own.sum, "residual", total)
        normed = yield from self._normed(branch.norm_after, own.norm_after, f"{self.at}{own.sum}")
        yield self._step(left, "residual", normed)

    def _joining(self, branch: Branch, read: str) -> Generator[Step, None, list[str]]:
        """What the arms add to the residual stream, by the names of its steps."""
        for arm in branch.arms:
            arm_read = yield from self._normed(arm.norm, arm_norm(arm), read)
            yield from self._part(arm, arm_read)
        outputs = [f"{self.at}{arm.name}.out" for arm in branch.arms]
        if branch.norm_out is None:
            return outputs
        own = names(branch)
        if own.arms_sum:
            yield self._step(own.arms_sum, "residual", " + ".join(outputs))
        summed = f"{self.at}{own.arms_sum}" if own.arms_sum else outputs[0]
        return [(yield from self._normed(branch.norm_out, own.norm_out, summed))]

    def _step(self, name: str, kind: str, formula: str) -> Step:
        return Step(f"{self.at}{name}", kind, formula, self.at.rstrip("."))

    def _normed(self, part: Norm | None, name: str | None, read: str) -> Generator[Step, None, str]:
        """The steps of a norm; its name, or what it would read where there is none."""
        if part is None or name is None:
            return read
        for own, kind, formula in _normed(part, f"{self.at}{name}", read, f"{self.of}{name}"):
            yield self._step(own.removeprefix(self.at), kind, formula)
        return f"{self.at}{name}"

    def _part(self, arm: Arm, read: str) -> Iterator[Step]:
        source, hides = (self.source, False) if arm.reads == "source" else ("", self.hides)
        keys = self.lender if arm.reads == "shared" else self.at
        where = Where(f"{self.at}{arm.name}.", f"{self.of}{arm.name}.", read, source, hides, f"{keys}{arm.name}.")
        for name, kind, formula in reading(arm.part, "steps")(arm.part, where):
            yield self._step(f"{arm.name}.{name}", kind, formula)


def _times(x: str, factor: float) -> str:
    return x if factor == 1 else f"{x} · {factor:.7g}"


def _normed(part: Norm, name: str, read: str, module: str) -> Rows:
    """What is normalised alone, and then scaled."""
    how = "standardised" if isinstance(part, LayerNorm) else "over_rms"
    yield f"{name}.normalised", "normalised", f"{how}({read}, {part.eps:g})"
    yield name, "norm", f"scaled({name}.normalised, {module})"
