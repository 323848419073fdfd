"""A model with a workload: what reports and formulas are about."""

from __future__ import annotations

import msgspec

from archcalc.analysis.memory import Dtype
from archcalc.analysis.weight_bytes import WeightBytes, stored_bytes
from archcalc.ledger.rows import Ledger
from archcalc.spec import Spec
from archcalc.spec.workload import Workload


class ModelWorkload(msgspec.Struct, frozen=True):
    """A model, and what it is to compute in which dtype. `stored`: the weights as the source's files store them."""

    spec: Spec
    ledger: Ledger
    work: Workload
    dtype: Dtype
    stored: tuple[WeightBytes, ...] = ()

    @property
    def weights_bytes(self) -> int | None:
        """Return the bytes of all parameters in the files; None if they are in the dtype."""
        return stored_bytes(self.stored) if self.stored else None
