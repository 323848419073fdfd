"""Every variant of the spec as PyTorch modules, written independently of the ledger to prove its numbers."""

from archcalc.nn.build import build

__all__ = ["build"]
