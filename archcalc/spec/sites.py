"""Sites: named points of a forward pass whose values can be read and edited. They follow from the spec.

Axes: B batch, T tokens of the pass, S key tokens, D model, N heads, K kv heads, H query and key width, U value width,
C latent of keys and values or of experts, R rotary width, X heads of an indexer, J their width, F feed-forward width,
E experts, k chosen experts, M residual streams, V vocab, Y labels, Z width of a mixer's projection, I inner width of a
mixer, G entries of compressed tokens, 1 shared by all heads, P first tokens of a text: one that represents it, or
global ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import partial

import msgspec

from archcalc.errors import InputError, nearest, shown
from archcalc.spec.attention import Attention, Gate, Indexer, LatentAttention
from archcalc.spec.bottleneck import Bottleneck
from archcalc.spec.branches import (
    arm_conv,
    arm_norm,
    arm_norm_out,
    arm_sum,
    first_branches,
    names,
    names_after,
    stream_names,
    stream_start,
)
from archcalc.spec.ffn import Adapters, Gated, MoE, PerLayerGate, Plain, ProductKeys, StateProjection
from archcalc.spec.groups import layers_of
from archcalc.spec.layer import Branch, Layer, Reads, Stack
from archcalc.spec.model import ModelStack, Spec
from archcalc.spec.position import Alibi, ContentBias, Disentangled, RelativeBias, Rope
from archcalc.spec.stream_variants import stream_implementation
from archcalc.spec.variants import implementation
from archcalc.spec.workload import Workload
from archcalc.words import Message, msg

Sizes = dict[str, int]

# Whether attention reads the source → descriptions of its keys, of its normalized or rotated keys, and of its values.
_KEYS = {
    False: msg("the tokens' keys: as cached"),
    True: msg("the source's keys: as cached"),
}
_CHANGED_KEYS = {
    False: msg("the tokens' keys, {change}: as cached"),
    True: msg("the source's keys, {change}: as cached"),
}
_VALUES = {
    False: msg("the tokens' values: as cached"),
    True: msg("the source's values: as cached"),
}
# Whether scores are capped and biased → their description.
SCORES = {
    (False, False): msg("the products of queries and keys, scaled; −∞ where masked"),
    (True, False): msg("the products of queries and keys, scaled, capped; −∞ where masked"),
    (False, True): msg("the products of queries and keys, scaled, biased; −∞ where masked"),
    (True, True): msg("the products of queries and keys, scaled, capped, biased; −∞ where masked"),
}


# Sites with a value for each query and key.
_OF_SCORES = (".scores", ".pattern")


# Whether branches work within a bottleneck → descriptions of their stream before, between and after them.
_STREAMS = {
    False: (
        msg("the residual stream before the layer"),
        msg("the residual stream between two branches"),
        msg("the residual stream after the layer"),
    ),
    True: (
        msg("the layer's input, projected to the bottleneck"),
        msg("the stream within the bottleneck, between two branches"),
        msg("the stream within the bottleneck, after the last branch"),
    ),
}


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """A named point of a forward pass, with its axes in order.

    `sizes` are those of axes that the model sets; a workload sets B, T and S. `layer` is the index in the stack, None
    outside the layers. `is_recomputed`: reading it needs an extra computation, unless attention is eager. `is_source`:
    it belongs to the source of an encoder-decoder, which is read once and not passed again once it is cached.
    `has_source_keys`: its key axis is the source's. `n_prompt`: learned keys before all others on it. `n_block`: tokens
    of each block that has a key after all others on it, or an entry of its own (G). `n_global`: global tokens of the
    stack, which follow those of the text on both axes. `n_lead`: rows of a soft prompt, which come before the text in
    the pass that begins it, and whose keys are before those of the text.
    """

    name: str
    axes: str
    description: str | Message
    sizes: Sizes
    layer: int | None = None
    is_recomputed: bool = False
    is_source: bool = False
    has_source_keys: bool = False
    window: int | None = None
    n_prompt: int = 0
    n_block: int | None = None
    n_global: int = 0
    n_lead: int = 0

    def shape(self, work: Workload) -> tuple[int, ...] | None:
        """Return the sizes of its axes for a workload; None if the pass does not reach it."""
        if self.is_source and work.past:
            return None
        sizes = self.sizes | {"B": work.batch, "T": work.source_seq if self.is_source else work.seq}
        sizes["S"] = (
            work.source_seq if self.is_source or self.has_source_keys else self._n_earlier_keys(work.past) + work.seq
        )
        if self.n_block:
            sizes["G"] = (work.source_seq if self.is_source else work.past + work.seq) // self.n_block
        sizes["S"] += self.n_prompt + self.n_global + sizes.get("G", 0)
        sizes["S"] += self.n_lead
        sizes["T"] += self.n_global + (0 if work.past else self.n_lead)
        if "P" in sizes:
            sizes["P"] = min(sizes["P"], sizes["T"])
        return tuple(sizes[axis] for axis in self.axes)

    def _n_earlier_keys(self, past: int) -> int:
        """Return the number of cached keys: a window includes the query's own token."""
        return past if self.window is None else min(past, self.window - 1)


def sites(spec: Spec) -> tuple[Site, ...]:
    """Return every site of a resolved spec, in the order of a forward pass.

    >>> from archcalc.sources import load
    >>> by_name = {site.name: site for site in sites(load("gpt3-175b"))}
    >>> by_name["layers.95.attn.q"].axes, by_name["layers.95.attn.q"].sizes
    ('BNTH', {'N': 96, 'H': 128})
    """
    return tuple(_sites(spec))


def _sites(spec: Spec) -> Iterator[Site]:
    for model_stack in spec.stacks:
        stack = model_stack.stack
        state = partial(_state_site, model_stack)
        yield from _before_layers(model_stack.prefix, stack, {"D": model_stack.model.d_model}, model_stack.is_source)
        yield from _layers(model_stack)
        if stack.global_tokens is not None or stack.soft_prompt is not None:
            yield state("text", msg("the last layer's states of the text's tokens"))
        if stack.streams is not None:
            yield state("merged", msg("all streams, merged into one"))
        if stack.final_norm is not None:
            yield state("final_norm", msg("the last layer's states, normalized"))
    if spec.pooler is not None:
        yield Site(
            name="pooled",
            axes="BPD",
            description=msg("the first token's state, pooled"),
            sizes={"P": 1, "D": spec.d_model},
        )
    if spec.predicts_tokens:
        scores = msg("a score for each token of the vocabulary")
        yield Site(name="logits", axes="BTV", description=scores, sizes={"V": spec.n_scored})
    elif spec.head is not None and spec.head.labels is not None:
        axes = "BPY" if spec.reads_text else "BTY"
        sizes = {"P": 1, "Y": spec.head.labels.n_labels}
        yield Site(name="logits", axes=axes, description=msg("a score for each label"), sizes=sizes)


def _state_site(model_stack: ModelStack, name: str, description: Message) -> Site:
    """Return a site of the states of a stack, outside its layers."""
    width = {"D": model_stack.model.d_model}
    return states_site(f"{model_stack.prefix}{name}", description, width, model_stack.is_source)


def _layers(model_stack: ModelStack) -> Iterator[Site]:
    """Yield the sites of the layers of a stack, and of the states at the end of its runs, if it has cycles."""
    prefix, stack, is_source = model_stack.prefix, model_stack.stack, model_stack.is_source
    width, n_prompt = {"D": model_stack.model.d_model}, stack.prompts.n_prompt if stack.prompts else 0
    for layer_index, layer in enumerate(layers_of(stack)):
        for site in _layer(stack, layer, width, layer_index):
            yield msgspec.structs.replace(
                site,
                name=f"{prefix}layers.{layer_index}.{site.name}",
                layer=layer_index,
                is_source=is_source or site.is_source,
                n_prompt=n_prompt if site.name.endswith(_OF_SCORES) else 0,
                n_global=stack.global_tokens.n_tokens if stack.global_tokens else 0,
                n_lead=stack.n_lead,
            )
        if (run := _ended_run(stack, layer_index)) is not None:
            yield _state_site(model_stack, f"cycles.{run}", msg("the new state of the module that has run"))


def _ended_run(stack: Stack, layer_index: int) -> int | None:
    """Return the run of a module that ends with a layer; None for the last, whose state is the stack's."""
    if stack.cycles is None:
        return None
    run, place = divmod(layer_index + 1, (stack.n_layers or 0) // stack.cycles.n_runs)
    return None if place or run == stack.cycles.n_runs else run - 1


def _before_layers(prefix: str, stack: Stack, width: Sizes, is_source: bool) -> Iterator[Site]:
    """Yield the sites before the first layer of a stack."""
    embedded = msg("the sum of tokens, types and positions: the input of the first layer")
    yield states_site(f"{prefix}embed", embedded, width, is_source)
    if stack.per_layer:
        sizes = {"Z": len(layers_of(stack)) * stack.per_layer.d_per_layer}
        numbers = msg("the token's own numbers for each layer")
        yield Site(name=f"{prefix}per_layer", axes="BTZ", description=numbers, sizes=sizes, is_source=is_source)
    if stack.streams is not None:
        yield Site(
            name=f"{prefix}split",
            axes="BTMD",
            description=msg("all streams before the first layer"),
            sizes={"M": stack.streams.n_before(0)} | width,
            is_source=is_source,
        )


def states_site(name: str, description: Message, sizes: Sizes, is_source: bool = False) -> Site:
    """Return a site of states [B, T, D]."""
    return Site(name=name, axes="BTD", description=description, sizes=sizes, is_source=is_source)


def _layer(stack: Stack, layer: Layer, width: Sizes, index: int) -> Iterator[Site]:
    """Return the sites of a layer of a stack."""
    if layer.bottleneck is not None:
        return _bottleneck_sites(layer.bottleneck, layer, width)
    if stack.streams is None:
        return layer_sites(layer, width)
    sites_of: Iterator[Site] = stream_implementation(stack.streams, "sites")(stack.streams, layer, width, index)
    return sites_of


def layer_sites(layer: Layer, width: Sizes) -> Iterator[Site]:
    """Yield the sites of the branches of one stream."""
    before, between, after = _STREAMS[layer.bottleneck is not None]
    yield states_site(stream_start(layer), before, width)
    last = stream_names(layer)[-1]
    for branch, name_after in zip(first_branches(layer), names_after(layer), strict=True):
        yield from branch_sites(branch, width)
        if name_after is not None:
            yield states_site(name_after, after if name_after == last else between, width)


def _bottleneck_sites(part: Bottleneck, layer: Layer, width: Sizes) -> Iterator[Site]:
    """Yield the sites of a layer whose branches are narrower than the residual stream."""
    before, _, after = _STREAMS[False]
    narrow = {"D": part.d_bottleneck}
    yield states_site("resid_pre", before, width)
    if part.splits_attention:
        yield states_site("narrow_keys", msg("the layer's input, projected for queries and keys"), narrow)
    yield from layer_sites(layer, narrow)
    if part.norm is not None:
        yield states_site("widened", msg("the residual stream after the addition, before the norm"), width)
    yield states_site("resid_post", after, width)


def branch_sites(branch: Branch, width: Sizes) -> Iterator[Site]:
    """Yield the sites of a branch, but not those of the stream."""
    branch_names = names(branch)
    yield from _branch_input(branch, width)
    for arm in branch.arms:
        if name := arm_norm(arm):
            yield states_site(name, msg("the states, normalized"), width)
        for site in implementation(arm.part, "sites")(arm.part, width, arm.reads):
            yield msgspec.structs.replace(site, name=f"{arm.name}.{site.name}")
        if name := arm_conv(arm):
            yield states_site(name, msg("the output of the part plus its convolution"), width)
        if name := arm_norm_out(arm):
            yield states_site(name, msg("the output of the part, normalized"), width)
        if name := arm_sum(arm):
            yield states_site(name, msg("the output of the part and its input"), width)
    if branch_names.arms_sum:
        yield states_site(branch_names.arms_sum, msg("the sum of the branch's arms, before the norm"), width)
    if branch_names.norm_out:
        yield states_site(
            branch_names.norm_out, msg("the branch's output, normalized: added to the residual stream"), width
        )
    if branch_names.sum and branch_names.norm_after:
        yield states_site(branch_names.sum, msg("the residual stream after the addition, before the norm"), width)
        yield states_site(branch_names.norm_after, msg("the states, normalized"), width)
    yield from _next(branch, width)


_NEXT = {
    "next": msg("the branch's output: what the next branch reads"),
    "next_sum": msg("the residual stream and the branch's output: what the next branch reads"),
}


def _next(branch: Branch, width: Sizes) -> Iterator[Site]:
    if name := names(branch).next:
        yield states_site(name, _NEXT[branch.joins], width)


def _branch_input(branch: Branch, width: Sizes) -> Iterator[Site]:
    branch_names = names(branch)
    if branch_names.joined:
        both, sizes = msg("the states and the input of the first layer"), {"Z": 2 * width["D"]}
        yield Site(name=branch_names.joined, axes="BTZ", description=both, sizes=sizes)
        if branch_names.norm_in:
            normed = msg("the states and the input of the first layer, normalized")
            yield Site(name=branch_names.norm_in, axes="BTZ", description=normed, sizes=sizes)
    elif branch_names.norm_in:
        yield states_site(branch_names.norm_in, msg("the states, normalized"), width)
    if branch_names.norm_keys and branch_names.norm_values:
        yield states_site(branch_names.norm_keys, msg("the states, normalized for keys"), width)
        yield states_site(branch_names.norm_values, msg("the states, normalized for values"), width)
    if branch_names.in_gate:
        yield states_site(branch_names.in_gate, msg("the states, gated: what the parts read"), width)


def attention(part: Attention, width: Sizes, reads: Reads) -> Iterator[Site]:
    """Yield the sites of an attention; shared keys and values have sites in the earlier layer only."""
    assert part.n_kv_heads is not None and part.d_head is not None, "the spec is resolved"  # noqa: PT018
    heads, kv_heads = {"N": part.n_heads, "H": part.d_head}, {"K": part.n_kv_heads, "H": part.d_head}
    d_value = part.d_head if part.d_value is None else part.d_value
    is_cross, axis = reads == "source", "H" if part.d_value is None else "U"
    queries, keys = msg("queries"), _KEYS[is_cross]
    if change := _change(part):
        queries, keys = msg("queries, {change}", change=change), _CHANGED_KEYS[is_cross].fill(change=change)
    yield Site(name="q", axes="BNTH", description=queries, sizes=heads)
    if reads != "shared":
        axes = "BKSH" if is_cross else "BKTH"
        yield Site(name="k", axes=axes, description=keys, sizes=kv_heads, is_source=is_cross)
        yield Site(
            name="v",
            axes=axes.replace("H", axis),
            description=_VALUES[is_cross],
            sizes={"K": part.n_kv_heads, axis: d_value},
            is_source=is_cross,
        )
    is_biased = (
        isinstance(part.position, Alibi | RelativeBias | Disentangled | ContentBias) or part.key_bias is not None
    )
    if part.differential:
        axis, d_value = "U", 2 * d_value
    yield from softmax(part.n_heads, d_value, axis, SCORES[part.softcap is not None, is_biased], part.window, is_cross)
    if part.differential:
        sizes = {"N": part.n_heads // 2, axis: d_value}
        difference = msg("the difference of each pair of heads, normalized")
        yield Site(name="difference", axes=f"BNT{axis}", description=difference, sizes=sizes)
    yield from _gate(part.gate, part.n_heads, axis, d_value)
    yield states_site("out", msg("the output of attention"), width)


def _gate(part: Gate | None, n_heads: int, axis: str, d_value: int) -> Iterator[Site]:
    if part is not None:
        over, size = ("1", 1) if part.over == "head" else (axis, d_value)
        description = msg("the factors of each head's values")
        yield Site(name="gate", axes=f"BNT{over}", description=description, sizes={"N": n_heads, over: size})


def _change(part: Attention) -> Message | None:
    """Return a description of the norm and rotation of queries and keys, in order."""
    is_turned = isinstance(part.position, Rope)
    if part.qk_norm is None:
        return msg("rotated") if is_turned else None
    if not is_turned:
        return msg("normalized")
    return msg("rotated, normalized") if part.qk_norm.when == "after" else msg("normalized, rotated")


def latent_attention(part: LatentAttention, width: Sizes, reads: Reads) -> Iterator[Site]:
    """Yield the sites of latent attention."""
    heads = {"N": part.n_heads, "H": part.d_nope + part.d_rope}
    latent = msg("the tokens' latent, normalized: as cached")
    yield Site(name="latent", axes="BTC", description=latent, sizes={"C": part.kv_rank})
    shared, queries = (
        (msg("the tokens' key that all heads share: as cached"), msg("queries"))
        if part.position is None
        else (
            msg("the tokens' rotated key, shared by all heads: as cached"),
            msg("queries, the last d_rope dimensions rotated"),
        )
    )
    yield Site(name="k_shared", axes="B1TR", description=shared, sizes={"1": 1, "R": part.d_rope})
    keys, values = msg("keys, recomputed from the latents"), msg("values, recomputed from the latents")
    yield Site(name="k", axes="BNSH", description=keys, sizes=heads, window=part.window)
    value_sizes = {"N": part.n_heads, "U": part.d_v}
    yield Site(name="v", axes="BNSU", description=values, sizes=value_sizes, window=part.window)
    yield Site(name="q", axes="BNTH", description=queries, sizes=heads)
    if isinstance(part.indexer, Indexer):
        yield from _indexer(part.indexer)
    yield from softmax(part.n_heads, part.d_v, "U", SCORES[False, False], part.window, reads == "source")
    yield from _gate(part.gate, part.n_heads, "U", part.d_v)
    yield states_site("out", msg("the output of attention"), width)


def _indexer(part: Indexer) -> Iterator[Site]:
    """Yield the sites of an indexer."""
    heads = {"X": part.n_index_heads, "J": part.d_index}
    yield Site(name="index_q", axes="BXTJ", description=msg("the indexer's queries, rotated"), sizes=heads)
    keys = msg("the indexer's keys, rotated: as cached")
    yield Site(name="index_k", axes="B1TJ", description=keys, sizes={"1": 1, "J": part.d_index})
    scores = msg("the indexer's score of each key; −∞ where masked")
    yield Site(name="index_scores", axes="BTS", description=scores, sizes={})


def softmax(
    n_heads: int, d_value: int, axis: str, scores: Message, window: int | None, is_cross: bool
) -> Iterator[Site]:
    """Yield the sites that every softmax attention has. `scores` is the description of its scores."""
    for name, description in {"scores": scores, "pattern": msg("the softmax of the scores")}.items():
        yield Site(
            name=name,
            axes="BNTS",
            description=description,
            sizes={"N": n_heads},
            is_recomputed=True,
            has_source_keys=is_cross,
            window=window,
        )
    description = msg("each head's values, weighted by its pattern")
    yield Site(name="values", axes=f"BNT{axis}", description=description, sizes={"N": n_heads, axis: d_value})


def dense(part: Plain | Gated, width: Sizes, reads: Reads) -> Iterator[Site]:
    """Yield the sites of a feed-forward."""
    yield Site(name="hidden", axes="BTF", description=msg("hidden units, activated and gated"), sizes={"F": part.d_ff})
    yield states_site("out", msg("the output of the feed-forward"), width)


def per_layer_gate(part: PerLayerGate, width: Sizes, reads: Reads) -> Iterator[Site]:
    """Yield the sites of a gate on a layer's own embedding."""
    assert part.d_per_layer is not None, "the spec is resolved"
    hidden = msg("what the layer's own embedding passes on, gated")
    yield Site(name="hidden", axes="BTF", description=hidden, sizes={"F": part.d_per_layer})
    yield states_site("out", msg("the output of the feed-forward"), width)


def adapters(part: Adapters, width: Sizes, reads: Reads) -> Iterator[Site]:
    """Yield the sites of the one adapter that is computed."""
    hidden = msg("hidden units of the adapter, activated")
    yield Site(name="hidden", axes="BTF", description=hidden, sizes={"F": part.d_adapter})
    yield states_site("out", msg("the output of the feed-forward"), width)


def projection(part: StateProjection, width: Sizes, reads: Reads) -> Iterator[Site]:
    """Yield the site of a projection."""
    yield states_site("out", msg("the output of the projection"), width)


def product_keys(part: ProductKeys, width: Sizes, reads: Reads) -> Iterator[Site]:
    """Yield the sites of experts of one hidden unit each."""
    assert part.n_keys is not None, "the spec is resolved"
    chosen = {"k": part.n_active}
    scores = msg("two lists of scores, whose sums are those of the experts")
    yield Site(name="router", axes="BTE", description=scores, sizes={"E": 2 * part.n_keys})
    yield Site(name="chosen", axes="BTk", description=msg("the chosen experts' numbers (integers)"), sizes=chosen)
    yield Site(name="weights", axes="BTk", description=msg("the routing weights of the chosen experts"), sizes=chosen)
    hidden = msg("the hidden unit of each chosen expert, activated and weighted")
    yield Site(name="hidden", axes="BTk", description=hidden, sizes=chosen)
    yield states_site("out", msg("the output of the feed-forward"), width)


def mixture(part: MoE, width: Sizes, reads: Reads) -> Iterator[Site]:
    """Yield the sites of a mixture. Hidden units of routed experts have none: their order depends on the kernel."""
    chosen = {"k": part.n_active}
    if part.router_mlp is not None:
        state = msg("the router's state, before its norm")
        yield Site(name="router_state", axes="BTR", description=state, sizes={"R": part.router_mlp.d_router})
    yield Site(name="router", axes="BTE", description=msg("a logit for each expert"), sizes={"E": part.n_scores})
    yield Site(name="chosen", axes="BTk", description=msg("the chosen experts' numbers (integers)"), sizes=chosen)
    yield Site(name="weights", axes="BTk", description=msg("the routing weights of the chosen experts"), sizes=chosen)
    if part.scores_shared:
        description = msg("the routing weights of the shared experts")
        yield Site(name="shared_weights", axes="BTE", description=description, sizes={"E": part.n_shared})
    outputs = msg("the output of each chosen expert, before weighting")
    axis, size = ("D", width["D"]) if part.d_latent is None else ("C", part.d_latent)
    yield Site(name="experts", axes=f"BTk{axis}", description=outputs, sizes=chosen | {axis: size})
    if part.n_shared and not part.scores_shared:
        assert part.d_shared is not None, "the spec is resolved"
        hidden = {"F": part.n_shared * part.d_shared}
        yield Site(name="shared.hidden", axes="BTF", description=msg("the shared experts' hidden units"), sizes=hidden)
    yield states_site("out", msg("the output of the feed-forward"), width)


def find_sites(spec: Spec, *patterns: str) -> list[Site]:
    """Return the sites whose names match a pattern with * and ?. Raises InputError for a pattern without a site."""
    by_name = {site.name: site for site in sites(spec)}
    matches: dict[str, Site] = {}
    for pattern in patterns:
        # A pass may record hundreds of sites by their names.
        names = [pattern] if pattern in by_name else [name for name in by_name if fnmatchcase(name, pattern)]
        if not names:
            raise InputError(
                msg("{pattern} is not a site{hint}", pattern=shown(pattern), hint=nearest(pattern, list(by_name))),
                where=spec.name,
                allowed=msg("what `archcalc taps` lists"),
            )
        matches |= {name: by_name[name] for name in names}
    return list(matches.values())
