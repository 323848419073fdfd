"""The steps of a forward pass, from its spec: a name, a formula over the names before it, and what it reads.

A formula is written in the functions that `parts.FUNCTIONS` says in mathematics; a dotted name is a step before it or a
module whose weights it uses. Steps that are sites of archcalc.spec.sites carry the site's name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from archcalc.interp.trace.parts import PARTS, Rows, Where
from archcalc.spec import Spec
from archcalc.spec.groups import layers_of, weight_indices
from archcalc.spec.layer import Layer, Placement, Stack
from archcalc.spec.model import Reads
from archcalc.spec.norm import LayerNorm, Norm
from archcalc.spec.position import Sinusoidal, TablePosition
from archcalc.spec.sites import MIDS


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
    for prefix, stack in spec.stacks.items():
        source, last = last, ""
        ids = f"{prefix}ids" if prefix else "ids"
        yield Step(ids, "ids", "")
        yield from _embedded(spec, stack, prefix, ids)
        last, owners = f"{prefix}embed", weight_indices(stack)
        for turn, layer in enumerate(layers_of(stack)):
            at = f"{prefix}layers.{turn}."
            of, hides = f"{prefix}layers.{owners[turn]}.", stack is spec.decoder
            yield from _Layer(layer, at, of, source, hides).steps(last)
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


def _embedded(spec: Spec, stack: Stack, prefix: str, ids: str) -> Iterator[Step]:
    part = spec.embedding
    times = "" if part.scale is None else f" · {part.scale:.7g}"
    if part.token_dropout:
        times += f" · rescaled({ids}, {part.token_dropout.mask_id}, {part.token_dropout.share:.7g})"
    yield Step(f"{prefix}tokens", "tokens", f"rows(embed.tokens, {ids}){times}")
    found = f"{prefix}tokens"
    if part.factor and part.factor.widen == "before_positions":
        found = f"linear({found}, embed.project)"
    if part.n_token_types:
        found = f"{found} + rows(embed.types, 0)"
    for table in part.tables:
        if table.default_row is not None:
            found = f"{found} + rows(embed.tables.{table.name}, {table.default_row})"
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
        found = f"linear({found}, embed.project)"
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
_PICKED: dict[Reads, str] = {
    "every": "{}",
    "pooled": "{}",
    "first": "place({}, 0)",
    "last": "place({}, -1)",
    "mean": "average({})",
}


# How a placement leads to a part and from it: what is done before, and after, in the names of its sites.
_BEFORE: dict[Placement, str | None] = {
    "pre": "{}_norm",
    "sandwich": "{}_norm",
    "parallel": "attn_norm",
    "parallel_two": "{}_norm",
    "post": None,
    "output": None,
}
_AFTER: dict[Placement, str | None] = {"sandwich": "{}_out_norm", "output": "{}_out_norm"}
_PARALLEL: tuple[Placement, ...] = ("parallel", "parallel_two")


@dataclass(frozen=True)
class _Layer:
    """A layer's steps: `at` is before their names, `of` before its weights', `source` what cross-attention reads.

    `hides`: it is a decoder's.
    """

    layer: Layer
    at: str
    of: str
    source: str
    hides: bool

    def steps(self, last: str) -> Iterator[Step]:
        placement = self.layer.placement
        parts = {"attn": self.layer.attention, "cross": self.layer.cross, "ffn": self.layer.ffn}
        slots = [slot for slot, part in parts.items() if part is not None]
        yield self._step("resid_pre", "residual", last)
        now = f"{self.at}resid_pre"
        sums: list[str] = []
        for slot in slots:
            read, made = now if not sums else f"{self.at}resid_pre", f"{self.at}{slot}.out"
            if (before := _BEFORE[placement]) is not None:
                name = before.format(slot)
                if not (placement == "parallel" and slot != slots[0]):
                    yield from self._normed(name, read)
                read = f"{self.at}{name}"
            yield from self._part(slot, parts[slot], read)
            if (after := _AFTER.get(placement)) is not None:
                yield from self._normed(after.format(slot), made)
                made = f"{self.at}{after.format(slot)}"
            joined = MIDS[slot] if slot != slots[-1] else "resid_post"
            if placement in _PARALLEL:
                sums.append(made)
                if slot == slots[-1]:
                    yield self._step(joined, "residual", " + ".join([now, *sums]))
                continue
            if placement == "post":
                yield self._step(f"{slot}_sum", "residual", f"{now} + {made}")
                yield from self._normed(f"{slot}_norm", f"{self.at}{slot}_sum")
                yield self._step(joined, "residual", f"{self.at}{slot}_norm")
            else:
                yield self._step(joined, "residual", f"{now} + {made}")
            now = f"{self.at}{joined}"

    def _step(self, name: str, kind: str, formula: str) -> Step:
        return Step(f"{self.at}{name}", kind, formula, self.at.rstrip("."))

    def _normed(self, name: str, read: str) -> Iterator[Step]:
        for own, kind, formula in _normed(self.layer.norm, f"{self.at}{name}", read, f"{self.of}{name}"):
            yield self._step(own.removeprefix(self.at), kind, formula)

    def _part(self, slot: str, part: Any, read: str) -> Iterator[Step]:
        source, hides = (self.source, False) if slot == "cross" else ("", self.hides)
        where = Where(f"{self.at}{slot}.", f"{self.of}{slot}.", read, source, hides)
        for name, kind, formula in PARTS[type(part)](part, where):
            yield self._step(f"{slot}.{name}", kind, formula)


def _normed(part: Norm, name: str, read: str, module: str) -> Rows:
    """What is normalised alone, and then scaled."""
    how = "standardised" if isinstance(part, LayerNorm) else "over_rms"
    yield f"{name}.normalised", "normalised", f"{how}({read}, {part.eps:g})"
    yield name, "norm", f"scaled({name}.normalised, {module})"
