"""Layouts that run fast: a loaded model, transformed; proof sees the canonical modules alone."""

from __future__ import annotations

from archcalc.run.pack.model import PackedModel, pack
from archcalc.run.pack.storage import Stored, packed_bytes, stored

__all__ = ["PackedModel", "Stored", "pack", "packed_bytes", "stored"]
