"""Fast layouts of a loaded model. `proof` checks canonical modules only."""

from __future__ import annotations

from archcalc.run.pack.packed_model import PackedModel, pack
from archcalc.run.pack.storage import PackedTensor, packed_bytes, packed_tensors

__all__ = ["PackedModel", "PackedTensor", "pack", "packed_bytes", "packed_tensors"]
