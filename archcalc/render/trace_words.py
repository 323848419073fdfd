"""What the kinds of a trace's steps, the functions of its formulas and the stages of a softmax are called."""

from __future__ import annotations

from typing import get_args

import msgspec

from archcalc.spec.base import Activation
from archcalc.words import Message, in_context, msg

MASKED_CELL = msg(
    "A hatched, grey cell is masked: the causal mask, or a window, hides that key from that query. This is not a share "
    "of zero that was computed: its score is −∞, so it takes no part in the softmax."
)

STEP_KINDS: dict[str, Message] = {
    "ids": msg("the tokens' numbers"),
    "tokens": msg("each token's row of the table"),
    "positions": msg("each place's vector"),
    "embed": msg("what the first layer reads"),
    "residual": msg("the residual stream"),
    "normalised": msg("normalised, before any weights"),
    "norm": msg("scaled and moved by what was learned"),
    "queries": msg("queries: what each place looks for"),
    "keys": msg("keys: what each place offers"),
    "values": msg("values: what is handed on"),
    "latent": msg("the latent that keys and values come of"),
    "scores": msg("how well keys fit queries"),
    "pattern": msg("attention: shares that sum to 1"),
    "weighted": msg("values, weighed by attention"),
    "gate": msg("gates on the heads' values"),
    "attended": msg("heads joined and mixed"),
    "up": msg("into the feed-forward's width"),
    "hidden": msg("after the activation"),
    "fed": msg("back to the model's width"),
    "router": msg("a score for each expert"),
    "chosen": msg("the chosen experts"),
    "experts": msg("what each chosen expert makes"),
    "logits": msg("a score for each token"),
    "probabilities": msg("a probability for each token"),
    "choice": msg("the likeliest token"),
}


class Explained(msgspec.Struct, frozen=True):
    """Functions that are explained together: their names, and what they compute."""

    names: tuple[str, ...]
    meaning: Message


# What is applied number by number and needs no numbers of its own.
_ACTIVATIONS = (*(name for name in get_args(Activation) if name != "clamped_swish"), "softplus")

# The functions that formulas are written in, by how they are called.
FUNCTIONS: dict[str, Explained] = {
    "rows(m, ids)": Explained(("rows",), msg("the rows of a table m that ids name")),
    "linear(x, m)": Explained(("linear",), msg("x · Wᵀ + b with the weights of m (without b where it has none)")),
    "standardised(x, e)": Explained(("standardised",), msg("(x − mean) / √(variance + e), over the width")),
    "over_rms(x, e)": Explained(("over_rms",), msg("x / √(mean of x² + e), over the width")),
    "scaled(x, m)": Explained(("scaled",), msg("x · w + b with the weights of m (1 + w where the spec says so)")),
    "norm(x, m)": Explained(("norm",), msg("both of these at once, as the spec says")),
    "heads(x, n)": Explained(("heads",), msg("x cut into n heads of equal width")),
    "clamped(x, c)": Explained(("clamped",), msg("x, held within ±c")),
    "by_head(x)": Explained(("by_head",), msg("a number for each head, for all of its tokens and dimensions")),
    "log_tempered(x, p, a, n), power_tempered(x, p, a, n)": Explained(
        ("log_tempered", "power_tempered"),
        msg("x of each place p times 1 + a · ln(1 + ⌊p / n⌋), or times (1 + p / n)ᵃ"),
    ),
    "sinusoids(p), sinusoid_halves(p), fairseq_sinusoids(p)": Explained(
        ("sinusoids", "sinusoid_halves", "fairseq_sinusoids"),
        msg("sines and cosines of the places p: in turn, sines first, or in fairseq's wavelengths"),
    ),
    "turned(x, r)": Explained(
        ("turned",), msg("each pair of the first r dimensions turned by an angle that grows with the position (rotary)")
    ),
    "first(x, n), last(x, n), beside(x, y)": Explained(
        ("first", "last", "beside"), msg("so many dimensions of a width; two widths side by side")
    ),
    "dot(q, k)": Explained(("dot",), msg("q · k of each query with each key; heads that share a key repeat it")),
    "softmax(x)": Explained(("softmax",), msg("eˣ / Σ eˣ: shares that sum to 1")),
    "masked(x)": Explained(("masked",), msg("x, −∞ where a query must not see a key")),
    "capped(x, c)": Explained(("capped",), msg("c · tanh(x / c): never beyond ±c")),
    "relu(x), silu(x), gelu(x) …": Explained(_ACTIVATIONS, msg("the activation of that name, number by number")),
    "within(x, c)": Explained(("within",), msg("x, but −c below −c and c above c")),
    "clamped_swish(x, c, a)": Explained(
        ("clamped_swish",), msg("y · σ(a · y), number by number; y is x, but c above c")
    ),
    "xielu(x, m)": Explained(
        ("xielu",), msg("a · x² + x / 2 above 0, b · (eˣ − 1 − x) + x / 2 below, with the a and b that m has learned")
    ),
    "mix(p, v)": Explained(("mix",), msg("Σ p · v over the keys")),
    "joined(x)": Explained(("joined",), msg("the heads side by side")),
    "top(x, n)": Explained(("top",), msg("the places of the n largest")),
    "at(x, i)": Explained(("at",), msg("x at the places i")),
    "place(x, n)": Explained(("place",), msg("the state at place n; -1 is the last")),
    "average(x)": Explained(("average",), msg("the mean over the tokens")),
    "rescaled(ids, m, s)": Explained(
        ("rescaled",), msg("0 for tokens m, (1 − s) / (1 − the share of tokens m) for others")
    ),
    "shares(x), shares(x, e)": Explained(("shares",), msg("x / Σ x: parts of the whole; not of less than e")),
    "summed(w, x)": Explained(("summed",), msg("Σ w · x over what was chosen")),
    "total(x)": Explained(("total",), msg("Σ x over what was chosen")),
    "experts(x, i, m), experts(x, i, m, w)": Explained(
        ("experts",), msg("what the experts of m that i names make of x, or each of w · x")
    ),
    "best_groups(x, n, k, m)": Explained(
        ("best_groups",), msg("x cut into n groups; −∞ but for the m groups whose k largest sum to most")
    ),
    "sparsemixer(x, i, e)": Explained(
        ("sparsemixer",),
        msg(
            "for each place i in turn: its share of a softmax over the x that are not chosen yet and at most 2e · "
            "max(|x|, x at i) below it"
        ),
    ),
}

SOFTMAX_STAGES: dict[str, Message] = {
    "dots": msg("scores"),
    "scaled": msg("scaled"),
    "capped": msg("capped"),
    "biased": msg("biased"),
    "masked": in_context("softmax", "masked"),
    "shifted": msg("minus the largest"),
    "exps": msg("exponentials"),
    "sum": msg("sum"),
    "shares": msg("divided"),
}
