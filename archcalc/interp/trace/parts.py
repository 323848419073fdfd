"""The steps of a layer's parts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from archcalc.interp.trace.expression import Call, Expression, Module, Parameter, Value, call
from archcalc.nn.mla import latent_scale
from archcalc.spec.activation import AnyActivation, ClampedSwish
from archcalc.spec.attention import Attention, LatentAttention, LogTemperature, Temperature
from archcalc.spec.ffn import Gated, MoE, Plain
from archcalc.spec.position import Alibi, RelativeBias, Rope

# A step's own name, its kind, its formula.
Rows = Iterator[tuple[str, str, Expression]]


@dataclass(frozen=True)
class Where:
    """Where a part stands: `at` is before its steps' names, `of` before its weights'; `read` is the step that it reads.

    `source` is what cross-attention makes keys and values of, None for the part's own text. `hides`: keys after a query
    are hidden from it. `keys` is before the names of the steps that are its keys and values: an earlier layer's, where
    they are shared.
    """

    at: str
    of: str
    read: Value
    source: Value | None
    hides: bool
    keys: str

    @property
    def makes_keys(self) -> bool:
        """Whether keys and values are steps of this part."""
        return self.keys == self.at

    def step(self, name: str) -> Value:
        """Return a step of the part."""
        return Value(f"{self.at}{name}")

    def linear(self, x: Expression, module: str) -> Call:
        """Return `x` through a matrix of the part."""
        return call("linear", x, Module(f"{self.of}{module}"))

    def normed(self, x: Expression, module: str) -> Call:
        """Return `x` through a norm of the part."""
        return call("norm", x, Module(f"{self.of}{module}"))


def attention(part: Attention, w: Where) -> Rows:
    """Yield the steps of attention over keys and values of all heads."""
    assert part.d_head is not None, "the spec is resolved"
    assert part.n_kv_heads is not None, "the spec is resolved"
    states = w.source or w.read
    yield "q", "queries", _tempered(part.temperature, _projected(part, w, "q", w.read, part.n_heads))
    if w.makes_keys:
        yield "k", "keys", _projected(part, w, "k", states, part.n_kv_heads)
        yield "v", "values", _values(part, call("heads", w.linear(states, "v"), part.n_kv_heads))
    scale = part.d_head**-0.5 if part.scale is None else part.scale
    scores = call("dot", w.step("q"), Value(f"{w.keys}k")) * scale
    if part.softcap is not None:
        scores = call("capped", scores, part.softcap)
    if isinstance(part.position, Alibi):
        penalty = Value("slopes") * Value("distance")
        scores -= penalty * scale if part.position.scaled else penalty
    if isinstance(part.position, RelativeBias):
        table = w.of if part.position.shared == "layer" else w.at.partition("layers.")[0]
        scores += call("rows", Module(f"{table}relative_bias"), Value("buckets"))
    yield from _softmaxed(scores, w, hides=w.hides or part.window is not None, sinks=part.sinks)
    values: Expression = w.step("values")
    if part.gate is not None:
        gate = call("heads", w.linear(w.read, "gate"), part.n_heads)
        if part.gate.bias:
            gate += call("by_head", Parameter(f"{w.of}gate_bias"))
        yield "gate", "gate", call(part.gate.activation, gate)
        values *= w.step("gate")
    joined = call("joined", values)
    yield "out", "attended", w.linear(joined if part.out_norm is None else w.normed(joined, "out_norm"), "out")


def _projected(part: Attention, w: Where, name: str, x: Value, n_heads: int) -> Expression:
    """Return queries or keys: heads of a matrix, normed and rotated as the part says."""
    when, over = (part.qk_norm.when, part.qk_norm.over) if part.qk_norm is not None else ("", "")
    projected = w.linear(x, name)
    heads = call("heads", w.normed(projected, f"{name}_norm") if over == "full" else projected, n_heads)
    if when == "before" and over != "full":
        heads = w.normed(heads, f"{name}_norm")
    turned = _turned(part, _clamped(part, heads))
    return w.normed(turned, f"{name}_norm") if when == "after" else turned


def _turned(part: Attention, x: Expression) -> Expression:
    if not isinstance(part.position, Rope):
        return x
    assert part.position.d_rotary is not None, "the spec is resolved"
    return call("turned", x, part.position.d_rotary)


def _clamped(part: Attention, x: Expression) -> Expression:
    return x if part.clip is None else call("clamped", x, part.clip)


def _values(part: Attention, x: Expression) -> Expression:
    x = _clamped(part, x)
    x = x if part.value_scale is None else x * part.value_scale
    return _turned(part, x) if isinstance(part.position, Rope) and part.position.values else x


def _tempered(part: Temperature | None, x: Expression) -> Expression:
    if part is None:
        return x
    places = Value("places") + 1 if part.from_one else Value("places")
    if isinstance(part, LogTemperature):
        return call("log_tempered", x, places, part.factor, part.n_tokens)
    return call("power_tempered", x, places, part.exponent, part.n_tokens)


def latent(part: LatentAttention, w: Where) -> Rows:
    """Yield the steps of latent attention."""
    down = w.linear(w.read, "kv_down")
    yield "latent", "latent", w.normed(call("first", down, part.kv_rank), "kv_down_norm")
    yield "k_shared", "keys", call("turned", call("heads", call("last", down, part.d_rope), 1), part.d_rope)
    up = call("heads", w.linear(w.step("latent"), "kv_up"), part.n_heads)
    yield "k", "keys", call("beside", call("first", up, part.d_nope), w.step("k_shared"))
    yield "v", "values", call("last", up, part.d_v)
    if part.q_rank is None:
        q = w.linear(w.read, "q")
    else:
        q = w.linear(w.normed(w.linear(w.read, "q_down"), "q_down_norm"), "q_up")
    q = call("heads", q, part.n_heads)
    turned = call("turned", call("last", q, part.d_rope), part.d_rope)
    yield "q", "queries", call("beside", call("first", q, part.d_nope), turned)
    scores = call("dot", w.step("q"), w.step("k")) * latent_scale(part)
    yield from _softmaxed(scores, w, hides=w.hides, sinks=False)
    yield "out", "attended", w.linear(call("joined", w.step("values")), "out")


def _softmaxed(scores: Expression, w: Where, *, hides: bool, sinks: bool) -> Rows:
    yield "scores", "scores", call("masked", scores) if hides else scores
    yield "pattern", "pattern", call("softmax", w.step("scores"), *([Parameter(f"{w.of}sinks")] if sinks else []))
    yield "values", "weighted", call("mix", w.step("pattern"), Value(f"{w.keys}v"))


def plain_ffn(part: Plain, w: Where) -> Rows:
    """Yield the steps of a feed-forward of two matrices."""
    yield "up", "up", w.linear(w.read, "up")
    yield "hidden", "hidden", _activated(part.activation, w.step("up"), w)
    yield "out", "fed", _down(part, w)


def gated_ffn(part: Gated, w: Where) -> Rows:
    """Yield the steps of a feed-forward of three matrices."""
    yield "gate", "up", w.linear(w.read, "gate")
    yield "up", "up", w.linear(w.read, "up")
    yield "hidden", "hidden", _gated(part.activation, w.step("gate"), w.step("up"), w)
    yield "out", "fed", _down(part, w)


def _down(part: Plain | Gated, w: Where) -> Expression:
    hidden = w.step("hidden")
    return w.linear(hidden if part.down_norm is None else w.normed(hidden, "down_norm"), "down")


def _activated(part: AnyActivation, x: Expression, w: Where) -> Call:
    """Return an activation of `x`."""
    if isinstance(part, ClampedSwish):
        return call("clamped_swish", x, part.limit, part.alpha)
    return call(part, x, *([Module(f"{w.of}activation")] if part == "xielu" else []))


def _gated(part: AnyActivation, gate: Expression, up: Expression, w: Where) -> Call:
    """Return `up` times an activation of `gate`."""
    if isinstance(part, ClampedSwish):
        up = call("within", up, part.limit)
        up = up + part.up_offset if part.up_offset else up
    return _activated(part, gate, w) * up


def mixture(part: MoE, w: Where) -> Rows:
    """Yield the steps of a mixture of experts."""
    yield "router", "router", w.linear(w.read, "router")
    logits: Expression = w.step("router")
    if part.router_softcap is not None:
        logits = call("capped", logits, part.router_softcap)
    scores = logits if part.choose == "logits" else call(part.choose, logits)
    corrected = scores if part.correction == "none" else scores + Parameter(f"{w.of}correction_bias")
    if part.n_active_groups < part.n_groups:
        n_best = 2 if part.group_score == "two_best" else 1
        corrected = call("best_groups", corrected, part.n_groups, n_best, part.n_active_groups)
    yield "chosen", "chosen", call("top", corrected, part.n_active)
    weights = _weights(part, logits, scores, w.step("chosen"))
    if part.normalise:
        weights = call("shares", weights, *([part.normalise_min] if part.normalise_min else []))
    yield "weights", "chosen", weights if part.scale == 1 else weights * part.scale
    of_input, experts = part.weight_on == "input", Module(f"{w.of}experts")
    weighed = [w.step("weights")] if of_input else []
    yield "experts", "experts", call("experts", w.read, w.step("chosen"), experts, *weighed)
    fed = call("total", w.step("experts")) if of_input else call("summed", w.step("weights"), w.step("experts"))
    if part.n_shared:
        up, gate = (w.linear(w.read, f"shared.{name}") for name in ("up", "gate"))
        act = part.shared_activation or part.activation
        yield "shared.hidden", "hidden", _gated(act, gate, up, w) if part.gated else _activated(act, up, w)
        shared = w.linear(w.step("shared.hidden"), "shared.down")
        fed += shared * call("sigmoid", w.linear(w.read, "shared_gate")) if part.shared_gate else shared
    yield "out", "fed", fed * 0.5 if part.shared_combine == "average" else fed


def _weights(part: MoE, logits: Expression, scores: Expression, chosen: Value) -> Call:
    """Return the weights of the chosen experts, before they are normalized."""
    if part.weigh == "score":
        return call("at", scores, chosen)
    if part.weigh == "sparsemixer":
        assert part.jitter is not None, "the spec is resolved"
        return call("sparsemixer", logits, chosen, part.jitter)
    return call(part.weigh, call("at", logits, chosen))
