"""The named places of a forward pass whose values can be read and written: which there are follows from the spec.

Axes: B batch, T tokens of the pass, S key tokens, D model, N heads, K kv heads, H query and key width, U value width,
C latent of keys and values, R width with position, F feed-forward width, E experts, k chosen experts, V vocab,
Y labels, 1 what all heads share, P the one place of a whole text.
"""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase

import msgspec

from archcalc.errors import InputError, nearest, shown
from archcalc.spec.attention import Attention, LatentAttention
from archcalc.spec.branches import active_branches, arm_norm, names, stream_names
from archcalc.spec.ffn import Gated, MoE, Plain
from archcalc.spec.groups import layers_of
from archcalc.spec.layer import Branch, Layer, Reads
from archcalc.spec.model import Spec
from archcalc.spec.position import Alibi, RelativeBias, Rope
from archcalc.spec.variants import implementation
from archcalc.spec.workload import Workload
from archcalc.words import Message, msg

Sizes = dict[str, int]

# Whether attention reads the source → its keys, the same normed or turned, and its values in words.
_KEYS = {
    False: msg("the tokens' keys: what a cache holds"),
    True: msg("the source's keys: what a cache holds"),
}
_KEYS_DONE = {
    False: msg("the tokens' keys, {done}: what a cache holds"),
    True: msg("the source's keys, {done}: what a cache holds"),
}
_VALUES = {
    False: msg("the tokens' values: what a cache holds"),
    True: msg("the source's values: what a cache holds"),
}
# Whether scores are capped and biased → the scores in words.
_SCORES = {
    (False, False): msg("how well keys fit queries, scaled; −∞ where hidden"),
    (True, False): msg("how well keys fit queries, scaled, capped; −∞ where hidden"),
    (False, True): msg("how well keys fit queries, scaled, biased; −∞ where hidden"),
    (True, True): msg("how well keys fit queries, scaled, capped, biased; −∞ where hidden"),
}


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """A place of a forward pass: its name, its axes in their order, and what stands there.

    `sizes` are those of the axes that the model sets; a workload sets B, T and S. `layer` is the turn in its stack,
    None outside the layers. `recomputed`: reading it costs a computation of its own, unless attention is eager.
    `of_source`: it belongs to an encoder-decoder's source, which is read once; with a cache of it, it is not passed.
    """

    name: str
    axes: str
    what: str | Message
    sizes: Sizes
    layer: int | None = None
    recomputed: bool = False
    of_source: bool = False
    sees_source: bool = False
    window: int | None = None

    def shape(self, work: Workload) -> tuple[int, ...] | None:
        """The sizes of its axes for a workload; None where it is not passed."""
        if self.of_source and work.past:
            return None
        sizes = self.sizes | {"B": work.batch, "T": work.source_seq if self.of_source else work.seq}
        sizes["S"] = work.source_seq if self.of_source or self.sees_source else self._held(work.past) + work.seq
        return tuple(sizes[axis] for axis in self.axes)

    def _held(self, past: int) -> int:
        """How many earlier keys a cache gives: a window's last token is the query's own."""
        return past if self.window is None else min(past, self.window - 1)


def sites(spec: Spec) -> tuple[Site, ...]:
    """Return every site of a resolved spec, in the order in which a forward pass comes by them.

    >>> from archcalc.sources import load
    >>> found = {site.name: site for site in sites(load("gpt3-175b"))}
    >>> found["layers.95.attn.q"].axes, found["layers.95.attn.q"].sizes
    ('BNTH', {'N': 96, 'H': 128})
    """
    return tuple(_sites(spec))


def _sites(spec: Spec) -> Iterator[Site]:
    for each in spec.stacks:
        prefix, stack, of_source = each.prefix, each.stack, each.is_source
        width = {"D": each.model.d_model}
        embedded = msg("tokens, types and positions, summed: what the first layer reads")
        yield _bare(f"{prefix}embed", embedded, width, of_source)
        for turn, layer in enumerate(layers_of(stack)):
            for point in _layer(layer, width):
                yield msgspec.structs.replace(
                    point,
                    name=f"{prefix}layers.{turn}.{point.name}",
                    layer=turn,
                    of_source=of_source or point.of_source,
                )
        if stack.final_norm is not None:
            yield _bare(f"{prefix}final_norm", msg("the last layer's states, normed"), width, of_source)
    if spec.pooler is not None:
        yield Site(name="pooled", axes="BPD", what=msg("the first token's state, pooled"), sizes={"P": 1} | width)
    if spec.predicts_tokens:
        scores = msg("a score for each token of the vocabulary")
        yield Site(name="logits", axes="BTV", what=scores, sizes={"V": spec.vocab_size})
    elif spec.head is not None and spec.head.labels is not None:
        axes = "BPY" if spec.reads_text else "BTY"
        sizes = {"P": 1, "Y": spec.head.labels.n_labels}
        yield Site(name="logits", axes=axes, what=msg("a score for each label"), sizes=sizes)


def _bare(name: str, what: Message, sizes: Sizes, of_source: bool = False) -> Site:
    return Site(name=name, axes="BTD", what=what, sizes=sizes, of_source=of_source)


def _layer(layer: Layer, width: Sizes) -> Iterator[Site]:
    yield _bare("resid_pre", msg("the residual stream that the layer reads"), width)
    for branch, left in zip(active_branches(layer), stream_names(layer), strict=True):
        yield from _branch(branch, width)
        if left != "resid_post":
            yield _bare(left, msg("the residual stream between two branches"), width)
    yield _bare("resid_post", msg("the residual stream that the layer leaves"), width)


def _branch(branch: Branch, width: Sizes) -> Iterator[Site]:
    own = names(branch)
    if own.norm_in:
        yield _bare(own.norm_in, msg("the states, normed"), width)
    for arm in branch.arms:
        if name := arm_norm(arm):
            yield _bare(name, msg("the states, normed"), width)
        for point in implementation(arm.part, "sites")(arm.part, width, arm.reads):
            yield msgspec.structs.replace(point, name=f"{arm.name}.{point.name}")
    if own.arms_sum:
        yield _bare(own.arms_sum, msg("the sum of the branch's arms, before the norm"), width)
    if own.norm_out:
        yield _bare(own.norm_out, msg("the branch's output, normed: it joins the residual stream"), width)
    if own.sum and own.norm_after:
        yield _bare(own.sum, msg("the residual stream and what joins it, before the norm"), width)
        yield _bare(own.norm_after, msg("the states, normed"), width)


def attention(part: Attention, width: Sizes, reads: Reads) -> Iterator[Site]:
    """Its points; where keys and values are shared, theirs are the earlier layer's alone."""
    assert part.n_kv_heads is not None and part.d_head is not None, "the spec is resolved"  # noqa: PT018
    heads, kv_heads = {"N": part.n_heads, "H": part.d_head}, {"K": part.n_kv_heads, "H": part.d_head}
    d_value = part.d_head if part.d_value is None else part.d_value
    crosses, axis = reads == "source", "H" if part.d_value is None else "U"
    queries, keys = msg("queries"), _KEYS[crosses]
    if done := _done(part):
        queries, keys = msg("queries, {done}", done=done), _KEYS_DONE[crosses].fill(done=done)
    yield Site(name="q", axes="BNTH", what=queries, sizes=heads)
    if reads != "shared":
        axes = "BKSH" if crosses else "BKTH"
        yield Site(name="k", axes=axes, what=keys, sizes=kv_heads, of_source=crosses)
        yield Site(
            name="v",
            axes=axes.replace("H", axis),
            what=_VALUES[crosses],
            sizes={"K": part.n_kv_heads, axis: d_value},
            of_source=crosses,
        )
    capped, biased = part.softcap is not None, isinstance(part.position, Alibi | RelativeBias)
    yield from _softmax(part.n_heads, d_value, axis, _SCORES[capped, biased], part.window, crosses)
    if part.gate is not None:
        over, size = ("1", 1) if part.gate.over == "head" else (axis, d_value)
        what = msg("what each head's values are multiplied with")
        yield Site(name="gate", axes=f"BNT{over}", what=what, sizes={"N": part.n_heads, over: size})
    yield _bare("out", msg("what attention makes of the states"), width)


def _done(part: Attention) -> Message | None:
    """What is done to queries and keys, in its order."""
    is_turned = isinstance(part.position, Rope)
    if part.qk_norm is None:
        return msg("turned") if is_turned else None
    if not is_turned:
        return msg("normed")
    return msg("turned, normed") if part.qk_norm.when == "after" else msg("normed, turned")


def latent_attention(part: LatentAttention, width: Sizes, reads: Reads) -> Iterator[Site]:
    """Yield the points of latent attention."""
    heads = {"N": part.n_heads, "H": part.d_nope + part.d_rope}
    latent = msg("the tokens' latent, normed: what a cache holds")
    yield Site(name="latent", axes="BTC", what=latent, sizes={"C": part.kv_rank})
    shared = msg("the tokens' turned key that all heads share: what a cache holds")
    yield Site(name="k_shared", axes="B1TR", what=shared, sizes={"1": 1, "R": part.d_rope})
    yield Site(name="k", axes="BNSH", what=msg("keys, made anew of every latent"), sizes=heads)
    values = msg("values, made anew of every latent")
    yield Site(name="v", axes="BNSU", what=values, sizes={"N": part.n_heads, "U": part.d_v})
    yield Site(name="q", axes="BNTH", what=msg("queries, their last d_rope turned"), sizes=heads)
    yield from _softmax(part.n_heads, part.d_v, "U", _SCORES[False, False], None, reads == "source")
    yield _bare("out", msg("what attention makes of the states"), width)


def _softmax(
    n_heads: int, d_value: int, axis: str, scores: Message, window: int | None, crosses: bool
) -> Iterator[Site]:
    """Yield what every softmax attention has; `scores` says what is done to its scores."""
    for name, what in {"scores": scores, "pattern": msg("the softmax of the scores")}.items():
        yield Site(
            name=name,
            axes="BNTS",
            what=what,
            sizes={"N": n_heads},
            recomputed=True,
            sees_source=crosses,
            window=window,
        )
    what = msg("each head's values, weighed by its pattern")
    yield Site(name="values", axes=f"BNT{axis}", what=what, sizes={"N": n_heads, axis: d_value})


def dense(part: Plain | Gated, width: Sizes, reads: Reads) -> Iterator[Site]:
    """Yield the points of a feed-forward."""
    yield Site(name="hidden", axes="BTF", what=msg("hidden units, activated and gated"), sizes={"F": part.d_ff})
    yield _bare("out", msg("what the feed-forward makes of the states"), width)


def mixture(part: MoE, width: Sizes, reads: Reads) -> Iterator[Site]:
    """Hidden units of routed experts have no site: which token stands where differs from kernel to kernel."""
    chosen = {"k": part.n_active}
    yield Site(name="router", axes="BTE", what=msg("a logit for each expert"), sizes={"E": part.n_experts})
    yield Site(name="chosen", axes="BTk", what=msg("the chosen experts' numbers (integers)"), sizes=chosen)
    yield Site(name="weights", axes="BTk", what=msg("how the chosen experts are weighed"), sizes=chosen)
    made = msg("what each chosen expert makes, not yet weighed")
    yield Site(name="experts", axes="BTkD", what=made, sizes=chosen | width)
    if part.n_shared:
        assert part.d_shared is not None, "the spec is resolved"
        hidden = {"F": part.n_shared * part.d_shared}
        yield Site(name="shared.hidden", axes="BTF", what=msg("the shared experts' hidden units"), sizes=hidden)
    yield _bare("out", msg("what the feed-forward makes of the states"), width)


def find_sites(spec: Spec, pattern: str) -> list[Site]:
    """The sites of this name, or, with * and ?, of names like it. Raises InputError if there is none."""
    every = sites(spec)
    found = [site for site in every if site.name == pattern or fnmatchcase(site.name, pattern)]
    if not found:
        raise InputError(
            msg(
                "{pattern} is no site{hint}",
                pattern=shown(pattern),
                hint=nearest(pattern, [site.name for site in every]),
            ),
            where=spec.name,
            allowed=msg("what `archcalc taps` lists"),
        )
    return found
