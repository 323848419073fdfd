"""Descriptions of the kinds of steps, of the functions in expressions, and of the stages of a softmax."""

from __future__ import annotations

from collections.abc import Iterable
from typing import get_args

import msgspec

from archcalc.interp.trace.expression import Call, Expression, nodes
from archcalc.spec.base import Activation
from archcalc.words import Message, in_context, msg

MASKED_CELL = msg(
    "A hatched gray cell is masked: the causal mask or a window hides that key from that query. Its score is −∞, "
    "so it takes no part in the softmax."
)

STEP_KINDS: dict[str, Message] = {
    "ids": msg("token ids"),
    "tokens": msg("the embedding of each token"),
    "positions": msg("the vector of each position"),
    "embed": msg("the input of the first layer"),
    "per_layer": msg("the token's own numbers for each layer"),
    "prompts": msg("learned keys and values for each layer"),
    "residual": msg("the residual stream"),
    "bottleneck": msg("projected to the width of the bottleneck"),
    "streams": msg("all residual streams"),
    "stream_weights": msg("what the weights of all streams follow from: to read, to write and to mix them"),
    "normalized": msg("normalized, before the weights"),
    "norm": msg("scaled and shifted by the learned weights"),
    "gated": msg("multiplied by a gate that it computes itself"),
    "queries": msg("queries: what each position looks for"),
    "keys": msg("keys: what each position offers"),
    "values": msg("values: what each position passes on"),
    "latent": msg("the latent of keys and values"),
    "entries": msg("what stands for several tokens each"),
    "scores": msg("scores: how well keys fit queries"),
    "index_scores": msg("scores that select the keys"),
    "pattern": msg("attention weights, which sum to 1"),
    "weighted_values": msg("values weighted by attention"),
    "cosines": msg("cosines of the angles between queries and keys"),
    "collisions": msg("weights that fall with the angle; they do not sum to 1"),
    "convolved_values": msg("each head's values, convolved over the tokens around"),
    "kernels": msg("the kernels of heads that are convolutions"),
    "spans": msg("what heads that are convolutions give"),
    "difference": msg("what one head of a pair reads less λ times what the other does"),
    "gate": msg("gates on the values of the heads"),
    "attention_out": msg("the output of attention"),
    "projected": msg("the projection that the mixer takes apart"),
    "convolved": msg("each channel, convolved with its last tokens"),
    "convolved_around": msg("all channels, convolved with the tokens around"),
    "write_rates": msg("how much of its state each head rewrites"),
    "log_decays": msg("the logarithm of what each head keeps of its state"),
    "mixed": msg("what the queries read from the states"),
    "selection": msg("what the token selects: how much of the state it keeps, writes and reads"),
    "scan": msg("what each token reads off the states, token by token"),
    "mixer_out": msg("the output of the mixer"),
    "up": msg("in the width of the feed-forward"),
    "hidden": msg("after the activation"),
    "ffn_out": msg("the output of the feed-forward"),
    "router_state": msg("what the router reads, and that of a later layer too"),
    "router": msg("a score for each expert"),
    "chosen": msg("the chosen experts"),
    "experts": msg("the output of each chosen expert"),
    "logits": msg("a score for each token"),
    "probabilities": msg("a probability for each token"),
    "choice": msg("the likeliest token"),
}


class FunctionMeaning(msgspec.Struct, frozen=True):
    """Functions that are described together: their names, and what they compute."""

    names: tuple[str, ...]
    meaning: Message


# The elementwise activations without parameters.
_ACTIVATIONS = (*(name for name in get_args(Activation) if name not in ("clamped_swish", "capped_swish")), "softplus")

# The functions of expressions, by how they are called.
FUNCTIONS: dict[str, FunctionMeaning] = {
    "rows(m, ids)": FunctionMeaning(("rows",), msg("the rows ids of the table m")),
    "linear(x, m)": FunctionMeaning(("linear",), msg("x · Wᵀ + b with the weights of m (no b if m has no bias)")),
    "standardized(x, e)": FunctionMeaning(("standardized",), msg("(x − mean) / √(variance + e), over the width")),
    "over_rms(x, e)": FunctionMeaning(("over_rms",), msg("x / √(mean of x² + e), over the width")),
    "scaled(x, m)": FunctionMeaning(("scaled",), msg("x · w + b with the weights of m (1 + w where the spec says so)")),
    "norm(x, m)": FunctionMeaning(("norm",), msg("normalization and scaling, as the spec says")),
    "group_norm(x, n, m)": FunctionMeaning(("group_norm",), msg("each of n pieces of x normalized, then scaling by m")),
    "heads(x, n)": FunctionMeaning(("heads",), msg("x split into n heads of equal width")),
    "clamped(x, c)": FunctionMeaning(("clamped",), msg("x clamped to ±c")),
    "at_least(x, c), at_most(x, c)": FunctionMeaning(("at_least", "at_most"), msg("c where x is below c, or above c")),
    "no_longer(x, c)": FunctionMeaning(
        ("no_longer",), msg("x · min(1, c / (√(Σ x²) + 10⁻⁶)): vectors longer than c scaled down to it")
    ),
    "by_slice(x, n, c, …)": FunctionMeaning(("by_slice",), msg("the first n dimensions of x times c, then the next")),
    "by_head(x)": FunctionMeaning(("by_head",), msg("one number for each head")),
    "of_heads(x)": FunctionMeaning(("of_heads",), msg("a row of numbers for each head, alike for all tokens")),
    "log_tempered(x, p, a, n), power_tempered(x, p, a, n)": FunctionMeaning(
        ("log_tempered", "power_tempered"),
        msg("x at each position p times 1 + a · ln(1 + ⌊p / n⌋), or times (1 + p / n)ᵃ"),
    ),
    "late_tempered(x, p, a, n)": FunctionMeaning(
        ("late_tempered",), msg("x at each position p times 1 + a · ln(p / n), from the position n on")
    ),
    "sinusoids(p), sinusoid_halves(p), fairseq_sinusoids(p)": FunctionMeaning(
        ("sinusoids", "sinusoid_halves", "fairseq_sinusoids"),
        msg("sines and cosines of the positions p: alternating, sines first, or with the wavelengths of fairseq"),
    ),
    "rotated(x, r)": FunctionMeaning(
        ("rotated",), msg("each pair of the first r dimensions rotated by an angle that grows with the position (RoPE)")
    ),
    "first(x, n), last(x, n), concat(x, y)": FunctionMeaning(
        ("first", "last", "concat"), msg("the first or last n dimensions; two vectors concatenated")
    ),
    "with_neighbors(x, n)": FunctionMeaning(
        ("with_neighbors",),
        msg("the x of the n tokens after each, of each, and of the n before, side by side; 0 beyond the text"),
    ),
    "sparse(x, s)": FunctionMeaning(
        ("sparse",), msg("max(0, x − t), where t exceeds a share s of a normal distribution as wide as x")
    ),
    "in_table(ids, n)": FunctionMeaning(("in_table",), msg("ids, but 0 for those beyond n rows")),
    "convolved_heads(x, m)": FunctionMeaning(
        ("convolved_heads",),
        msg(
            "Σ w · x + b over the last tokens of each channel, with the weights of m.depthwise, then over those of all "
            "channels of its head, with m.grouped; zeros before the text"
        ),
    ),
    "each_repeated(x, n), head_means(x, n)": FunctionMeaning(
        ("each_repeated", "head_means"), msg("each head of x n times, one after the other; the mean of each n heads")
    ),
    "piece(x, i, n)": FunctionMeaning(("piece",), msg("piece i of x split into n of equal width, counted from 0")),
    "convolved(x, m)": FunctionMeaning(
        ("convolved",),
        msg("Σ w · x over the last tokens of each channel, with the weights of m; zeros before the text"),
    ),
    "convolved_by(x, m, w, n)": FunctionMeaning(
        ("convolved_by",),
        msg(
            "Σ (v + w) · x over the last tokens of each channel, with the weights v of m and those w of its head of n; "
            "zeros before the text"
        ),
    ),
    "convolved_around(x, m)": FunctionMeaning(
        ("convolved_around",),
        msg(
            "Σ w · x over all channels of the tokens around each, plus b, with the weights of m; zeros beside the text"
        ),
    ),
    "exp(x)": FunctionMeaning(("exp",), msg("eˣ, elementwise")),
    "delta_rule(q, k, v, b, g, n, m)": FunctionMeaning(
        ("delta_rule",),
        msg(
            "for each of n heads, token by token: S = e^g · S, then S + k · (b · (v − k · S))ᵀ, then q · S / √width; "
            "q and k, of m heads, have unit length"
        ),
    ),
    "decayed_attention(q, k, v, n, r)": FunctionMeaning(
        ("decayed_attention",),
        msg("for head h of n, token by token: S = e^(−r · 2^(−8h / n)) · S + k · vᵀ, then q · S"),
    ),
    "matrix_memory(q, k, v, i, f, n)": FunctionMeaning(
        ("matrix_memory",),
        msg(
            "for each of n heads, token by token: C = σ(f) · C + eⁱ · k · vᵀ and s = σ(f) · s + eⁱ · k, "
            "then q · C / max(|q · s|, 1) with q / √width"
        ),
    ),
    "selective_scan(x, d, b, c, m)": FunctionMeaning(
        ("selective_scan",),
        msg("c · h + D · x of a state h of each channel, which becomes exp(−d · eᴬ) · h + d · x · b; A and D of m"),
    ),
    "blockwise(x, w, b)": FunctionMeaning(
        ("blockwise",), msg("x split into as many pieces as w has matrices, each times its own matrix, plus b")
    ),
    "gated_scan(x, i, r, d)": FunctionMeaning(
        ("gated_scan",),
        msg(
            "the state h of each channel, which becomes a · h + √(1 − a²) · i · x with a = e^(−8 · softplus(d) · r); "
            "it begins as i · x"
        ),
    ),
    "shifted(x)": FunctionMeaning(("shifted",), msg("x of the token before, 0 for the first")),
    "weighted_means(k, v, d, u)": FunctionMeaning(
        ("weighted_means",),
        msg("the mean of v with weights: e^(k + u) of the token itself, e^(k − (n − 1) · eᵈ) of the one n before"),
    ),
    "head_scan(x, d, b, c, n, m)": FunctionMeaning(
        ("head_scan",),
        msg(
            "for each head, token by token: its state h becomes exp(−d · eᴬ) · h + d · x · bᵀ, read as h · c + D · x; "
            "A and D of m, b and c of the head's group of n"
        ),
    ),
    "rotated_at(x, r, n), turned_back(x, r)": FunctionMeaning(
        ("rotated_at", "turned_back"), msg("as rotated, at the positions 0, n, 2n, …, or by the opposite angles")
    ),
    "pooled(v, g, p), overlapped(v, g, p)": FunctionMeaning(
        ("pooled", "overlapped"),
        msg(
            "Σ w · v over each so many tokens as p has rows, channel by channel, where w is a softmax of g + p; "
            "overlapped: with the first half of the channels of the tokens before, and the second of their own"
        ),
    ),
    "linear_by_group(x, m, n)": FunctionMeaning(
        ("linear_by_group",), msg("x split into n pieces, each times its own matrix of m")
    ),
    "picked(t, ids)": FunctionMeaning(("picked",), msg("the rows ids of t")),
    "dot(q, k)": FunctionMeaning(("dot",), msg("q · k of each query with each key; heads may share keys")),
    "by_distance(x, r), of_distance(x, r)": FunctionMeaning(
        ("by_distance", "of_distance"),
        msg("for each query and key, x of the row r of their distance: rows are columns of x, or its rows"),
    ),
    "at_distance(x, t)": FunctionMeaning(
        ("at_distance",), msg("for each query and key, column d of x · t, where d is their distance; 0 beyond the last")
    ),
    "every_expert(x, m)": FunctionMeaning(("every_expert",), msg("the outputs of all experts of m for x")),
    "of_keys(x, n)": FunctionMeaning(
        ("of_keys",), msg("the numbers x of each key as those of n heads, for all queries")
    ),
    "kept(x, b, n)": FunctionMeaning(
        ("kept",), msg("x where b is among the n largest of the keys that a query sees, −∞ elsewhere")
    ),
    "first_tokens(x, n)": FunctionMeaning(("first_tokens",), msg("x of the first n tokens")),
    "with_first(x, y, n)": FunctionMeaning(("with_first",), msg("y for the first n tokens as queries, x for others")),
    "rows_from(x, a, n)": FunctionMeaning(("rows_from",), msg("n rows of x, from row a on")),
    "without_first(x, n)": FunctionMeaning(("without_first",), msg("x without its first n tokens")),
    "without_last(x, n)": FunctionMeaning(("without_last",), msg("x without its last n tokens")),
    "scaled_apart(x, m, n, k)": FunctionMeaning(
        ("scaled_apart",), msg("x scaled by the norm m, the last k tokens by the norm n")
    ),
    "followed(x, y)": FunctionMeaning(("followed",), msg("x, then y as further tokens or keys")),
    "block_sums(x, n)": FunctionMeaning(
        ("block_sums",), msg("Σ x over each block of n tokens; what is left over is in the last whole one")
    ),
    "streams(x, y, …), stream(x, i)": FunctionMeaning(
        ("streams", "stream"), msg("several residual streams, and number i of them, counted from 0")
    ),
    "attended_streams(x, q, e)": FunctionMeaning(
        ("attended_streams",),
        msg("Σ p · n over all streams x, with n = x / √(mean of x² + e) and p = softmax(q · n / √width)"),
    ),
    "with_stream(x, y), to_newest(x, y)": FunctionMeaning(
        ("with_stream", "to_newest"), msg("the streams x and y as a new one, or with y added to the newest")
    ),
    "as_large(y, x)": FunctionMeaning(("as_large",), msg("y with the mean square of x")),
    "mixed_streams(w, x)": FunctionMeaning(
        ("mixed_streams",), msg("for each stream Σ w · x over all streams x, with its own weights w")
    ),
    "stream_logits(x, m, e)": FunctionMeaning(
        ("stream_logits",),
        msg("s · (W · x / √(mean of x² + e)) + b with the weights of m; x are all streams, side by side"),
    ),
    "over_streams(x, w)": FunctionMeaning(("over_streams",), msg("Σ w · x over all streams")),
    "balanced(x, n, e)": FunctionMeaning(
        ("balanced",),
        msg(
            "x as a square matrix: a softmax of each column + e, then n turns, each to rows that sum to 1 and, but for "
            "the first turn, columns before them"
        ),
    ),
    "spread(y, w)": FunctionMeaning(("spread",), msg("for each stream w · y, with its own number w")),
    "to_later(x, y)": FunctionMeaning(("to_later",), msg("y added to all streams but the first")),
    "softmax(x)": FunctionMeaning(("softmax",), msg("eˣ / Σ eˣ, which sum to 1")),
    "masked(x)": FunctionMeaning(("masked",), msg("x, and −∞ where a query does not see a key")),
    "selected(x, i)": FunctionMeaning(("selected",), msg("x at the keys i of each query, and −∞ at others")),
    "selected_entries(x, i), masked_entries(x, n)": FunctionMeaning(
        ("selected_entries", "masked_entries"),
        msg("x, and −∞ at entries, which follow tokens, other than i, or of n tokens that a query does not see"),
    ),
    "over_heads(x, w)": FunctionMeaning(("over_heads",), msg("Σ w · x over the heads")),
    "capped(x, c)": FunctionMeaning(("capped",), msg("c · tanh(x / c), within ±c")),
    "relu(x), silu(x), gelu(x) …": FunctionMeaning(_ACTIVATIONS, msg("the activation of that name, elementwise")),
    "within(x, c)": FunctionMeaning(("within",), msg("x, but −c below −c and c above c")),
    "clamped_swish(x, c, a)": FunctionMeaning(
        ("clamped_swish",), msg("y · σ(a · y), elementwise; y is x, but c above c")
    ),
    "xielu(x, m)": FunctionMeaning(
        ("xielu",), msg("a · x² + x / 2 above 0, b · (eˣ − 1 − x) + x / 2 below, with the learned a and b of m")
    ),
    "mix(p, v)": FunctionMeaning(("mix",), msg("Σ p · v over the keys")),
    "paired(x)": FunctionMeaning(
        ("paired",), msg("for each two heads of x that are half of all heads apart: both concatenated, for each")
    ),
    "less(x, c)": FunctionMeaning(("less",), msg("the first half of the heads less c times the second half")),
    "pair_factor(m, c)": FunctionMeaning(
        ("pair_factor",), msg("exp(Σ q1 · k1) − exp(Σ q2 · k2) + c, with the vectors lambda_… of m")
    ),
    "joined(x)": FunctionMeaning(("joined",), msg("the heads concatenated")),
    "top(x, n)": FunctionMeaning(("top",), msg("the indices of the n largest")),
    "pair_sums(x)": FunctionMeaning(
        ("pair_sums",), msg("all sums of a number of the first half of x and one of the second, in order of the first")
    ),
    "at(x, i)": FunctionMeaning(("at",), msg("x at the indices i")),
    "place(x, n)": FunctionMeaning(("place",), msg("the state at position n; -1 is the last")),
    "average(x)": FunctionMeaning(("average",), msg("the mean over the tokens")),
    "rescaled(ids, m, s)": FunctionMeaning(
        ("rescaled",), msg("0 for tokens m, (1 − s) / (1 − the share of tokens m) for others")
    ),
    "taken(w, i, c)": FunctionMeaning(
        ("taken",), msg("w, and 0 where c choices before it, in order, have taken the expert i")
    ),
    "shares(x), shares(x, e)": FunctionMeaning(("shares",), msg("x / Σ x; the sum is at least e")),
    "summed(w, x)": FunctionMeaning(("summed",), msg("Σ w · x over the chosen experts")),
    "total(x)": FunctionMeaning(("total",), msg("Σ x over the chosen experts")),
    "experts(x, i, m), experts(x, i, m, w)": FunctionMeaning(
        ("experts",), msg("the outputs of the experts i of m for x, or for w · x")
    ),
    "fourier(x)": FunctionMeaning(
        ("fourier",), msg("the real part of the Fourier transform of x over tokens and channels")
    ),
    "grouped(x, m, n)": FunctionMeaning(
        ("grouped",), msg("x · Wᵀ + b, where each group of outputs reads n channels of its own")
    ),
    "by_heads(x, m), from_heads(y, m)": FunctionMeaning(
        ("by_heads", "from_heads"), msg("x through the matrix of each head of m, and the sum of heads through theirs")
    ),
    "each_head(p)": FunctionMeaning(("each_head",), msg("the numbers of each head, for all tokens")),
    "distance_sinusoids(x), distance_sinusoids(x, c)": FunctionMeaning(
        ("distance_sinusoids",),
        msg("sines, then cosines of the distances T, T − 1, … 1 − T of a text of T tokens, within ±c"),
    ),
    "at_distances(x)": FunctionMeaning(
        ("at_distances",), msg("for each query and key, x of the query at their distance")
    ),
    "unit(x)": FunctionMeaning(("unit",), msg("x / √(Σ x²), of length 1")),
    "collisions(x, n)": FunctionMeaning(("collisions",), msg("(1 − arccos x / π)ⁿ")),
    "convolved_each(x, m)": FunctionMeaning(
        ("convolved_each",), msg("Σ w · x over the tokens around each, with the weights of m for its channel or head")
    ),
    "spans(x, k, n)": FunctionMeaning(
        ("spans",), msg("for each of n heads Σ softmax(k) · x over the tokens around each")
    ),
    "linear_at(x, i, m)": FunctionMeaning(("linear_at",), msg("x · Wᵀ + b, the matrix i of m and its bias")),
    "linears(x, i, m)": FunctionMeaning(
        ("linears",), msg("for each index i: x · Wᵀ with the matrix i of m; of pieces, each by its own index")
    ),
    "pieces(x, n), in_a_row(x)": FunctionMeaning(
        ("pieces", "in_a_row"), msg("x split into n pieces of equal width; pieces side by side")
    ),
    "repeated(x, n)": FunctionMeaning(("repeated",), msg("all heads of x, n times one after the other")),
    "or_input(y, x, i, n)": FunctionMeaning(("or_input",), msg("y where the index i is less than n, and x elsewhere")),
    "or_zero(y, i, n)": FunctionMeaning(("or_zero",), msg("y where the index i is less than n, and 0 elsewhere")),
    "best_groups(x, n, k, m)": FunctionMeaning(
        ("best_groups",),
        msg("x split into n groups; −∞ except in the m groups with the largest sums of their k largest"),
    ),
    "sparsemixer(x, i, e)": FunctionMeaning(
        ("sparsemixer",),
        msg(
            "for each index i in turn: its share of a softmax over the x not chosen yet and at most "
            "2e · max(|x|, x at i) below it"
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
    "shares": msg("divided by the sum"),
}


def functions_of(expressions: Iterable[Expression | None]) -> list[tuple[str, Message]]:
    """Return the functions that expressions use: how they are called, and what they compute."""
    used = {node.function for tree in expressions for node in nodes(tree) if isinstance(node, Call)}
    return [(call, known.meaning) for call, known in FUNCTIONS.items() if not used.isdisjoint(known.names)]
