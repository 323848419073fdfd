"""How a paper counts the activations that a training step keeps, beside the exact count: term by term.

The formulas are those of Korthikanti et al. 2022, arXiv:2205.05198, section 4: bytes of a GPT layer in half precision,
of s tokens, b sequences, h wide, with a heads, and v words; on each of t devices that share the layer. Its letters are
kept here. They were written for decoders with a feed-forward of 4h, and are given for any decoder as they stand.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from fractions import Fraction
from typing import Literal

import msgspec
from msgspec import structs

from archcalc.analysis.activations import KeptBytes, by_tensor
from archcalc.analysis.tensor_names import keeper_name, tensor_name
from archcalc.errors import InputError
from archcalc.ledger.algebra import Poly, product
from archcalc.ledger.build import build
from archcalc.ledger.rows import SavedActivationRow
from archcalc.spec.execution import Execution, Recompute
from archcalc.spec.groups import layers_of
from archcalc.spec.model import Spec
from archcalc.spec.variants import heads_of
from archcalc.spec.workload import Workload
from archcalc.words import Message, joined, msg

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
    """One tensor of the paper's account: its bytes, how devices share it, and what we call it.

    `split`: tensor parallelism divides it; sequence parallelism divides the others too. `kept` are patterns of what the
    ledger calls the same tensor: the module and the tensor's label. `note` says why bytes may differ.
    """

    name: Message
    factor: int
    numbers: Numbers
    kept: tuple[str, ...]
    split: bool = True
    note: str | Message = ""

    @property
    def formula(self) -> str:
        """As the paper writes it: '2sbh'."""
        return f"{self.factor if self.factor > 1 else ''}{self.numbers}"

    @property
    def bytes(self) -> Poly:
        """The same as a polynomial, in a ledger's symbols."""
        return self.factor * NUMBERS[self.numbers]

    @property
    def is_square(self) -> bool:
        """Whether it grows with the square of the sequence: what selective recomputation drops."""
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
    Term(msg("input of Q, K and V"), 2, "sbh", ("attn.[qkv] *", "attn.*_down *"), split=False),
    Term(msg("Q, K and V"), 6, "sbh", ("attn.scores *", "attn.values v*", "attn.core [qkv]*"), note=_HEADS),
    Term(msg("softmax"), 2, "as²b", ("attn.softmax pattern*",), note=_SOFTMAX),
    Term(msg("softmax's dropout mask"), 1, "as²b", ("attn.softmax dropout mask",), note=_MASK),
    Term(msg("what dropout leaves of it"), 2, "as²b", ("attn.values pattern*",), note=_WEIGHTS),
    Term(msg("input of the output projection"), 2, "sbh", ("attn.out *", "attn.core attended"), note=_HEADS),
    Term(msg("attention's dropout mask"), 1, "sbh", ("attn.dropout *",), split=False, note=_MASK),
    Term(msg("input of the first linear"), 2, "sbh", ("ffn.up *", "ffn.gate *"), split=False, note=_DENSE),
    Term(msg("input of GeLU"), 8, "sbh", ("ffn.activation *",), note=_WIDE),
    Term(msg("input of the second linear"), 8, "sbh", ("ffn.down *",), note=_WIDE),
    Term(msg("feed-forward's dropout mask"), 1, "sbh", ("ffn.dropout *",), split=False, note=_MASK),
    Term(msg("inputs of both norms"), 4, "sbh", ("attn_norm states", "ffn_norm states"), split=False, note=_NORM),
)

# What full recomputation keeps of a layer, on every device: section 5.
LAYER_INPUT = Term(msg("input of the layer"), 2, "sbh", (" states",), split=False)

# Section 4.3. The first is kept for each micro-batch in flight; the others where the first stage is also the last.
EMBEDDING = Term(msg("embedding's dropout mask"), 1, "sbh", ("embed.dropout *",), note=_MASK)
OUTPUT = (
    Term(msg("input of the last norm"), 2, "sbh", ("final_norm states",), note=_NORM),
    Term(msg("input of the head"), 2, "sbh", ("head.logits *",)),
    Term(
        msg("logits"), 4, "sbv", (), note=msg("kept in float32 by the loss, which is no part of the forward pass here")
    ),
)

# What the paper leaves out, by the first pattern that fits.
LEFT_OUT = (
    ("*norm mean", msg("2sb numbers a norm: small, left out by section 4")),
    ("*norm 1/deviation", msg("2sb numbers a norm: small, left out by section 4")),
    ("mask *", msg("one for all layers, left out")),
    ("*", msg("not in the paper's list")),
)


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """How devices share a model: `tensor` (t), `sequence` parallelism on top, `pipeline` stages (p), interleaving (m).

    `interleaved` is m of the schedule that has m turns at each stage; 0 for the one that does not interleave.
    """

    tensor: int = 1
    sequence: bool = False
    recompute: Recompute = "none"
    pipeline: int = 1
    interleaved: int = 0


class Configuration(msgspec.Struct, frozen=True):
    """A line of the paper's table 2: a name, the formula of a layer's bytes, the setting (`tensor` left to be said)."""

    name: Message
    formula: str
    setting: Setting
    is_parallel: bool = True

    def at(self, tensor: int) -> Setting:
        """The setting over so many devices."""
        return structs.replace(self.setting, tensor=tensor if self.is_parallel else 1)


TABLE_2 = (
    Configuration(msg("no parallelism"), "sbh(34 + 5as/h)", Setting(), is_parallel=False),
    Configuration(msg("tensor parallel (baseline)"), "sbh(10 + 24/t + 5as/(ht))", Setting()),
    Configuration(msg("tensor + sequence parallel"), "sbh(34/t + 5as/(ht))", Setting(sequence=True)),
    Configuration(msg("tensor parallel, selective recomputation"), "sbh(10 + 24/t)", Setting(recompute="selective")),
    Configuration(
        msg("tensor + sequence parallel, selective recomputation"),
        "sbh·34/t",
        Setting(sequence=True, recompute="selective"),
    ),
    Configuration(msg("full recomputation"), "2sbh", Setting(recompute="full")),
)
BASELINE = TABLE_2[1]


def terms(recompute: Recompute) -> tuple[Term, ...]:
    """What the paper's layer keeps."""
    if recompute == "full":
        return (LAYER_INPUT,)
    return tuple(term for term in LAYER if recompute == "none" or not term.is_square)


def layer_bytes(sizes: Mapping[str, int], setting: Setting) -> Fraction:
    """Bytes of one layer on each device (table 2), for sizes of a ledger's symbols.

    >>> sizes = {"seq": 2048, "batch": 1, "d_model": 12_288, "n_heads": 96}
    >>> layer_bytes(sizes, Setting()) / (2048 * 12_288)
    Fraction(114, 1)
    """
    kept = terms(setting.recompute)
    return sum((Fraction(term.bytes.at(sizes), _devices(term, setting)) for term in kept), Fraction())


def _devices(term: Term, setting: Setting) -> int:
    """How many devices share it. Of a layer that is recomputed each keeps the whole input: section 5."""
    return setting.tensor if term.split or (setting.sequence and setting.recompute != "full") else 1


def layers_bytes(layers: list[dict[str, int]], setting: Setting) -> Fraction:
    """Bytes of all layers on a device of the first stage, which holds L layers' worth whatever p is (equation 5)."""
    once = sum((layer_bytes(sizes, setting) for sizes in layers), Fraction())
    p, m = setting.pipeline, setting.interleaved
    return once * (1 + Fraction(p - 1, p * m)) if m else once


def extra_bytes(sizes: Mapping[str, int], setting: Setting) -> Fraction:
    """What the embedding, the last norm and the head add on a device of the first stage (section 4.3)."""
    outside = EMBEDDING.bytes.at(sizes) * setting.pipeline
    if setting.pipeline == 1:
        outside += sum(term.bytes.at(sizes) for term in OUTPUT)
    return Fraction(outside, setting.tensor)


def layer_sizes(spec: Spec, work: Workload) -> list[dict[str, int]]:
    """What the formulas read, for each layer of a decoder.

    Raises InputError for what is no decoder: the formulas do not say what an encoder would keep.
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


class Line(msgspec.Struct, frozen=True):
    """A tensor of all layers: the paper's bytes and ours, '' and 0 where one of them has none."""

    name: str | Message
    paper: str
    exact: str
    paper_bytes: int
    exact_bytes: int
    note: str | Message

    @property
    def off(self) -> int:
        """How many bytes more the paper has."""
        return self.paper_bytes - self.exact_bytes


class Side(msgspec.Struct, frozen=True):
    """All activations of one way to recompute, by the paper and exactly: of the layers alone, and of all the model."""

    recompute: Recompute
    paper_layers: int
    exact_layers: int
    paper_total: int
    exact_total: int


class Share(msgspec.Struct, frozen=True):
    """A configuration of table 2: a device's bytes of all layers, and as a part of the tensor-parallel baseline's."""

    configuration: Configuration
    layers_bytes: Fraction
    of_baseline: Fraction


class Compared(msgspec.Struct, frozen=True):
    """A workload's activations: line by line as `how` carries it out, in total, and by table 2 on `tensor` devices."""

    how: Execution
    tensor: int
    lines: list[Line]
    sides: list[Side]
    shares: list[Share]


def compared(spec: Spec, work: Workload, how: Execution = NEAREST, *, tensor: int = 8) -> Compared:
    """The paper's account of a decoder's activations beside the ledger's, carried out as `how` says.

    Raises InputError for what is no decoder.
    """
    layers = layer_sizes(spec, work)
    kept: dict[Recompute, list[KeptBytes]] = {
        recompute: _exact(spec, work, how, recompute) for recompute in ("none", "selective", "full")
    }
    sides = [_side(layers, recompute, found) for recompute, found in kept.items()]
    return Compared(how, tensor, _lines(layers, how.recompute, kept[how.recompute]), sides, shares(layers, tensor))


def _exact(spec: Spec, work: Workload, how: Execution, recompute: Recompute) -> list[KeptBytes]:
    return by_tensor(build(spec, structs.replace(how, recompute=recompute)), work)


def shares(layers: list[dict[str, int]], tensor: int) -> list[Share]:
    """Table 2 of a model on so many devices (figure 7)."""
    baseline = layers_bytes(layers, BASELINE.at(tensor))
    found = [(one, layers_bytes(layers, one.at(tensor))) for one in TABLE_2]
    return [Share(one, held, held / baseline) for one, held in found]


def _side(layers: list[dict[str, int]], recompute: Recompute, kept: list[KeptBytes]) -> Side:
    setting = Setting(recompute=recompute)
    ours, paper = in_layers(kept), int(layers_bytes(layers, setting))
    total = sum(one.total_bytes for one in kept)
    return Side(recompute, paper, ours, paper + int(extra_bytes(layers[0], setting)), total)


def in_layers(kept: list[KeptBytes]) -> int:
    """Bytes of what layers keep for themselves."""
    return sum(one.total_bytes for one in kept if one.row.layer_indices)


def _lines(layers: list[dict[str, int]], recompute: Recompute, kept: list[KeptBytes]) -> list[Line]:
    """Every term of the paper with what the ledger has of it, then what the paper leaves out."""
    left = list(kept)
    lines = [_line(term, layers, left) for term in terms(recompute)]
    lines += [_line(term, layers[:1], left) for term in (EMBEDDING, *OUTPUT)]
    return lines + [_left_out(one) for one in left]


def _left_out(one: KeptBytes) -> Line:
    note = next(note for pattern, note in LEFT_OUT if fnmatchcase(place(one.row), pattern))
    return Line(_place_name(one.row), "", one.row.formula.text(), 0, one.total_bytes, note)


def _line(term: Term, layers: list[dict[str, int]], left: list[KeptBytes]) -> Line:
    """A term with the rows that are of it, which are taken from `left`."""
    own = [one for one in left if is_of(term, one.row)]
    left[:] = [one for one in left if one not in own]
    paper = sum(term.bytes.at(sizes) for sizes in layers)
    exact = sum(one.total_bytes for one in own)
    formula = Poly.sum(one.row.formula for one in own).text() if own else ""
    return Line(term.name, term.formula, formula, paper, exact, term.note if paper != exact else "")


def is_of(term: Term, row: SavedActivationRow) -> bool:
    """Whether the ledger's row is a tensor of this term."""
    return any(fnmatchcase(place(row), pattern) for pattern in term.kept)


def place(row: SavedActivationRow) -> str:
    """The module within its layer, and the tensor's label: 'attn.out attended'."""
    return f"{_module(row)} {row.activation.label}"


def _module(row: SavedActivationRow) -> str:
    _, layered, tail = row.path.partition("{i}")
    return tail.removeprefix(".") if layered else row.path


def _place_name(row: SavedActivationRow) -> Message:
    """The same in the language of the reader."""
    return joined(" ", (keeper_name(_module(row), row.activation.label), tensor_name(row.activation.label)))
