"""The texts of the boxes in a diagram: a function for each part."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from archcalc.render.diagram.shapes import BoxText
from archcalc.spec.activation import AnyActivation, CappedSwish, ClampedSwish, activation_name
from archcalc.spec.attention import Attention, Indexer, LatentAttention
from archcalc.spec.bottleneck import Bottleneck
from archcalc.spec.embedding import ExtraTable
from archcalc.spec.ffn import Adapters, Gated, MoE, PerLayerGate, Plain, ProductKeys, StateProjection
from archcalc.spec.layer import Arm, Stack
from archcalc.spec.model import Pooler, Spec, Transform
from archcalc.spec.norm import Affine, LayerNorm, Norm, RMSNorm
from archcalc.spec.position import (
    AttentionPosition,
    ContentBias,
    Disentangled,
    Learned,
    ProportionalScaling,
    RelativeBias,
    Rope,
)
from archcalc.spec.stream_variants import stream_implementation
from archcalc.spec.variants import implementation, variant
from archcalc.units import exact
from archcalc.words import Message, Translator, msg

_READS = {
    "first": msg("of the first token"),
    "last": msg("of the last token"),
    "mean": msg("of the mean over the tokens"),
    "pooled": msg("of the pooled state"),
}
_GATES = {
    "head": msg("{activation} gate on each head"),
    "channel": msg("{activation} gate on each channel"),
}
_ATTENTIONS = {
    "mha": msg("multi-head attention"),
    "gqa": msg("grouped-query attention"),
    "mqa": msg("multi-query attention"),
}

_NORMS: Final[dict[type, str]] = {LayerNorm: "LayerNorm", RMSNorm: "RMSNorm", Affine: "· w + b"}


def norm(part: Norm) -> BoxText:
    """Return the text of a norm."""
    return BoxText(_NORMS[type(part)], (), "norm")


def bottleneck(part: Bottleneck, say: Translator) -> Iterator[str]:
    """Yield what a layer does whose branches are narrower than its stream."""
    yield say(msg("projected to {n} and back, then added", n=exact(part.d_bottleneck)))
    if part.splits_attention:
        yield say(msg("queries and keys from a projection of their own, values from the layer's input"))
    elif part.has_keys:
        yield say(msg("a projection for queries and keys, never computed"))


def input_gate(rank: int, say: Translator) -> BoxText:
    """Return the text of the gate on what the parts of a branch read."""
    return BoxText(say(msg("× its own gate, rank {n}", n=exact(rank))), (), "norm")


def embed_norm(part: Norm, reads: str, say: Translator) -> BoxText:
    """Return the text of the norm on the embedding, before or after positions are added."""
    text = norm(part)
    return text if reads == "sum" else BoxText(text.title, (say(msg("before positions are added")),), text.component)


def part(arm: Arm, d_model: int, say: Translator, *, is_causal: bool) -> BoxText:
    """Return the text of a layer's part: its kind, its sizes, its mask."""
    component = variant(arm.part).component
    title, lines = implementation(arm.part, "label")(arm.part, d_model, say)
    if arm.reads in ("source", "nothing"):
        notes = [say(msg("stored, never computed"))] if arm.reads == "nothing" else []
        return BoxText(say(msg("cross-attention")), (*lines, *notes), component)
    masks = [say(msg("causal"))] if is_causal and variant(arm.part).mixes_tokens else []
    if window := getattr(arm.part, "window", None):
        is_chunked = getattr(arm.part, "is_chunked", False)
        masks.append(say((msg("chunks of {n}") if is_chunked else msg("window of {n}")).fill(n=exact(window))))
    if arm.input_of is not None:
        lines = [*lines, say(msg("reads the input of {name}", name=arm.input_of))]
    return BoxText(title, (*lines, *([" · ".join(masks)] if masks else [])), component)


def embedding(spec: Spec, stack: Stack, say: Translator) -> BoxText:
    """Return the text of the token embedding of a stack and of what is added to it."""
    table = stack.position
    width, factor = exact(spec.d_model), spec.embedding.factor
    lines = [f"{exact(spec.vocab_size)} × {exact(factor.d_embed) if factor else width}"]
    if factor:
        lines.append(say(msg("{inner}, projected to {width}", inner=exact(factor.d_embed), width=width)))
        if factor.n_neighbors:
            lines.append(say(msg("beside it {n} tokens on each side", n=exact(factor.n_neighbors))))
    if spec.embedding.n_token_types:
        lines.append(say(msg("+ {n} token types", n=spec.embedding.n_token_types)))
    lines += [say(_extra_table(extra)) for extra in spec.embedding.tables]
    if spec.embedding.join:
        lines.append(say(msg("all projected to {width}", width=width)))
    lines += _stack_lines(spec, stack, say)
    if spec.embedding.token_dropout:
        lines.append(say(msg("masked tokens zeroed, others rescaled")))
    if isinstance(table, Learned):
        lines.append(say(msg("+ learned positions: {n} × {width}", n=exact(spec.n_ctx + table.n_extra), width=width)))
    elif table is not None:
        lines.append(say(msg("+ sinusoidal positions")))
    return BoxText(say(msg("token embedding")), tuple(lines), "embedding")


def _stack_lines(spec: Spec, stack: Stack, say: Translator) -> Iterator[str]:
    """Yield what a stack has besides one residual stream of the text's tokens."""
    if stack.streams:
        yield stream_implementation(stack.streams, "label")(stack.streams, say)
    if stack.cycles:
        yield say(msg("{n} cycles: {low} low runs, then a high one", n=stack.cycles.n_high, low=stack.cycles.n_low))
    if stack.soft_prompt:
        yield say(msg("after {n} rows of a soft prompt", n=exact(stack.soft_prompt.n_tokens)))
    if stack.global_tokens:
        yield say(msg("then {n} global tokens", n=exact(stack.global_tokens.n_tokens)))
    if stack.per_layer:
        yield say(msg("own numbers for each layer: {n} rows", n=exact(stack.per_layer.n_rows or spec.vocab_size)))


def _extra_table(part: ExtraTable) -> Message:
    n_rows = exact(part.n_rows)
    if part.use == "joined":
        return msg("beside it {name}: {n} × {width}", name=part.name, n=n_rows, width=exact(part.d_table or 0))
    if part.use == "stored":
        return msg("{name}: {n} rows, never read", name=part.name, n=n_rows)
    if part.n_reads > 1:
        return msg("+ {name}: {n} rows, {reads} for each token", name=part.name, n=n_rows, reads=exact(part.n_reads))
    return msg("+ {name}: {n} rows", name=part.name, n=n_rows)


def head(spec: Spec, say: Translator) -> BoxText:
    """Return the text of the head."""
    part = spec.head
    assert part is not None
    factor = spec.embedding.factor.d_embed if spec.embedding.factor and part.tied else None
    d_in = factor or part.d_in
    width = exact(d_in or spec.d_model)
    lines = [say(msg("tied to the token embedding"))] if part.tied else []
    if part.labels and part.labels.reads != "every":
        lines.append(say(_READS[part.labels.reads]))
    if part.transform:
        lines.append(_transform(part.transform, say))
    elif d_in and not part.own_columns:
        lines.append(say(msg("projected to {width} first", width=width)))
    if part.bias_buffer:
        lines.append(say(msg("bias buffer")))
    if part.softcap:
        lines.append(say(msg("softcap {value}", value=f"{part.softcap:g}")))
    if part.n_scored is not None:
        lines.append(say(msg("{n} tokens are scored", n=exact(part.n_scored))))
    if part.labels:
        return BoxText(
            say(msg("labels: {width} → {n}", width=width, n=exact(part.labels.n_labels))), tuple(lines), "head"
        )
    return BoxText(
        say(msg("output head: {width} → {vocab}", width=width, vocab=exact(spec.vocab_size))), tuple(lines), "head"
    )


def product_keys(part: ProductKeys, d_model: int, say: Translator) -> tuple[str, list[str]]:
    """Return the heading and the lines of experts of one hidden unit each."""
    experts = say(msg("{active} of {n} experts per token", active=exact(part.n_active), n=exact(part.n_experts)))
    keys = say(msg("chosen by {n} × {n} keys", n=exact(part.n_keys or 0)))
    return say(msg("experts of one unit")), [experts, keys, _activation(part.activation)]


def _transform(part: Transform, say: Translator) -> str:
    if part.d_hidden:
        return say(
            msg(
                "dense to {inner}, {activation}, dense, {activation} first",
                inner=exact(part.d_hidden),
                activation=part.activation,
            )
        )
    text = msg("dense, {activation}, norm first") if part.norm else msg("dense, {activation} first")
    return say(text.fill(activation=part.activation))


def pooler(part: Pooler, say: Translator) -> BoxText:
    """Return the text of the pooler."""
    return BoxText(
        say(msg("pooler")), (say(msg("dense, {activation} on the first token", activation=part.activation)),), "other"
    )


def prediction_modules(n: int, say: Translator) -> BoxText:
    """Return the text of the modules of multi-token prediction."""
    return BoxText(say(msg("{n} × MTP module", n=n)))


def attention(part: Attention, d_model: int, say: Translator) -> tuple[str, list[str]]:
    """Return the heading and the lines of attention."""
    n_kv_heads, width = part.n_kv_heads or part.n_heads, part.d_head or 0
    kind = "mha" if n_kv_heads == part.n_heads else "mqa" if n_kv_heads == 1 else "gqa"
    lines = [say(msg("{n} heads × {width}", n=exact(part.n_heads), width=exact(width)))]
    if part.d_value is not None:
        lines.append(say(msg("values {width} wide", width=exact(part.d_value))))
    if kind != "mha":
        lines.append(say(msg("{n} key/value heads", n=exact(n_kv_heads))))
    lines += positions(part.position, width, say)
    more = [say(msg("norm on q and k"))] if part.qk_norm else []
    more += [say(msg("sinks"))] if part.sinks else []
    more += [say(msg("sinks of each token"))] if part.token_sinks else []
    more += [say(msg("k and v convolved over {n} tokens", n=exact(part.d_conv)))] if part.d_conv else []
    more += [say(msg("weights by token"))] if part.conv_by_token else []
    more += [say(msg("a bias of each key"))] if part.key_bias else []
    if part.key_bias and part.key_bias.n_kept is not None:
        more.append(say(msg("at most {n} keys for a query", n=exact(part.key_bias.n_kept))))
    more += [say(msg("softcap {value}", value=f"{part.softcap:g}"))] if part.softcap else []
    more += [say(msg("q, k, v within ±{value}", value=f"{part.clip:g}"))] if part.clip else []
    more += [say(msg("q, k no longer than {value}", value=f"{part.qk_clip:g}"))] if part.qk_clip else []
    more += [say(msg("q scaled by position"))] if part.temperature else []
    after = [say(_GATES[part.gate.over].fill(activation=part.gate.activation))] if part.gate else []
    after += [say(msg("pairs of heads subtracted, normalized"))] if part.differential else []
    after += [say(msg("norm on the heads' outputs"))] if part.out_norm else []
    after += [say(msg("projections in groups"))] if part.is_grouped else []
    after += [say(msg("reads the first layer's input too"))] if part.reads_embedding else []
    after += _low_rank(part, say)
    return say(_ATTENTIONS[kind]), lines + [" · ".join(words) for words in (more, after) if words]


def _low_rank(part: Attention | Gated, say: Translator) -> list[str]:
    """Return the line of low-rank pairs, if there are any."""
    if part.low_rank is None:
        return []
    own = part.low_rank
    number, rank = exact(own.active + 1), exact(own.pair_rank)
    return [say(msg("low-rank pair {i} of {n}, rank {rank}", i=number, n=exact(own.n_pairs), rank=rank))]


def latent(part: LatentAttention, d_model: int, say: Translator) -> tuple[str, list[str]]:
    """Return the heading and the lines of latent attention."""
    latents = {"kv": exact(part.kv_rank), "q": exact(part.q_rank or 0)}
    lines = [
        say(msg("{n} heads × {width}", n=exact(part.n_heads), width=exact(part.d_nope + part.d_rope))),
        say((msg("latents: kv {kv}, q {q}") if part.q_rank else msg("latent: kv {kv}")).fill(**latents)),
        say(
            msg(
                "a head: {nope} + {rope} with position, v {v}",
                nope=exact(part.d_nope),
                rope=exact(part.d_rope),
                v=exact(part.d_v),
            )
        ),
        *positions(part.position, part.d_rope, say),
        *([say(msg("latents × √(width / rank)"))] if part.scale_latents else []),
        *([say(msg("norm on the rotary key"))] if part.key_norm else []),
        *([say(msg("queries of the latent, normed and raw"))] if part.raw_latent else []),
    ]
    if part.sinks:
        lines.append(say(msg("sinks")))
    if part.gate is not None:
        lines.append(say(_GATES[part.gate.over].fill(activation=part.gate.activation)))
    if isinstance(part.indexer, Indexer):
        heads, width = exact(part.indexer.n_index_heads), exact(part.indexer.d_index)
        lines.append(say(msg("indexer: {n} heads × {width}", n=heads, width=width)))
    if part.indexer is not None:
        lines.append(say(msg("{n} keys selected for each query", n=exact(part.indexer.n_selected))))
    return say(msg("latent attention (MLA)")), lines


def positions(part: AttentionPosition | None, width: int, say: Translator) -> Iterator[str]:
    """Yield the lines of an attention's positions."""
    if isinstance(part, Rope):
        theta, d_rotary = f"{part.theta:,.10g}", part.d_rotary or width
        if isinstance(part.scaling, ProportionalScaling):
            d_rotary = 2 * part.scaling.n_pairs
        rotary = msg("RoPE, θ {theta}") if d_rotary == width else msg("RoPE on {n} of {width}, θ {theta}")
        yield say(rotary.fill(n=d_rotary, width=width, theta=theta))
        if part.scaling and part.scaling.factor != 1:
            yield say(msg("scaled × {factor}", factor=f"{part.scaling.factor:g}"))
    elif isinstance(part, RelativeBias):
        yield say(msg("relative bias, {n} buckets", n=part.n_buckets))
    elif isinstance(part, Disentangled):
        yield say(msg("relative positions, {n} distances", n=part.n_distances))
    elif isinstance(part, ContentBias):
        yield say(msg("bias of {n} distances by content", n=exact(part.n_distances)))
    elif part is not None:
        yield say(msg("ALiBi"))


def dense(part: Plain | Gated, d_model: int, say: Translator) -> tuple[str, list[str]]:
    """Return the heading and the lines of a feed-forward."""
    lines = [
        say(msg("{width} → {inner} → {width}", width=exact(d_model), inner=exact(part.d_ff))),
        _activation(part.activation),
    ]
    if isinstance(part, Gated) and part.sparsity is not None:
        lines.append(say(msg("{share} of the gates are 0", share=f"{part.sparsity:.4g}")))
    if isinstance(part, Gated):
        lines += _low_rank(part, say)
    if isinstance(part, Gated) and part.out_scale:
        lines.append(say(msg("output × a learned number")))
    if isinstance(part, Plain) and part.is_grouped:
        lines.append(say(msg("projections in groups")))
    kind = msg("gated feed-forward") if isinstance(part, Gated) else msg("feed-forward")
    return say(kind), lines + ([norm(part.down_norm).title] if part.down_norm else [])


def _activation(part: AnyActivation) -> str:
    if isinstance(part, ClampedSwish):
        return f"{activation_name(part)} ≤ {part.limit:g}, α {part.alpha:g}"
    if isinstance(part, CappedSwish):
        return f"{activation_name(part)} ±{part.cap:g}"
    return part


def moe(part: MoE, d_model: int, say: Translator) -> tuple[str, list[str]]:
    """Return the heading and the lines of a mixture of experts."""
    experts = say(msg("{active} of {n} experts per token", active=exact(part.n_active), n=exact(part.n_experts)))
    width = exact(part.d_latent or d_model)
    lines = [experts, say(msg("{width} → {inner} → {width}", width=width, inner=exact(part.d_expert)))]
    if part.d_latent is not None:
        lines.insert(1, say(msg("latent of width {n}", n=width)))
    lines.append(_activation(part.activation))
    if part.n_zero:
        returns = {"input": msg("or of {n} that return their input"), "nothing": msg("or of {n} that return nothing")}
        lines.append(say(returns[part.zero_returns].fill(n=exact(part.n_zero))))
    if part.n_shared:
        shared = msg("{n} shared experts, weighted") if part.scores_shared else msg("{n} shared experts")
        lines.append(say(shared.fill(n=part.n_shared)))
    if part.router_mlp is not None:
        lines.append(say(msg("a router of three layers, {n} wide", n=exact(part.router_mlp.d_router))))
        if part.router_mlp.adds_previous:
            lines.append(say(msg("it adds the state of the router before")))
    if part.router_norm or part.input_norm:
        lines.append(say(msg("norms of what router and experts read")))
    return say(msg("mixture of experts")), lines


def per_layer_gate(part: PerLayerGate, d_model: int, say: Translator) -> tuple[str, list[str]]:
    """Return the heading and the lines of a gate on a layer's own embedding."""
    sizes = say(msg("{width} → {inner} → {width}", width=exact(d_model), inner=exact(part.d_per_layer or 0)))
    return say(msg("gate on the layer's own embedding")), [sizes, _activation(part.activation)]


def adapters(part: Adapters, d_model: int, say: Translator) -> tuple[str, list[str]]:
    """Return the heading and the lines of adapters."""
    sizes = say(msg("{width} → {inner} → {width}", width=exact(d_model), inner=exact(part.d_adapter)))
    number = say(msg("number {i} of {n}", i=exact(part.active + 1), n=exact(part.n_adapters)))
    return say(msg("adapter")), [number, sizes, _activation(part.activation)]


def projection(part: StateProjection, d_model: int, say: Translator) -> tuple[str, list[str]]:
    """Return the heading and the lines of a projection."""
    return say(msg("projection")), [f"{exact(d_model)} × {exact(d_model)}"]
