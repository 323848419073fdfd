"""The FLOPs of a training step as papers count them, beside the exact count.

Each convention is a function of a model's exact totals and shape, and reads no more of them than its paper says. They
are defined for decoders only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

import msgspec

from archcalc.analysis.flops import summary as flops_summary
from archcalc.analysis.params import Summary
from archcalc.analysis.params import summary as params_summary
from archcalc.errors import InputError
from archcalc.ledger.rows import Ledger
from archcalc.results import Row, Sureness, count, data, number, text
from archcalc.spec.groups import layers_of
from archcalc.spec.model import Spec
from archcalc.spec.variants import Heads, heads_of
from archcalc.spec.workload import Workload
from archcalc.words import Message, in_context, msg


class Shape(msgspec.Struct, frozen=True):
    """The sizes of a model and a workload that the conventions read."""

    params: Summary
    forward: int
    forward_causal: int
    n_layers: int
    d_model: int
    vocab_size: int
    attention_widths: tuple[int, ...]
    n_heads: tuple[int, ...]
    ffn_macs: int
    seq: int
    n_tokens: int


class Convention(msgspec.Struct, frozen=True):
    """A way to count: its name, its formula, its source, and its FLOPs of a training step."""

    name: str | Message
    expression: str | Message
    source: str | Message
    count: Callable[[Shape], int]


_OWN = msg("exact count")


def _six_n(s: Shape, which: Literal["total", "non_embedding", "active"]) -> int:
    return 6 * s.params[which] * s.n_tokens


def _kaplan(s: Shape) -> int:
    return 3 * s.n_tokens * (2 * s.params["non_embedding"] + 2 * s.seq * sum(s.attention_widths))


def _palm(s: Shape) -> int:
    return s.n_tokens * (6 * s.params["total"] + 12 * s.seq * sum(s.attention_widths))


def _chinchilla(s: Shape) -> int:
    """Count embedding and head; of each layer QKV, logits, softmax, reduction, output, dense block."""
    ends = 2 * 2 * s.vocab_size * s.d_model
    attention = sum(8 * s.d_model * width + 4 * s.seq * width for width in s.attention_widths)
    softmax = 3 * s.seq * sum(s.n_heads)
    return 3 * s.n_tokens * (ends + attention + softmax + 2 * s.ffn_macs)


def _megatron(s: Shape) -> int:
    """Return 72·B·s·l·h²·(1 + s/(6h) + V/(12lh)), multiplied out: without recomputation."""
    layers = s.n_layers * (72 * s.d_model**2 + 12 * s.seq * s.d_model)
    return s.n_tokens * (layers + 6 * s.vocab_size * s.d_model)


CONVENTIONS = (
    Convention(msg("exact, full"), msg("every matmul, every key held"), _OWN, lambda s: 3 * s.forward),
    Convention(msg("exact, causal"), msg("every matmul, attended pairs only"), _OWN, lambda s: 3 * s.forward_causal),
    Convention(
        msg("6N, total"), "6·total·tokens", msg("Kaplan et al. 2020, with all of N"), lambda s: _six_n(s, "total")
    ),
    Convention(
        msg("6N, non-embedding"),
        "6·non_embedding·tokens",
        "Kaplan et al. 2020, arXiv:2001.08361, section 2.1",
        lambda s: _six_n(s, "non_embedding"),
    ),
    Convention(msg("6N, active"), "6·active·tokens", msg("6N for mixtures of experts"), lambda s: _six_n(s, "active")),
    Convention(
        "Kaplan",
        msg("3·tokens·(2N + 2·L·n_ctx·d_attn), N non-embedding"),
        "Kaplan et al. 2020, arXiv:2001.08361, Table 1",
        _kaplan,
    ),
    Convention("Chinchilla", "3·forward", "Hoffmann et al. 2022, arXiv:2203.15556, appendix F", _chinchilla),
    Convention(
        "PaLM",
        msg("tokens·(6N + 12·L·H·Q·T), N total"),
        "Chowdhery et al. 2022, arXiv:2204.02311, appendix B",
        _palm,
    ),
    Convention(
        "Megatron",
        msg("72·B·s·l·h²·(1 + s/6h + V/12lh), no recomputation"),
        "Narayanan et al. 2021, arXiv:2104.04473, section 5.1",
        _megatron,
    ),
)


class ConventionFlops(Row, frozen=True, kw_only=True):
    """The FLOPs of a training step by one convention, and their difference from the exact count over all keys.

    `expression` is the convention's formula. Counts of this ledger are exact, those of papers modeled.
    """

    convention: Annotated[str | Message, text(msg("convention"))]
    train_step: Annotated[int, count(msg("training step"), rounded="count")]
    difference: Annotated[float, number(msg("difference from exact"), "change")]
    expression: Annotated[str | Message, text(msg("formula"))]
    source: Annotated[str | Message, text(in_context("of a figure", "source"))]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))]


def convention_flops(spec: Spec, ledger: Ledger, work: Workload) -> list[ConventionFlops]:
    """Return the FLOPs of a training step by every convention.

    Raises InputError for a model that is not a decoder: no formula covers an encoder.
    """
    if spec.family != "decoder":
        raise InputError(
            msg("{name} is an {family}", name=spec.name, family=spec.family),
            where="conventions",
            allowed=msg("a decoder"),
        )
    shape = _shape(spec, ledger, work)
    return [_row(convention, convention.count(shape), 3 * shape.forward) for convention in CONVENTIONS]


def _row(convention: Convention, train_step: int, exact: int) -> ConventionFlops:
    return ConventionFlops(
        convention=convention.name,
        train_step=train_step,
        difference=(train_step - exact) / exact,
        expression=convention.expression,
        source=convention.source,
        kind="exact" if convention.source == _OWN else "modeled",
    )


def _shape(spec: Spec, ledger: Ledger, work: Workload) -> Shape:
    flops = flops_summary(ledger, work)
    stack = spec.stacks[0].stack
    layers = layers_of(stack)
    return Shape(
        params=params_summary(ledger),
        forward=flops["forward"],
        forward_causal=flops["forward_causal"],
        n_layers=len(layers),
        d_model=spec.d_model,
        vocab_size=spec.vocab_size,
        attention_widths=tuple(sum(map(_width, heads_of(layer))) for layer in layers),
        n_heads=tuple(heads.n_heads for layer in layers for heads in heads_of(layer)),
        ffn_macs=sum(row.active for row in ledger.counted_rows if row.component == "ffn" and not row.is_bias),
        seq=work.seq,
        n_tokens=work.batch * work.seq,
    )


def _width(heads: Heads) -> int:
    """Return the width of all heads: the mean of the widths of their keys and their values."""
    return heads.n_heads * (heads.d_key + heads.d_value) // 2
