"""The steps of a layer's parts, and the functions that formulas are written in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from archcalc.nn.mla import latent_scale
from archcalc.spec.activation import AnyActivation, ClampedSwish
from archcalc.spec.attention import Attention, LatentAttention, LogTemperature, Temperature
from archcalc.spec.ffn import Gated, MoE, Plain
from archcalc.spec.position import Alibi, RelativeBias, Rope

FUNCTIONS = {
    "rows(m, ids)": "the rows of a table m that ids name",
    "linear(x, m)": "x · Wᵀ + b with the weights of m (without b where it has none)",
    "standardised(x, e)": "(x − mean) / √(variance + e), over the width",
    "over_rms(x, e)": "x / √(mean of x² + e), over the width",
    "scaled(x, m)": "x · w + b with the weights of m (1 + w where the spec says so)",
    "norm(x, m)": "both of these at once, as the spec says",
    "heads(x, n)": "x cut into n heads of equal width",
    "clamped(x, c)": "x, held within ±c",
    "by_head(x)": "a number for each head, for all of its tokens and dimensions",
    "log_tempered(x, p, a, n), power_tempered(x, p, a, n)": (
        "x of each place p times 1 + a · ln(1 + ⌊p / n⌋), or times (1 + p / n)ᵃ"
    ),
    "sinusoids(p), sinusoid_halves(p), fairseq_sinusoids(p)": (
        "sines and cosines of the places p: in turn, sines first, or in fairseq's wavelengths"
    ),
    "turned(x, r)": "each pair of the first r dimensions turned by an angle that grows with the position (rotary)",
    "first(x, n), last(x, n), beside(x, y)": "so many dimensions of a width; two widths side by side",
    "dot(q, k)": "q · k of each query with each key; heads that share a key repeat it",
    "softmax(x)": "eˣ / Σ eˣ: shares that sum to 1",
    "masked(x)": "x, −∞ where a query must not see a key",
    "capped(x, c)": "c · tanh(x / c): never beyond ±c",
    "relu(x), silu(x), gelu(x) …": "the activation of that name, number by number",
    "within(x, c)": "x, but −c below −c and c above c",
    "clamped_swish(x, c, a)": "y · σ(a · y), number by number; y is x, but c above c",
    "xielu(x, m)": "a · x² + x / 2 above 0, b · (eˣ − 1 − x) + x / 2 below, with the a and b that m has learned",
    "mix(p, v)": "Σ p · v over the keys",
    "joined(x)": "the heads side by side",
    "top(x, n)": "the places of the n largest",
    "at(x, i)": "x at the places i",
    "place(x, n)": "the state at place n; -1 is the last",
    "average(x)": "the mean over the tokens",
    "rescaled(ids, m, s)": "0 for tokens m, (1 − s) / (1 − the share of tokens m) for others",
    "shares(x), shares(x, e)": "x / Σ x: parts of the whole; not of less than e",
    "summed(w, x)": "Σ w · x over what was chosen",
    "total(x)": "Σ x over what was chosen",
    "experts(x, i, m), experts(x, i, m, w)": "what the experts of m that i names make of x, or each of w · x",
    "best_groups(x, n, k, m)": "x cut into n groups; −∞ but for the m groups whose k largest sum to most",
    "sparsemixer(x, i, e)": "for each place i in turn: its share of a softmax over the x that are not chosen yet"
    " and at most 2e · max(|x|, x at i) below it",
}

# A step's own name, its kind, its formula.
Rows = Iterator[tuple[str, str, str]]


@dataclass(frozen=True)
class Where:
    """Where a part stands: `at` is before its steps' names, `of` before its weights'; `read` is the step that it reads.

    `source` is what cross-attention makes keys and values of, "" for the part's own text. `hides`: keys after a query
    are hidden from it. `keys` is before the names of the steps that are its keys and values: an earlier layer's, where
    they are shared.
    """

    at: str
    of: str
    read: str
    source: str
    hides: bool
    keys: str

    @property
    def makes_keys(self) -> bool:
        """Whether keys and values are steps of this part."""
        return self.keys == self.at


def attention(part: Attention, w: Where) -> Rows:
    """Yield the steps of attention over keys and values of all heads."""
    states = w.source or w.read
    projected = ("q", "queries", w.read, part.n_heads), ("k", "keys", states, part.n_kv_heads)
    for name, kind, x, n in projected if w.makes_keys else projected[:1]:
        made = f"linear({x}, {w.of}{name})"
        when, over = (part.qk_norm.when, part.qk_norm.over) if part.qk_norm is not None else ("", "")
        if over == "full":
            made = f"heads(norm({made}, {w.of}{name}_norm), {n})"
        else:
            made = f"heads({made}, {n})"
            made = f"norm({made}, {w.of}{name}_norm)" if when == "before" else made
        made = _turned(part, _clamped(part, made))
        made = f"norm({made}, {w.of}{name}_norm)" if when == "after" else made
        yield name, kind, _tempered(part.temperature, made) if name == "q" else made
    if w.makes_keys:
        yield "v", "values", _values(part, f"heads(linear({states}, {w.of}v), {part.n_kv_heads})")
    assert part.d_head is not None, "the spec is resolved"
    scale = part.d_head**-0.5 if part.scale is None else part.scale
    found = f"dot({w.at}q, {w.keys}k) · {scale:.7g}"
    if part.softcap is not None:
        found = f"capped({found}, {part.softcap:g})"
    if isinstance(part.position, Alibi):
        found = f"{found} − slopes · distance" + (f" · {scale:.7g}" if part.position.scaled else "")
    if isinstance(part.position, RelativeBias):
        table = w.of if part.position.shared == "layer" else w.at.partition("layers.")[0]
        found = f"{found} + rows({table}relative_bias, buckets)"
    yield from _softmaxed(found, w, hides=w.hides or part.window is not None, sinks=part.sinks)
    values = f"{w.at}values"
    if part.gate is not None:
        bias = f" + by_head({w.of}gate_bias)" if part.gate.bias else ""
        gate = f"heads(linear({w.read}, {w.of}gate), {part.n_heads}){bias}"
        yield "gate", "gate", f"{part.gate.activation}({gate})"
        values = f"{values} · {w.at}gate"
    joined = f"joined({values})"
    joined = f"norm({joined}, {w.of}out_norm)" if part.out_norm is not None else joined
    yield "out", "attended", f"linear({joined}, {w.of}out)"


def _turned(part: Attention, x: str) -> str:
    return f"turned({x}, {part.position.d_rotary})" if isinstance(part.position, Rope) else x


def _clamped(part: Attention, x: str) -> str:
    return x if part.clip is None else f"clamped({x}, {part.clip:.7g})"


def _values(part: Attention, x: str) -> str:
    x = _clamped(part, x)
    x = x if part.value_scale is None else f"{x} · {part.value_scale:.7g}"
    return _turned(part, x) if isinstance(part.position, Rope) and part.position.values else x


def _tempered(part: Temperature | None, x: str) -> str:
    if part is None:
        return x
    function, by = ("log", part.factor) if isinstance(part, LogTemperature) else ("power", part.exponent)
    places = ", places + 1" if part.from_one else ", places"
    return f"{function}_tempered({x}{places}, {by:.7g}, {part.n_tokens})"


def latent(part: LatentAttention, w: Where) -> Rows:
    """Yield the steps of latent attention."""
    down = f"linear({w.read}, {w.of}kv_down)"
    yield "latent", "latent", f"norm(first({down}, {part.kv_rank}), {w.of}kv_down_norm)"
    yield "k_shared", "keys", f"turned(heads(last({down}, {part.d_rope}), 1), {part.d_rope})"
    up = f"heads(linear({w.at}latent, {w.of}kv_up), {part.n_heads})"
    yield "k", "keys", f"beside(first({up}, {part.d_nope}), {w.at}k_shared)"
    yield "v", "values", f"last({up}, {part.d_v})"
    q = f"linear({w.read}, {w.of}q)"
    if part.q_rank is not None:
        q = f"linear(norm(linear({w.read}, {w.of}q_down), {w.of}q_down_norm), {w.of}q_up)"
    q = f"heads({q}, {part.n_heads})"
    yield "q", "queries", f"beside(first({q}, {part.d_nope}), turned(last({q}, {part.d_rope}), {part.d_rope}))"
    yield from _softmaxed(f"dot({w.at}q, {w.at}k) · {latent_scale(part):.7g}", w, hides=w.hides, sinks=False)
    yield "out", "attended", f"linear(joined({w.at}values), {w.of}out)"


def _softmaxed(scores: str, w: Where, *, hides: bool, sinks: bool) -> Rows:
    yield "scores", "scores", f"masked({scores})" if hides else scores
    yield "pattern", "pattern", f"softmax({w.at}scores{f', {w.of}sinks' if sinks else ''})"
    yield "values", "weighted", f"mix({w.at}pattern, {w.keys}v)"


def plain_ffn(part: Plain, w: Where) -> Rows:
    """Yield the steps of a feed-forward of two matrices."""
    yield "up", "up", f"linear({w.read}, {w.of}up)"
    yield "hidden", "hidden", activated(part.activation, f"{w.at}up", f"{w.of}activation")
    yield "out", "fed", _down(part, w)


def gated_ffn(part: Gated, w: Where) -> Rows:
    """Yield the steps of a feed-forward of three matrices."""
    yield "gate", "up", f"linear({w.read}, {w.of}gate)"
    yield "up", "up", f"linear({w.read}, {w.of}up)"
    yield "hidden", "hidden", gated(part.activation, f"{w.at}gate", f"{w.at}up", f"{w.of}activation")
    yield "out", "fed", _down(part, w)


def _down(part: Plain | Gated, w: Where) -> str:
    hidden = f"{w.at}hidden"
    if part.down_norm is not None:
        hidden = f"norm({hidden}, {w.of}down_norm)"
    return f"linear({hidden}, {w.of}down)"


def activated(part: AnyActivation, x: str, module: str) -> str:
    """The formula of an activation of `x`; what it learns is of `module`."""
    if isinstance(part, ClampedSwish):
        return f"clamped_swish({x}, {part.limit:.7g}, {part.alpha:.7g})"
    return f"xielu({x}, {module})" if part == "xielu" else f"{part}({x})"


def gated(part: AnyActivation, gate: str, up: str, module: str) -> str:
    """The formula of an activation that gates `up`."""
    if isinstance(part, ClampedSwish):
        up = f"within({up}, {part.limit:.7g})"
        up = f"({up} + {part.up_offset:.7g})" if part.up_offset else up
    return f"{activated(part, gate, module)} · {up}"


def mixture(part: MoE, w: Where) -> Rows:
    """Yield the steps of a mixture of experts."""
    yield "router", "router", f"linear({w.read}, {w.of}router)"
    logits = f"{w.at}router"
    if part.router_softcap is not None:
        logits = f"capped({logits}, {part.router_softcap:g})"
    scores = logits if part.choose == "logits" else f"{part.choose}({logits})"
    corrected = scores if part.correction == "none" else f"{scores} + {w.of}correction_bias"
    if part.n_active_groups < part.n_groups:
        n_best = 2 if part.group_score == "two_best" else 1
        corrected = f"best_groups({corrected}, {part.n_groups}, {n_best}, {part.n_active_groups})"
    yield "chosen", "chosen", f"top({corrected}, {part.n_active})"
    weights = _WEIGHTS[part.weigh].format(logits=logits, scores=scores, chosen=f"{w.at}chosen", jitter=part.jitter)
    if part.normalise:
        weights = f"shares({weights}{f', {part.normalise_min:.7g}' if part.normalise_min else ''})"
    yield "weights", "chosen", weights if part.scale == 1 else f"{weights} · {part.scale:.7g}"
    of_input = part.weight_on == "input"
    weighed = f", {w.at}weights" if of_input else ""
    yield "experts", "experts", f"experts({w.read}, {w.at}chosen, {w.of}experts{weighed})"
    routed = f"total({w.at}experts)" if of_input else f"summed({w.at}weights, {w.at}experts)"
    shared = ""
    if part.n_shared:
        gate = f" · sigmoid(linear({w.read}, {w.of}shared_gate))" if part.shared_gate else ""
        up, gated_by = (f"linear({w.read}, {w.of}shared.{name})" for name in ("up", "gate"))
        act = part.shared_activation or part.activation
        yield "shared.hidden", "hidden", gated(act, gated_by, up, "") if part.gated else activated(act, up, "")
        shared = f" + linear({w.at}shared.hidden, {w.of}shared.down){gate}"
    average = part.shared_combine == "average"
    yield "out", "fed", f"({routed}{shared}) · 0.5" if average else f"{routed}{shared}"


_WEIGHTS = {
    "score": "at({scores}, {chosen})",
    "softmax": "softmax(at({logits}, {chosen}))",
    "sigmoid": "sigmoid(at({logits}, {chosen}))",
    "sparsemixer": "sparsemixer({logits}, {chosen}, {jitter:.7g})",
}
