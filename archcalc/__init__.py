"""Exact numbers of any transformer, explained and proven.

>>> import archcalc
>>> spec = archcalc.load("gpt3")
>>> archcalc.report(spec)["params"]["total"]
174604259328

Importing this package costs next to nothing: each name below is looked up when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from archcalc._version import __version__
    from archcalc.analysis.sweep import sweep
    from archcalc.contract import report
    from archcalc.errors import ArchcalcError, InputError, MissingExtraError
    from archcalc.proof import verify
    from archcalc.sources import load
    from archcalc.spec import Spec

__all__ = [
    "ArchcalcError",
    "InputError",
    "MissingExtraError",
    "Spec",
    "__version__",
    "build",
    "load",
    "params",
    "report",
    "sweep",
    "verify",
]

_HOMES = {
    "ArchcalcError": "archcalc.errors",
    "InputError": "archcalc.errors",
    "MissingExtraError": "archcalc.errors",
    "Spec": "archcalc.spec",
    "__version__": "archcalc._version",
    "load": "archcalc.sources",
    "report": "archcalc.contract",
    "sweep": "archcalc.analysis.sweep",
    "verify": "archcalc.proof",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'archcalc' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__


def params(spec: Spec) -> pd.DataFrame:
    """A DataFrame with a row for each weight of a spec (see `archcalc.analysis.params.frame`)."""
    from archcalc.analysis.params import frame
    from archcalc.ledger.build import build as build_ledger

    return frame(build_ledger(spec))


def build(spec: Spec, device: str = "meta", dtype: torch.dtype | None = None) -> torch.nn.Module:
    """The architecture as a PyTorch module; on the meta device it takes no memory.

    Raises MissingExtraError where torch is not installed.
    """
    from archcalc.extras import require

    require("torch", does="building the PyTorch model", extra="model")
    from archcalc.nn.build import build as build_module

    return build_module(spec, device=device, dtype=dtype)
