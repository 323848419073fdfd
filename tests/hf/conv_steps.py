"""What a decode step of transformers' convolutions costs beyond ours.

transformers keeps as many columns as a convolution is wide, one more than it needs, and so computes two positions where
there is one new token.
"""

from __future__ import annotations

from archcalc.ledger.rows import Ledger
from archcalc.spec.workload import Workload


def second_positions(ledger: Ledger, work: Workload) -> int:
    """Return the FLOPs of the second position of every convolution in a decode step of one token."""
    sizes = ledger.at(work)
    return sum(row.flops(sizes) for row in ledger.matmuls if any("convolved" in str(axis) for axis in row.matmul.axes))
