"""Saved activations of a training step as a paper counts them, beside the exact count: term by term.

The formulas are those of Korthikanti et al. 2022, arXiv:2205.05198, section 4: bytes of a GPT layer in half precision,
of s tokens, b sequences, h wide, with a heads, and v words; on each of t devices that share the layer. Its letters are
kept here. They were written for decoders with a feed-forward of 4h, and are given for any decoder as they stand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from fractions import Fraction
from typing import Annotated, Literal, get_args

import msgspec
from msgspec import structs

from archcalc.analysis.activations import ActivationBytes, activation_bytes, sureness
from archcalc.analysis.closed_form import Rewriter
from archcalc.analysis.tensor_names import module_name, tensor_name
from archcalc.analysis.value_names import RECOMPUTE_NAMES
from archcalc.errors import InputError
from archcalc.ledger.algebra import Poly, product
from archcalc.ledger.build import build
from archcalc.ledger.rows import Ledger, SavedActivationRow
from archcalc.results import Result, Row, Sureness, count, data, number, text
from archcalc.spec.execution import Execution, Recompute
from archcalc.spec.groups import layers_of
from archcalc.spec.model import Spec
from archcalc.spec.variants import heads_of
from archcalc.spec.workload import Workload
from archcalc.words import Message, in_context, joined, msg

SOURCE = "Korthikanti et al. 2022, arXiv:2205.05198"

# The execution that comes nearest to the paper's setting: half precision, every product of attention written out,
# dropout in all places with a mask of bytes. Its softmax, unlike the paper's, is kept in float32.
NEAREST = Execution(dtype="fp16", attention="eager", device="cuda")

Numbers = Literal["sbh", "as²b", "sbv"]

NUMBERS: dict[Numbers, Poly] = {
    "sbh": product(map(Poly.symbol, ("seq", "batch", "d_model"))),
    "as²b": product(map(Poly.symbol, ("n_heads", "seq", "seq", "batch"))),
    "sbv": product(map(Poly.symbol, ("seq", "batch", "vocab_size"))),
}


class Term(msgspec.Struct, frozen=True):
    """One tensor of the paper: its bytes, how devices share it, and its names in the ledger.

    `is_split`: tensor parallelism divides it; sequence parallelism divides the others too. `patterns` match the module
    and the label of the same tensor in the ledger. `note` says why bytes may differ.
    """

    name: Message
    factor: int
    numbers: Numbers
    patterns: tuple[str, ...]
    is_split: bool = True
    note: str | Message = ""

    @property
    def formula(self) -> str:
        """Return the formula of the paper: '2sbh'."""
        return f"{self.factor if self.factor > 1 else ''}{self.numbers}"

    @property
    def bytes(self) -> Poly:
        """Return the bytes in the symbols of a ledger."""
        return self.factor * NUMBERS[self.numbers]

    @property
    def is_square(self) -> bool:
        """Return whether it grows with the square of the sequence, and is dropped by selective recomputation."""
        return self.numbers == "as²b"


_MASK = msg("kept if there is dropout; on a GPU a byte a number, elsewhere a factor in the activations' dtype")
_SOFTMAX = msg("in float32 where it is kept, whatever the dtype; a flash kernel keeps none")
_WEIGHTS = msg("a flash kernel keeps none, the math kernel keeps it in float32")
_DENSE = msg("of dense layers alone, and once where attention reads the same")
_HEADS = msg("the paper has a·d_head = h, in 2 bytes a number")
_NORM = msg("the paper has a LayerNorm in half precision")
_WIDE = msg("the paper has d_ff = 4h, and an activation of one input; of dense layers alone")

# Section 4.1, in the order of its text. Where tensor parallelism leaves a tensor whole: section 4.2.1.
LAYER = (
    Term(msg("input of Q, K and V"), 2, "sbh", ("attn.[qkv] *", "attn.*_down *"), is_split=False),
    Term(msg("Q, K and V"), 6, "sbh", ("attn.scores *", "attn.values v*", "attn.core [qkv]*"), note=_HEADS),
    Term(msg("softmax"), 2, "as²b", ("attn.softmax pattern*",), note=_SOFTMAX),
    Term(msg("softmax's dropout mask"), 1, "as²b", ("attn.softmax dropout mask",), note=_MASK),
    Term(msg("what dropout leaves of it"), 2, "as²b", ("attn.values pattern*",), note=_WEIGHTS),
    Term(msg("input of the output projection"), 2, "sbh", ("attn.out *", "attn.core attended"), note=_HEADS),
    Term(msg("attention's dropout mask"), 1, "sbh", ("attn.dropout *",), is_split=False, note=_MASK),
    Term(msg("input of the first linear"), 2, "sbh", ("ffn.up *", "ffn.gate *"), is_split=False, note=_DENSE),
    Term(msg("input of GeLU"), 8, "sbh", ("ffn.activation *",), note=_WIDE),
    Term(msg("input of the second linear"), 8, "sbh", ("ffn.down *",), note=_WIDE),
    Term(msg("feed-forward's dropout mask"), 1, "sbh", ("ffn.dropout *",), is_split=False, note=_MASK),
    Term(msg("inputs of both norms"), 4, "sbh", ("attn_norm states", "ffn_norm states"), is_split=False, note=_NORM),
)

# What full recomputation saves of a layer, on every device: section 5.
LAYER_INPUT = Term(msg("input of the layer"), 2, "sbh", (" states",), is_split=False)

# Section 4.3. The first is saved for each micro-batch in flight; the others where the first stage is also the last.
EMBEDDING = Term(msg("embedding's dropout mask"), 1, "sbh", ("embed.dropout *",), note=_MASK)
OUTPUT = (
    Term(msg("input of the last norm"), 2, "sbh", ("final_norm states",), note=_NORM),
    Term(msg("input of the head"), 2, "sbh", ("head.logits *",)),
    Term(
        msg("logits"), 4, "sbv", (), note=msg("kept in float32 by the loss, which is no part of the forward pass here")
    ),
)

# What the paper leaves out, by the first pattern that matches.
LEFT_OUT = (
    ("*norm mean", msg("2sb numbers a norm: small, left out by section 4")),
    ("*norm 1/deviation", msg("2sb numbers a norm: small, left out by section 4")),
    ("mask *", msg("one for all layers, left out")),
    ("*", msg("not in the paper's list")),
)


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """How devices share a model: `tensor` (t), `has_sequence` parallelism too, `pipeline` stages (p), interleaving (m).

    `interleaved` is m, the parts of the model on each stage of an interleaved schedule; 0 for a plain schedule.
    """

    tensor: int = 1
    has_sequence: bool = False
    recompute: Recompute = "none"
    pipeline: int = 1
    interleaved: int = 0


class Configuration(msgspec.Struct, frozen=True):
    """A line of the paper's table 2: a name, the formula of a layer's bytes, the setting but for `tensor`."""

    name: Message
    formula: str
    setting: Setting
    is_parallel: bool = True

    def at(self, tensor: int) -> Setting:
        """Return the setting over `tensor` devices."""
        return structs.replace(self.setting, tensor=tensor if self.is_parallel else 1)


TABLE_2 = (
    Configuration(msg("no parallelism"), "sbh(34 + 5as/h)", Setting(), is_parallel=False),
    Configuration(msg("tensor parallel (baseline)"), "sbh(10 + 24/t + 5as/(ht))", Setting()),
    Configuration(msg("tensor + sequence parallel"), "sbh(34/t + 5as/(ht))", Setting(has_sequence=True)),
    Configuration(msg("tensor parallel, selective recomputation"), "sbh(10 + 24/t)", Setting(recompute="selective")),
    Configuration(
        msg("tensor + sequence parallel, selective recomputation"),
        "sbh·34/t",
        Setting(has_sequence=True, recompute="selective"),
    ),
    Configuration(msg("full recomputation"), "2sbh", Setting(recompute="full")),
)
BASELINE = TABLE_2[1]


def terms(recompute: Recompute) -> tuple[Term, ...]:
    """Return the tensors that a layer saves, by the paper."""
    if recompute == "full":
        return (LAYER_INPUT,)
    return tuple(term for term in LAYER if recompute == "none" or not term.is_square)


def layer_bytes(sizes: Mapping[str, int], setting: Setting) -> Fraction:
    """Return the bytes of one layer on each device (table 2), for sizes of a ledger's symbols.

    >>> sizes = {"seq": 2048, "batch": 1, "d_model": 12_288, "n_heads": 96}
    >>> layer_bytes(sizes, Setting()) / (2048 * 12_288)
    Fraction(114, 1)
    """
    saved = terms(setting.recompute)
    return sum((Fraction(term.bytes.at(sizes), _devices(term, setting)) for term in saved), Fraction())


def _devices(term: Term, setting: Setting) -> int:
    """Return how many devices share a term. Each has the whole input of a recomputed layer: section 5."""
    return setting.tensor if term.is_split or (setting.has_sequence and setting.recompute != "full") else 1


def layers_bytes(layers: list[dict[str, int]], setting: Setting) -> Fraction:
    """Return the bytes of all layers on a device of the first stage, those of L layers for any p (equation 5)."""
    once = sum((layer_bytes(sizes, setting) for sizes in layers), Fraction())
    p, m = setting.pipeline, setting.interleaved
    return once * (1 + Fraction(p - 1, p * m)) if m else once


def extra_bytes(sizes: Mapping[str, int], setting: Setting) -> Fraction:
    """Return the bytes of the embedding, the last norm and the head on a device of the first stage (section 4.3)."""
    outside = EMBEDDING.bytes.at(sizes) * setting.pipeline
    if setting.pipeline == 1:
        outside += sum(term.bytes.at(sizes) for term in OUTPUT)
    return Fraction(outside, setting.tensor)


def layer_sizes(spec: Spec, work: Workload) -> list[dict[str, int]]:
    """Return the sizes in the formulas for each layer of a decoder.

    Raise InputError for another model: the formulas do not cover encoders.
    """
    if spec.family != "decoder":
        raise InputError(
            msg("{name} is an {family}", name=spec.name, family=spec.family),
            where="conventions",
            allowed=msg("a decoder"),
        )
    stack = spec.stacks[0].stack
    shared = {"seq": work.seq, "batch": work.batch, "d_model": spec.d_model, "vocab_size": spec.vocab_size}
    return [{**shared, "n_heads": sum(heads.n_heads for heads in heads_of(layer))} for layer in layers_of(stack)]


# --- beside the exact count --------------------------------------------------------------------------------------


class PaperTotals(Row, frozen=True, kw_only=True):
    """Bytes of all activations under one recompute policy, by the paper and exact: of the layers, and of the model."""

    recompute: Annotated[Recompute, text(msg("recomputed"), names=RECOMPUTE_NAMES)]
    paper_layers_bytes: Annotated[int, count(msg("layers, paper"))]
    layers_bytes: Annotated[int, count(msg("ledger"))]
    layers_relative_difference: Annotated[float, number(in_context("difference", "off"), "change")]
    paper_bytes: Annotated[int, count(msg("all, paper"))]
    bytes: Annotated[int, count(msg("ledger"))]
    relative_difference: Annotated[float, number(in_context("difference", "off"), "change")]


class PaperTensor(Row, frozen=True, kw_only=True):
    """A tensor of all layers, by the paper and exact; '' and 0 where one of them does not count it."""

    tensor: Annotated[str | Message, text(msg("tensor"))]
    paper_formula: Annotated[str, text(msg("paper, a layer"))]
    paper_bytes: Annotated[int, count(msg("paper"))]
    bytes: Annotated[int, count(msg("ledger"))]
    difference_bytes: Annotated[int, number(msg("paper − ledger"), "signed", is_summed=True)]
    formula: Annotated[str, text(msg("ledger's formula"))]
    note: Annotated[str | Message, text(msg("why"))]


class PaperConfiguration(Row, frozen=True, kw_only=True):
    """A line of table 2: bytes of all layers on each device, and their share of the tensor-parallel baseline."""

    configuration: Annotated[str | Message, text(msg("configuration"))]
    paper_formula: Annotated[str, text(msg("a layer's bytes"))]
    bytes: Annotated[int, count(msg("all layers"))]
    share_of_baseline: Annotated[float, number(msg("of the baseline"), "percent")]


class ActivationConventions(Result, frozen=True, kw_only=True):
    """The activations of a workload as a paper counts them and exact: in total, by tensor, and over `devices`."""

    source: Annotated[str, data(msg("source"))]
    execution: Annotated[Execution, data(msg("how the step is executed"))]
    totals: Annotated[tuple[PaperTotals, ...], data(msg("saved activations by recompute policy"))]
    tensors: Annotated[tuple[PaperTensor, ...], data(msg("saved activations by tensor"))]
    devices: Annotated[int, data(msg("devices that share a layer"))]
    configurations: Annotated[tuple[PaperConfiguration, ...], data(msg("the paper's table 2"))]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))]


class ConfigurationShare(msgspec.Struct, frozen=True):
    """A line of table 2: bytes of all layers on a device, and as a part of the tensor-parallel baseline's."""

    configuration: Configuration
    layers_bytes: Fraction
    of_baseline: Fraction


def activation_conventions(
    spec: Spec, work: Workload, execution: Execution = NEAREST, *, devices: int = 8
) -> ActivationConventions:
    """Return the paper's count of a decoder's saved activations beside the ledger's.

    Raise InputError for a model that is not a decoder.
    """
    layers = layer_sizes(spec, work)
    policies: tuple[Recompute, ...] = get_args(Recompute)
    ledgers = {policy: build(spec, structs.replace(execution, recompute=policy)) for policy in policies}
    return ActivationConventions(
        source=SOURCE,
        execution=execution,
        totals=tuple(_totals(layers, policy, activation_bytes(ledgers[policy], work)) for policy in policies),
        tensors=tuple(_tensors(layers, execution.recompute, ledgers[execution.recompute], work)),
        devices=devices,
        configurations=tuple(map(_configuration, shares(layers, devices))),
        kind=sureness(execution),
    )


def shares(layers: list[dict[str, int]], devices: int) -> list[ConfigurationShare]:
    """Return table 2 of a model on `devices` devices (figure 7)."""
    baseline = layers_bytes(layers, BASELINE.at(devices))
    sizes = [(one, layers_bytes(layers, one.at(devices))) for one in TABLE_2]
    return [ConfigurationShare(one, size, size / baseline) for one, size in sizes]


def _configuration(line: ConfigurationShare) -> PaperConfiguration:
    return PaperConfiguration(
        configuration=line.configuration.name,
        paper_formula=line.configuration.formula,
        bytes=round(line.layers_bytes),
        share_of_baseline=float(line.of_baseline),
    )


def _totals(layers: list[dict[str, int]], recompute: Recompute, saved: list[ActivationBytes]) -> PaperTotals:
    setting = Setting(recompute=recompute)
    in_layers, paper = in_layers_bytes(saved), int(layers_bytes(layers, setting))
    total, paper_total = sum(one.bytes for one in saved), paper + int(extra_bytes(layers[0], setting))
    return PaperTotals(
        recompute=recompute,
        paper_layers_bytes=paper,
        layers_bytes=in_layers,
        layers_relative_difference=paper / in_layers - 1,
        paper_bytes=paper_total,
        bytes=total,
        relative_difference=paper_total / total - 1,
    )


def in_layers_bytes(saved: Sequence[ActivationBytes]) -> int:
    """Return the bytes of the tensors that layers save, without those that serve all layers."""
    return sum(one.bytes for one in saved if one.row.layer_indices)


def _tensors(
    layers: list[dict[str, int]], recompute: Recompute, ledger: Ledger, work: Workload
) -> Iterator[PaperTensor]:
    """Yield each term of the paper with the ledger's tensors of it, then what the paper leaves out."""
    remaining = activation_bytes(ledger, work)
    rewriter = Rewriter(structs.replace(ledger, sizes=ledger.at(work)))
    of_layers = [(term, layers) for term in terms(recompute)]
    for term, sizes in [*of_layers, *((term, layers[:1]) for term in (EMBEDDING, *OUTPUT))]:
        own = [one for one in remaining if is_of(term, one.row)]
        remaining = [one for one in remaining if one not in own]
        yield _of_term(term, sizes, own, rewriter)
    for one in remaining:
        note = next(note for pattern, note in LEFT_OUT if fnmatchcase(place(one.row), pattern))
        yield _tensor(_place_name(one.row), "", 0, [one], note, rewriter)


def _of_term(term: Term, layers: list[dict[str, int]], own: list[ActivationBytes], rewriter: Rewriter) -> PaperTensor:
    paper = sum(term.bytes.at(sizes) for sizes in layers)
    note = term.note if paper != sum(one.bytes for one in own) else ""
    return _tensor(term.name, term.formula, paper, own, note, rewriter)


def _tensor(
    name: Message, paper_formula: str, paper: int, own: list[ActivationBytes], note: str | Message, rewriter: Rewriter
) -> PaperTensor:
    exact = sum(one.bytes for one in own)
    return PaperTensor(
        tensor=name,
        paper_formula=paper_formula,
        paper_bytes=paper,
        bytes=exact,
        difference_bytes=paper - exact,
        formula=rewriter.equation(Poly.sum(one.row.formula for one in own)) if own else "",
        note=note,
    )


def is_of(term: Term, row: SavedActivationRow) -> bool:
    """Return whether a row of the ledger is a tensor of this term."""
    return any(fnmatchcase(place(row), pattern) for pattern in term.patterns)


def place(row: SavedActivationRow) -> str:
    """Return the module within its layer and the tensor's label: 'attn.out attended'."""
    return f"{_module(row)} {row.activation.label}"


def _module(row: SavedActivationRow) -> str:
    _, layered, tail = row.path.partition("{i}")
    return tail.removeprefix(".") if layered else row.path


def _place_name(row: SavedActivationRow) -> Message:
    """Return the same in the reader's language."""
    return joined(" ", (module_name(_module(row), row.activation.label), tensor_name(row.activation.label)))
