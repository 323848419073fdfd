"""PyTorch dtypes by the names in specs, files and reports."""

from __future__ import annotations

from typing import get_args

import torch

from archcalc.formats.element_types import ELEMENT_TYPES, ElementName
from archcalc.spec.execution import ActivationDtype


def torch_dtype(name: ElementName) -> torch.dtype:
    """Return the dtype of an element type."""
    dtype = getattr(torch, ELEMENT_TYPES[name].torch)
    assert isinstance(dtype, torch.dtype), f"PyTorch has no dtype for {name}"
    return dtype


MODEL_DTYPES: dict[ActivationDtype, torch.dtype] = {name: torch_dtype(name) for name in get_args(ActivationDtype)}
