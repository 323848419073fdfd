"""What transformers' mixers cost otherwise than ours, by other algorithms.

transformers keeps as many columns as a convolution is wide, one more than it needs, and so computes two positions where
there is one new token. It sums the products of keys and queries with decayed keys elementwise, which torch counts as
nothing, and multiplies by an inverse where we solve a triangular system, which torch counts as nothing too.
"""

from __future__ import annotations

from archcalc.ledger.rows import Ledger
from archcalc.spec.groups import layers_of
from archcalc.spec.mixer import GatedDelta
from archcalc.spec.model import Spec
from archcalc.spec.workload import Workload

# What is counted once more, in each pass, and what is not counted at all.
_INVERTED, _SUMMED = "triangular solve", ("keys · keys", "queries · keys")


def second_positions(ledger: Ledger, work: Workload) -> int:
    """Return the FLOPs of the second position of every convolution in a decode step of one token."""
    sizes = ledger.at(work)
    return sum(row.flops(sizes) for row in ledger.matmuls if any("convolved" in str(axis) for axis in row.matmul.axes))


def channel_decays(spec: Spec, ledger: Ledger, work: Workload) -> tuple[int, int]:
    """Return the FLOPs, forward and backward, that transformers has beyond ours where each channel has a decay."""
    stack = spec.decoder or spec.encoder
    mixers = [layer.mixer for layer in layers_of(stack)] if stack else []
    if not any(isinstance(mixer, GatedDelta) and mixer.decay_over == "channel" for mixer in mixers):
        return 0, 0
    sizes = ledger.at(work)

    inverted = sum(row.backward_flops(sizes) for row in ledger.matmuls if row.path.endswith(_INVERTED))
    summed = sum(row.flops(sizes) for row in ledger.matmuls if row.path.endswith(_SUMMED))
    return inverted - summed, inverted - 2 * summed
