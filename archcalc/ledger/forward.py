"""What a pass through a stack brings to every part, and the ways of a forward pass that parts have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping

import msgspec
from msgspec import structs

from archcalc.formats.element_types import ElementName
from archcalc.ledger.algebra import Poly
from archcalc.ledger.leaves import Component, Elementwise, Entry, Forward, Kept, Leaf, Matmul, Saved, drained
from archcalc.ledger.tensors import Tensor
from archcalc.ledger.tokens import Span
from archcalc.spec.execution import Execution
from archcalc.spec.model import Dropout

Pair = tuple[Tensor, Tensor]


class Pass(msgspec.Struct, frozen=True):
    """One forward pass through a stack: how it is carried out, what its layers attend to, what they share.

    `at` is the prefix of its layers' names. `source` are the states that cross-attention reads. `made` holds what
    depends on positions alone and serves all layers alike: masks, angles, biases.
    `shared` are keys and values of an earlier layer that this one reads, by arm; `lent` takes in those that it makes,
    of the arms that stand in it. `arm` is the one at hand. `prompt`: how many learned keys every query sees besides.
    """

    how: Execution
    dropout: Dropout
    span: Span
    at: str = ""
    source: Tensor | None = None
    made: dict[Hashable, Tensor] = {}
    shared: Mapping[str, Pair] = {}
    lent: dict[str, Pair | None] = {}
    arm: str = ""
    prompt: Poly | None = None

    def once(self, key: Hashable, make: Callable[[], Tensor]) -> Tensor:
        """The tensor of this key, made when it is first asked for."""
        if key not in self.made:
            self.made[key] = structs.replace(make(), once=True)
        return self.made[key]

    @property
    def statistics(self) -> ElementName:
        """What a LayerNorm's means and deviations are kept in: torch's CPU kernel follows its input."""
        return self.how.dtype if self.how.device == "cpu" else "fp32"


def dropped(x: Tensor, probability: float, here: Pass, component: Component, name: str) -> Forward[Tensor]:
    """What dropout leaves of a tensor. It keeps its mask: a factor for each number, on a GPU a byte."""
    if not probability or not here.how.dropout:
        return x
    yield Saved(name, x.new("dropout mask", dtype="bool" if here.how.device == "cuda" else None), component)
    return x.new(x.label)


def recomputed(name: str, component: Component, leaves: Forward[Tensor], inputs: Iterable[Tensor]) -> Forward[Tensor]:
    """A region under torch's non-reentrant checkpoint: it keeps its inputs, and the backward pass runs it again.

    That run ends at the last tensor that the backward pass needs, unless early stop is off
    (torch.utils.checkpoint.set_checkpoint_early_stop), so the products after it are not computed again.
    """
    found, made = drained(leaves)
    for tensor in inputs:
        yield Saved(name, tensor, component)
    last = max((place for place, leaf in enumerate(found) if isinstance(leaf, Saved)), default=0)
    for place, leaf in enumerate(found):
        if isinstance(leaf, Matmul):
            yield structs.replace(leaf, again="always" if place < last else "without early stop")
        elif not isinstance(leaf, Saved):
            yield leaf
    return made


def saved(name: str, component: Component, *tensors: Tensor) -> Forward[None]:
    """An operation that keeps these."""
    for tensor in tensors:
        yield Saved(name, tensor, component)


class Keeper:
    """Turns what operations keep into what is kept: each storage once, by the first that keeps it.

    Of a pass that is not for training, nothing is kept or modelled.
    """

    def __init__(self, training: bool) -> None:
        self.training, self.seen = training, set[Tensor]()
        self.shared = Counter[str]()

    def __call__(self, leaf: Leaf) -> Entry | None:
        """The leaf as it enters the ledger; None if it doesn't."""
        if isinstance(leaf, Elementwise):
            return leaf if self.training else None
        if not isinstance(leaf, Saved):
            return leaf
        tensor = leaf.tensor.storage
        if not self.training or tensor in self.seen:
            return None
        self.seen.add(tensor)
        name = self._name(tensor) if tensor.once else leaf.name
        return Kept(name, tensor.label, tensor.axes, tensor.dtype, leaf.component)

    def _name(self, tensor: Tensor) -> str:
        """What serves all layers is called by what it is, numbered where there are more (masks of two windows)."""
        self.shared[tensor.label] += 1
        number = self.shared[tensor.label]
        return tensor.label if number == 1 else f"{tensor.label} {number}"
