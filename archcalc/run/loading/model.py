"""`archcalc.load_model` and `archcalc.random_model`: from a source or a spec to a model."""

from __future__ import annotations

import os
from typing import Any

import torch

from archcalc.errors import InputError, nearest, shown
from archcalc.nn.dtypes import MODEL_DTYPES
from archcalc.run.devices import device_of
from archcalc.run.loading.source import ModelSource, open_source
from archcalc.spec import Spec
from archcalc.words import msg


def load_model(
    source: str | os.PathLike[str], *, dtype: str = "fp32", device: str = "cpu", packed: bool = False
) -> Any:
    """Load the model of a source, in eval mode and without gradients; see `archcalc.load_model`."""
    if not isinstance(source, str | os.PathLike):
        raise InputError(
            msg("found {found}", found=shown(source)), where="source", allowed=msg("the name of a model, or a path")
        )
    torch_dtype = _dtype(dtype)
    if packed and torch_dtype != torch.float32:
        raise InputError(
            msg("found {dtype} for a packed model", dtype=repr(dtype)),
            where="dtype",
            allowed=msg("'fp32', or packed=False"),
        )
    torch_device = device_of(device)
    if packed and torch_device.type != "cpu":
        raise InputError(
            msg("found True on {device}", device=torch_device.type),
            where="packed",
            allowed=msg("True on the CPU alone"),
        )
    return open_source(os.fspath(source)).load(None, device=torch_device, dtype=torch_dtype, packed=packed).model


def random_model(spec: Spec, *, seed: int = 0) -> Any:
    """Return the model of a spec with random weights; see `archcalc.random_model`."""
    return ModelSource(spec, spec.name, None, None).load(None, seed=seed, packed=False).model


def _dtype(name: str) -> torch.dtype:
    for known, dtype in MODEL_DTYPES.items():
        if name == known:
            return dtype
    hint = nearest(name, MODEL_DTYPES) if isinstance(name, str) else ""
    raise InputError(
        msg("found {found}{hint}", found=shown(name), hint=hint),
        where="dtype",
        allowed=", ".join(map(repr, MODEL_DTYPES)),
    )
