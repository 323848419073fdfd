"""Architectures as frozen data."""

from archcalc.spec.model import Spec

__all__ = ["Spec"]
