"""The peak of a training step's memory: a model, from the ledger's exact rows.

It looks at the moments at which a step in the steady state (optimiser states exist, gradients are set to None between
steps) may be at its fullest, and takes the largest. It knows nothing of an allocator's rounding, of fragmentation, or
of a kernel's workspace. `archcalc.run.train.step_memory` holds it against what PyTorch really allocates.
"""

from __future__ import annotations

from heapq import nlargest
from math import prod

import msgspec

from archcalc.analysis.activations import KeptBytes, by_tensor
from archcalc.analysis.params import TOKEN_TABLE
from archcalc.analysis.training import Kept
from archcalc.formats.element_types import element_bytes
from archcalc.ledger.build import build
from archcalc.spec import Spec
from archcalc.spec.execution import Execution
from archcalc.spec.sites import sites
from archcalc.spec.workload import Workload
from archcalc.words import Message, msg


class Moment(msgspec.Struct, frozen=True):
    """What is held at one moment of a step, in bytes by category, as PyTorch's memory tracker names them.

    weights: with a master copy and buffers. activations: saved ones, the logits and their logarithms. temporary: what
    an operation of that moment makes.
    """

    name: str | Message
    weights: int
    gradients: int
    optimiser: int
    activations: int
    temporary: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.gradients + self.optimiser + self.activations + self.temporary


def moments(spec: Spec, work: Workload, how: Execution, lines: list[Kept]) -> list[Moment]:
    """The moments of a step of which `lines` last, in their order; the peak is the largest (`peak`)."""
    return _Step(spec, work, how, lines).moments()


def peak(found: list[Moment]) -> Moment:
    """The moment at which a step holds most."""
    return max(found, key=lambda moment: moment.total)


class _Step:
    """A step's figures."""

    def __init__(self, spec: Spec, work: Workload, how: Execution, lines: list[Kept]) -> None:
        self.element = element_bytes(how.dtype)
        self.weights = sum(line.weights + line.master for line in lines)
        self.gradients = sum(line.gradients for line in lines)
        self.states = sum(line.optimiser + line.states.steps for line in lines)
        self.stepped = _stepped(lines, at_once=how.device == "cuda")
        self.table = sum(line.gradients for line in lines if line.row.path == TOKEN_TABLE)
        self.first = sum(line.gradients // line.row.layers for line in lines if 0 in line.row.indices)
        self.is_tied = spec.head is not None and spec.head.tied
        self.n_logits = prod(sites(spec)[-1].shape(work) or ()) if spec.head else 0
        kept = by_tensor(build(spec, how), work)
        self.saved = sum(one.total_bytes for one in kept)
        self.again, self.made = _dropped(spec, work, how, kept)

    def moments(self) -> list[Moment]:
        return [self._loss(), self._last_layer(), self._first_layer(), self._embedding(), self._optimiser()]

    def _at(self, name: Message, gradients: int, activations: int, temporary: int) -> Moment:
        return Moment(name, self.weights, gradients, self.states, activations, temporary)

    @property
    def logits(self) -> int:
        """The model's result, which the training loop holds until the next."""
        return self.element * self.n_logits

    def _loss(self) -> Moment:
        """The gradient of the loss at its logarithms, and from it that at the logits: both in float32."""
        return self._at(msg("the loss's gradient"), 0, self.saved + self.logits + 4 * self.n_logits, 8 * self.n_logits)

    def _last_layer(self) -> Moment:
        """Every layer's activations are there, those of the last one made again if they had been dropped."""
        head = self.table if self.is_tied else 0
        return self._at(msg("the last layer's backward"), 0, self.saved + self.logits, self.again + self.made + head)

    def _first_layer(self) -> Moment:
        """All gradients but the table's and the layer's own are there, and its activations."""
        head = self.table if self.is_tied else 0
        made = self.gradients - self.table - self.first
        return self._at(msg("the first layer's backward"), made, self.logits, self.again + self.made + head)

    def _embedding(self) -> Moment:
        """The table's gradient; of a tied one that of the head is added to it, which makes a third."""
        temporary = 3 * self.table if self.is_tied else self.table
        return self._at(msg("the embedding's backward"), self.gradients - self.table, self.logits, temporary)

    def _optimiser(self) -> Moment:
        """All gradients, and what the step makes."""
        return self._at(msg("the optimiser's step"), self.gradients, self.logits, self.stepped)


def _stepped(lines: list[Kept], *, at_once: bool) -> int:
    """What torch's AdamW makes in a step: on a GPU, which steps on all tensors at once, one as large as each.

    Elsewhere it steps on one after another: two as large as the tensor at hand, while the last of these of the tensor
    before is still there.
    """
    trained = [line for line in lines if line.row.kind == "trainable"]
    if at_once:
        return sum(line.master or line.weights for line in trained)
    sizes = ((line.master or line.weights) // line.row.layers for line in trained for _ in range(line.row.layers))
    largest, *rest = nlargest(2, sizes)
    return 2 * largest + sum(rest)


def _dropped(spec: Spec, work: Workload, how: Execution, kept: list[KeptBytes]) -> tuple[int, int]:
    """(bytes that a layer's recomputation makes again, bytes of the gradients that its backward pass holds at most)."""
    whole = by_tensor(build(spec, msgspec.structs.replace(how, recompute="none")), work)
    layers, held = _by_layer(whole), _by_layer(kept)
    again = max((layers[label] - held.get(label, 0) for label in layers), default=0)
    return max(again, 0), max((_gradients(one, how) for one in whole if one.row.turns), default=0)


def _gradients(one: KeptBytes, how: Execution) -> int:
    """What the backward pass holds beside a kept tensor: a gradient as large; of a pattern, that of the scores too.

    Where the pattern is kept in 16 bits as well, that copy is freed before the second is made.
    """
    if not one.row.is_square:
        return one.layer_bytes
    freed = one.layer_bytes // 2 if how.attention == "eager" and how.dtype != "fp32" else 0
    return 2 * one.layer_bytes - freed


def _by_layer(kept: list[KeptBytes]) -> dict[tuple[str, int], int]:
    """Bytes of each layer, by its stack and its turn."""
    found: dict[tuple[str, int], int] = {}
    for one in kept:
        for turn in one.row.turns:
            key = one.row.path.partition("{i}")[0], turn
            found[key] = found.get(key, 0) + one.layer_bytes
    return found
