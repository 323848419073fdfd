"""How papers count a training step's FLOPs, beside the exact count: whose MFU used which.

Each convention is a function of a model's exact totals and shape; none looks at more than its authors say it does.
They were written for decoders, and are given for those alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from archcalc.analysis.flops import summary as flops_summary
from archcalc.analysis.params import Summary
from archcalc.analysis.params import summary as params_summary
from archcalc.errors import InputError
from archcalc.ledger.rows import Ledger
from archcalc.spec.groups import layers_of
from archcalc.spec.model import Spec
from archcalc.spec.variants import Heads, heads_of
from archcalc.spec.workload import Workload
from archcalc.words import Message, msg


class Shape(msgspec.Struct, frozen=True):
    """What the formulas read of a model and a workload."""

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
    """A way of counting: its name, its formula in words, where it stands, and FLOPs of a step by it."""

    name: str | Message
    formula: str | Message
    source: str | Message
    count: Callable[[Shape], int]

    @property
    def is_exact(self) -> bool:
        """Whether it is a count of this ledger, and no paper's."""
        return self.source == _OWN


_OWN = msg("this ledger")


def _six_n(s: Shape, which: Literal["total", "non_embedding", "active"]) -> int:
    return 6 * s.params[which] * s.n_tokens


def _kaplan(s: Shape) -> int:
    return 3 * s.n_tokens * (2 * s.params["non_embedding"] + 2 * s.seq * sum(s.attention_widths))


def _palm(s: Shape) -> int:
    return s.n_tokens * (6 * s.params["total"] + 12 * s.seq * sum(s.attention_widths))


def _chinchilla(s: Shape) -> int:
    """Products with the vocabulary at both ends; a layer's QKV, logits, softmax, reduction, output, dense block."""
    ends = 2 * 2 * s.vocab_size * s.d_model
    attention = sum(8 * s.d_model * width + 4 * s.seq * width for width in s.attention_widths)
    softmax = 3 * s.seq * sum(s.n_heads)
    return 3 * s.n_tokens * (ends + attention + softmax + 2 * s.ffn_macs)


def _megatron(s: Shape) -> int:
    """72·B·s·l·h²·(1 + s/(6h) + V/(12lh)), multiplied out: without recomputation."""
    layers = s.n_layers * (72 * s.d_model**2 + 12 * s.seq * s.d_model)
    return s.n_tokens * (layers + 6 * s.vocab_size * s.d_model)


CONVENTIONS = (
    Convention(msg("exact, full"), msg("every matmul, every key held"), _OWN, lambda s: 3 * s.forward),
    Convention(msg("exact, causal"), msg("every matmul, attended pairs alone"), _OWN, lambda s: 3 * s.forward_causal),
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


class Counted(msgspec.Struct, frozen=True):
    """A convention's FLOPs of a training step, and how far from the exact full count that is."""

    convention: Convention
    train_step: int
    exact: int

    @property
    def off(self) -> float:
        """The difference from exact, as a fraction of it."""
        return (self.train_step - self.exact) / self.exact


def counted(spec: Spec, ledger: Ledger, work: Workload) -> list[Counted]:
    """A training step's FLOPs by every convention.

    Raises InputError for what is no decoder: none of the formulas says what an encoder would cost.
    """
    if spec.family != "decoder":
        raise InputError(
            msg("{name} is an {family}", name=spec.name, family=spec.family),
            where="conventions",
            allowed=msg("a decoder"),
        )
    shape = _shape(spec, ledger, work)
    return [Counted(convention, convention.count(shape), 3 * shape.forward) for convention in CONVENTIONS]


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
    """All heads' width: the mean of what their scores and their values run over."""
    return heads.n_heads * (heads.d_key + heads.d_value) // 2
