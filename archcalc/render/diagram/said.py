"""What the diagram says of each part of a spec: one function a variant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from archcalc.render.diagram.shapes import Said
from archcalc.render.lang import Words
from archcalc.spec.activation import AnyActivation, ClampedSwish, name_of
from archcalc.spec.attention import Attention, LatentAttention
from archcalc.spec.ffn import Gated, MoE, Plain
from archcalc.spec.layer import Arm
from archcalc.spec.model import Pooler, Spec, Transform
from archcalc.spec.norm import LayerNorm, Norm, RMSNorm
from archcalc.spec.position import Alibi, Learned, RelativeBias, Rope, Sinusoidal
from archcalc.spec.variants import reading, variant
from archcalc.units import exact

_NORMS: Final[dict[type, str]] = {LayerNorm: "LayerNorm", RMSNorm: "RMSNorm"}


def norm(part: Norm) -> Said:
    """A norm, by its name."""
    return Said(_NORMS[type(part)], (), "norm")


def embed_norm(part: Norm, reads: str, say: Words) -> Said:
    """The norm on the embedding, which may leave positions out."""
    said = norm(part)
    return said if reads == "sum" else Said(said.title, (say("diagram.before_positions"),), said.component)


def part(arm: Arm, d_model: int, say: Words, *, is_causal: bool) -> Said:
    """A layer's part: what it is, its sizes, and what limits what it looks at."""
    component = variant(arm.part).component
    title, lines = reading(arm.part, "label")(arm.part, d_model, say)
    if arm.reads in ("source", "nothing"):
        idle = [say("diagram.idle")] if arm.reads == "nothing" else []
        return Said(say("diagram.cross"), (*lines, *idle), component)
    seen = [say("diagram.causal")] if is_causal and variant(arm.part).mixes_tokens else []
    if window := getattr(arm.part, "window", None):
        seen.append(say("diagram.window", n=exact(window)))
    return Said(title, (*lines, *([" · ".join(seen)] if seen else [])), component)


def embedding(spec: Spec, table: Learned | Sinusoidal | None, say: Words) -> Said:
    """The token table, and what is added to what it gives."""
    width, factor = exact(spec.d_model), spec.embedding.factor
    lines = [f"{exact(spec.vocab_size)} × {exact(factor.d_embed) if factor else width}"]
    if factor:
        lines.append(say("diagram.factor", inner=exact(factor.d_embed), width=width))
    if spec.embedding.n_token_types:
        lines.append(say("diagram.types", n=spec.embedding.n_token_types))
    lines += [say("diagram.table", name=one.name, n=exact(one.n_rows)) for one in spec.embedding.tables]
    if spec.embedding.token_dropout:
        lines.append(say("diagram.token_dropout"))
    if isinstance(table, Learned):
        lines.append(say("diagram.learned", n=exact(spec.n_ctx + table.n_extra), width=width))
    elif table is not None:
        lines.append(say("diagram.sinusoidal"))
    return Said(say("diagram.embedding"), tuple(lines), "embedding")


def head(spec: Spec, say: Words) -> Said:
    """From states to logits."""
    part = spec.head
    assert part is not None
    factor = spec.embedding.factor.d_embed if spec.embedding.factor and part.tied else None
    narrow = factor or part.d_in
    width = exact(narrow or spec.d_model)
    lines = [say("diagram.tied")] if part.tied else []
    if part.labels and part.labels.reads != "every":
        lines.append(say(f"diagram.reads_{part.labels.reads}"))
    if part.transform:
        lines.append(_transform(part.transform, say))
    elif narrow:
        lines.append(say("diagram.narrowed", width=width))
    if part.bias_buffer:
        lines.append(say("diagram.bias_buffer"))
    if part.softcap:
        lines.append(say("diagram.softcap", value=f"{part.softcap:g}"))
    if part.labels:
        return Said(say("diagram.labels", width=width, n=exact(part.labels.n_labels)), tuple(lines), "head")
    return Said(say("diagram.head", width=width, vocab=exact(spec.vocab_size)), tuple(lines), "head")


def _transform(part: Transform, say: Words) -> str:
    if part.d_hidden:
        return say("diagram.transform_two", inner=exact(part.d_hidden), activation=part.activation)
    return say("diagram.transform" if part.norm else "diagram.transform_bare", activation=part.activation)


def pooler(part: Pooler, say: Words) -> Said:
    """A dense layer on one state."""
    return Said(say("diagram.pooler"), (say("diagram.pooler_of", activation=part.activation),), "other")


def attention(part: Attention, d_model: int, say: Words) -> tuple[str, list[str]]:
    """Return the heading and the lines of attention."""
    n_kv_heads, width = part.n_kv_heads or part.n_heads, part.d_head or 0
    kind = "mha" if n_kv_heads == part.n_heads else "mqa" if n_kv_heads == 1 else "gqa"
    lines = [say("diagram.heads", n=exact(part.n_heads), width=exact(width))]
    if part.d_value is not None:
        lines.append(say("diagram.d_value", width=exact(part.d_value)))
    if kind != "mha":
        lines.append(say("diagram.kv_heads", n=exact(n_kv_heads)))
    lines += _positions(part.position, width, say)
    more = [say("diagram.qk_norm")] if part.qk_norm else []
    more += [say("diagram.sinks")] if part.sinks else []
    more += [say("diagram.softcap", value=f"{part.softcap:g}")] if part.softcap else []
    more += [say("diagram.clip", value=f"{part.clip:g}")] if part.clip else []
    more += [say("diagram.temperature")] if part.temperature else []
    after = [say(f"diagram.gate_{part.gate.over}", activation=part.gate.activation)] if part.gate else []
    after += [say("diagram.out_norm")] if part.out_norm else []
    return say(f"diagram.{kind}"), lines + [" · ".join(words) for words in (more, after) if words]


def latent(part: LatentAttention, d_model: int, say: Words) -> tuple[str, list[str]]:
    """Return the heading and the lines of latent attention."""
    latents = {"kv": exact(part.kv_rank), "q": exact(part.q_rank or 0)}
    lines = [
        f"{say('diagram.heads', n=exact(part.n_heads), width=exact(part.d_nope + part.d_rope))}",
        say("diagram.latent" if part.q_rank else "diagram.latent_kv", **latents),
        say("diagram.mla_widths", nope=exact(part.d_nope), rope=exact(part.d_rope), v=exact(part.d_v)),
        *_positions(part.position, part.d_rope, say),
    ]
    return say("diagram.mla"), lines


def _positions(part: Rope | Alibi | RelativeBias | None, width: int, say: Words) -> Iterator[str]:
    if isinstance(part, Rope):
        theta, turned = f"{part.theta:,.10g}", part.d_rotary or width
        all_of_it = turned == width
        yield say("diagram.rope" if all_of_it else "diagram.rope_part", n=turned, width=width, theta=theta)
        if part.scaling:
            yield say("diagram.scaled", factor=f"{part.scaling.factor:g}")
    elif isinstance(part, RelativeBias):
        yield say("diagram.relative", n=part.n_buckets)
    elif part is not None:
        yield say("diagram.alibi")


def dense(part: Plain | Gated, d_model: int, say: Words) -> tuple[str, list[str]]:
    """Return the heading and the lines of a feed-forward."""
    kind = "gated" if isinstance(part, Gated) else "plain"
    lines = [say("diagram.widths", width=exact(d_model), inner=exact(part.d_ff)), _activation(part.activation)]
    return say(f"diagram.{kind}"), lines + ([norm(part.down_norm).title] if part.down_norm else [])


def _activation(part: AnyActivation) -> str:
    if isinstance(part, ClampedSwish):
        return f"{name_of(part)} ≤ {part.limit:g}, α {part.alpha:g}"
    return part


def moe(part: MoE, d_model: int, say: Words) -> tuple[str, list[str]]:
    """Return the heading and the lines of a mixture of experts."""
    chosen = say("diagram.experts", active=exact(part.n_active), n=exact(part.n_experts))
    lines = [chosen, say("diagram.widths", width=exact(d_model), inner=exact(part.d_expert))]
    lines.append(_activation(part.activation))
    if part.n_shared:
        lines.append(say("diagram.n_shared", n=part.n_shared))
    return say("diagram.moe"), lines
