"""A layer: its residual branches, one after another."""

from __future__ import annotations

import msgspec
from msgspec import structs

from archcalc.ledger import norm
from archcalc.ledger.forward import Pass, dropped
from archcalc.ledger.leaves import Forward, Weight, drained, under
from archcalc.ledger.symbols import Symbols
from archcalc.ledger.tensors import Tensor
from archcalc.ledger.tokens import CROSS
from archcalc.spec.branches import BranchNames, arm_norm, branches, is_idle, names
from archcalc.spec.layer import Arm, Branch, Layer
from archcalc.spec.norm import Norm
from archcalc.spec.variants import reading, variant


class LayerReader(msgspec.Struct, frozen=True):
    """A layer with each arm's dimensions, in a pass through its stack."""

    symbols: dict[str, Symbols]
    here: Pass

    def part(self, arm: Arm, x: Tensor) -> Forward[Tensor]:
        """The output of one arm's part, before any residual."""
        leaves: Forward[Tensor] = reading(arm.part, "ledger")(arm.part, self.symbols[arm.name], x, self._pass(arm))
        return (yield from under(f"{self.here.at}{arm.name}.", leaves))

    def _pass(self, arm: Arm) -> Pass:
        """The pass with what this arm reads, and nothing that others read."""
        if arm.reads == "source":
            return structs.replace(self.here, arm=arm.name, span=CROSS, shared={})
        shared = {arm.name: self.here.shared[arm.name]} if arm.reads == "shared" else {}
        return structs.replace(self.here, arm=arm.name, source=None, shared=shared)

    def normed(self, part: Norm | None, name: str | None, x: Tensor) -> Forward[Tensor]:
        """The states through the norm of this name; as they are, where there is none."""
        return (yield from norm.leaves(part, f"{self.here.at}{name}", x, self.here))

    def dropped(self, arm: Arm, y: Tensor) -> Forward[Tensor]:
        """What is about to join the residual stream, some of it dropped in training."""
        component = variant(arm.part).component
        return dropped(y, self.here.dropout.residual, self.here, component, f"{self.here.at}{arm.name}.dropout")


def leaves(layer: Layer, symbols: dict[str, Symbols], x: Tensor, here: Pass) -> Forward[Tensor]:
    """A layer's leaves, from the states it reads to those it gives. `symbols` holds each arm's dimensions."""
    reader = LayerReader(symbols, here)
    for branch in branches(layer):
        if is_idle(branch):
            yield from _stored(reader, branch, x)
        else:
            x = yield from _branch(reader, branch, x)
    return x


def _stored(reader: LayerReader, branch: Branch, x: Tensor) -> Forward[None]:
    """The weights of a branch that no forward pass goes through."""
    found, _ = drained(_branch(reader, branch, x))
    for leaf in found:
        if isinstance(leaf, Weight):
            yield leaf


def _branch(reader: LayerReader, branch: Branch, x: Tensor) -> Forward[Tensor]:
    """The residual stream after a branch: a sum, which keeps nothing, perhaps normed."""
    own = names(branch)
    read = yield from reader.normed(branch.norm_in, own.norm_in, x)
    yield from _joining(reader, branch, own, read)
    return (yield from reader.normed(branch.norm_after, own.norm_after, x.new("states")))


def _joining(reader: LayerReader, branch: Branch, own: BranchNames, read: Tensor) -> Forward[None]:
    """What the arms add to the residual stream: the norm of their sum, or each by itself."""
    for arm in branch.arms:
        arm_read = yield from reader.normed(arm.norm, arm_norm(arm), read)
        y = yield from reader.part(arm, arm_read)
        if branch.norm_out is None:
            yield from reader.dropped(arm, y)
    if branch.norm_out is not None:
        summed = y if len(branch.arms) == 1 else y.new("sum of the arms")
        normed = yield from reader.normed(branch.norm_out, own.norm_out, summed)
        yield from reader.dropped(branch.arms[0], normed)
