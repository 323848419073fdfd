"""The steps of a forward pass, from its spec: a name, a formula over the names before it, and what it reads.

A formula is written in functions that FUNCTIONS says in mathematics; a dotted name is a step before it or a module
whose weights it uses. Steps that are sites of archcalc.spec.sites carry the site's name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from archcalc.nn.mla import latent_scale
from archcalc.spec import Spec
from archcalc.spec.attention import Attention, LatentAttention
from archcalc.spec.ffn import Gated, MoE, Plain
from archcalc.spec.groups import layers_of, weight_indices
from archcalc.spec.layer import Layer, Placement, Stack
from archcalc.spec.norm import LayerNorm, Norm
from archcalc.spec.position import Alibi, RelativeBias, Rope, Sinusoidal
from archcalc.spec.sites import MIDS

FUNCTIONS = {
    "rows(m, ids)": "the rows of a table m that ids name",
    "linear(x, m)": "x · Wᵀ + b with the weights of m (without b where it has none)",
    "standardised(x, e)": "(x − mean) / √(variance + e), over the width",
    "over_rms(x, e)": "x / √(mean of x² + e), over the width",
    "scaled(x, m)": "x · w + b with the weights of m (1 + w where the spec says so)",
    "norm(x, m)": "both of these at once, as the spec says",
    "heads(x, n)": "x cut into n heads of equal width",
    "turned(x, r)": "each pair of the first r dimensions turned by an angle that grows with the position (rotary)",
    "first(x, n), last(x, n), beside(x, y)": "so many dimensions of a width; two widths side by side",
    "dot(q, k)": "q · k of each query with each key; heads that share a key repeat it",
    "softmax(x)": "eˣ / Σ eˣ",
    "masked(x)": "x, −∞ where a query must not see a key",
    "capped(x, c)": "c · tanh(x / c)",
    "mix(p, v)": "Σ p · v over the keys",
    "joined(x)": "the heads side by side",
    "top(x, n)": "the places of the n largest",
    "at(x, i)": "x at the places i",
    "shares(x)": "x / Σ x",
    "summed(w, x)": "Σ w · x over what was chosen",
    "experts(x, i, m)": "what the experts of m that i names make of x",
}


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
            yield from _Layer(layer, at, f"{prefix}layers.{owners[turn]}.", source).steps(last)
            last = f"{at}resid_post"
        if stack.final_norm is not None:
            for name, kind, formula in _normed(stack.final_norm, f"{prefix}final_norm", last, f"{prefix}final_norm"):
                yield Step(name, kind, formula)
            last = f"{prefix}final_norm"
    if spec.head is not None:
        yield Step("logits", "logits", _logits(spec, last))
        yield Step("probabilities", "probabilities", "softmax(logits)")
        yield Step("choice", "choice", "top(probabilities, 1)")


def _embedded(spec: Spec, stack: Stack, prefix: str, ids: str) -> Iterator[Step]:
    part = spec.embedding
    times = "" if part.scale is None else f" · {part.scale:.7g}"
    yield Step(f"{prefix}tokens", "tokens", f"rows(embed.tokens, {ids}){times}")
    found = f"{prefix}tokens"
    if part.factor and part.factor.widen == "before_positions":
        found = f"linear({found}, embed.project)"
    if part.n_token_types:
        found = f"{found} + rows(embed.types, 0)"
    if stack.position is not None:
        what = "sinusoids(places)" if isinstance(stack.position, Sinusoidal) else f"rows({prefix}positions, places)"
        yield Step(f"{prefix}positions", "positions", what)
        found = f"{found} + {prefix}positions"
    if stack.embed_norm is not None:
        found = f"norm({found}, {prefix}embed_norm)"
    if part.factor and part.factor.widen == "after_positions":
        found = f"linear({found}, embed.project)"
    yield Step(f"{prefix}embed", "embed", found)


def _logits(spec: Spec, last: str) -> str:
    head = spec.head
    assert head is not None, "asked for only where there is one"
    found = last if head.scale is None else f"{last} · {head.scale:.7g}"
    if head.transform is not None:
        found = f"norm({head.transform.activation}(linear({found}, head.transform)), head.norm)"
    elif head.tied and spec.embedding.factor:
        found = f"linear({found}, head.project)"
    found = f"linear({found}, {'embed.tokens' if head.tied else 'head'}{', head.bias' if head.bias else ''})"
    return found if head.softcap is None else f"capped({found}, {head.softcap:g})"


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
    """A layer's steps: `at` is before their names, `of` before its weights', `source` what cross-attention reads."""

    layer: Layer
    at: str
    of: str
    source: str

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
        for name, kind, formula in _PARTS[type(part)](
            part, f"{self.at}{slot}.", f"{self.of}{slot}.", read, self.source
        ):
            yield self._step(f"{slot}.{name}", kind, formula)


Rows = Iterator[tuple[str, str, str]]


def _normed(part: Norm, name: str, read: str, module: str) -> Rows:
    """What is normalised alone, and then scaled."""
    how = "standardised" if isinstance(part, LayerNorm) else "over_rms"
    yield f"{name}.normalised", "normalised", f"{how}({read}, {part.eps:g})"
    yield name, "norm", f"scaled({name}.normalised, {module})"


def _attention(part: Attention, at: str, of: str, read: str, source: str) -> Rows:
    states = source if at.endswith(".cross.") else read
    for name, kind, x, n in (("q", "queries", read, part.n_heads), ("k", "keys", states, part.n_kv_heads)):
        made = f"linear({x}, {of}{name})"
        if part.qk_norm is not None and part.qk_norm.over == "full":
            made = f"heads(norm({made}, {of}{name}_norm), {n})"
        elif part.qk_norm is not None:
            made = f"norm(heads({made}, {n}), {of}{name}_norm)"
        else:
            made = f"heads({made}, {n})"
        if isinstance(part.position, Rope):
            made = f"turned({made}, {part.position.d_rotary})"
        yield name, kind, made
    yield "v", "values", f"heads(linear({states}, {of}v), {part.n_kv_heads})"
    assert part.d_head is not None, "the spec is resolved"
    scale = part.d_head**-0.5 if part.scale is None else part.scale
    found = f"dot({at}q, {at}k) · {scale:.7g}"
    if part.softcap is not None:
        found = f"capped({found}, {part.softcap:g})"
    if isinstance(part.position, Alibi):
        found = f"{found} − slopes · distance" + (f" · {scale:.7g}" if part.position.scaled else "")
    if isinstance(part.position, RelativeBias):
        found = f"{found} + rows({at.split('layers.')[0]}relative_bias, buckets)"
    yield from _softmaxed(found, at, of, sinks=part.sinks)


def _latent(part: LatentAttention, at: str, of: str, read: str, source: str) -> Rows:
    down = f"linear({read}, {of}kv_down)"
    yield "latent", "latent", f"norm(first({down}, {part.kv_rank}), {of}kv_down_norm)"
    yield "k_shared", "keys", f"turned(heads(last({down}, {part.d_rope}), 1), {part.d_rope})"
    up = f"heads(linear({at}latent, {of}kv_up), {part.n_heads})"
    yield "k", "keys", f"beside(first({up}, {part.d_nope}), {at}k_shared)"
    yield "v", "values", f"last({up}, {part.d_v})"
    q = f"linear({read}, {of}q)"
    if part.q_rank is not None:
        q = f"linear(norm(linear({read}, {of}q_down), {of}q_down_norm), {of}q_up)"
    q = f"heads({q}, {part.n_heads})"
    yield "q", "queries", f"beside(first({q}, {part.d_nope}), turned(last({q}, {part.d_rope}), {part.d_rope}))"
    yield from _softmaxed(f"dot({at}q, {at}k) · {latent_scale(part):.7g}", at, of, sinks=False)


def _softmaxed(scores: str, at: str, of: str, *, sinks: bool) -> Rows:
    yield "scores", "scores", f"masked({scores})"
    yield "pattern", "pattern", f"softmax({at}scores{f', {of}sinks' if sinks else ''})"
    yield "values", "weighted", f"mix({at}pattern, {at}v)"
    yield "out", "attended", f"linear(joined({at}values), {of}out)"


def _plain(part: Plain, at: str, of: str, read: str, source: str) -> Rows:
    yield "up", "up", f"linear({read}, {of}up)"
    yield "hidden", "hidden", f"{part.activation}({at}up)"
    yield "out", "fed", f"linear({at}hidden, {of}down)"


def _gated(part: Gated, at: str, of: str, read: str, source: str) -> Rows:
    yield "gate", "up", f"linear({read}, {of}gate)"
    yield "up", "up", f"linear({read}, {of}up)"
    yield "hidden", "hidden", f"{part.activation}({at}gate) · {at}up"
    yield "out", "fed", f"linear({at}hidden, {of}down)"


def _mixture(part: MoE, at: str, of: str, read: str, source: str) -> Rows:
    yield "router", "router", f"linear({read}, {of}router)"
    corrected = f" + {of}correction_bias" if part.correction_bias else ""
    score = {"softmax": "softmax", "softmax_chosen": "", "sigmoid": "sigmoid"}[part.scoring]
    scores = f"{score}({at}router)" if score else f"{at}router"
    yield "chosen", "chosen", f"top({scores}{corrected}, {part.n_active})"
    weights = f"at({scores}, {at}chosen)"
    weights = f"softmax({weights})" if part.scoring == "softmax_chosen" else weights
    weights = f"shares({weights})" if part.normalise else weights
    yield "weights", "chosen", weights if part.scale == 1 else f"{weights} · {part.scale:.7g}"
    yield "experts", "experts", f"experts({read}, {at}chosen, {of}experts)"
    shared = ""
    if part.n_shared:
        gate = f" · sigmoid(linear({read}, {of}shared_gate))" if part.shared_gate else ""
        yield "shared.hidden", "hidden", f"hidden({read}, {of}shared)"
        shared = f" + linear({at}shared.hidden, {of}shared.down){gate}"
    yield "out", "fed", f"summed({at}weights, {at}experts){shared}"


_PARTS: dict[type, Callable[[Any, str, str, str, str], Rows]] = {
    Attention: _attention,
    LatentAttention: _latent,
    Plain: _plain,
    Gated: _gated,
    MoE: _mixture,
}
