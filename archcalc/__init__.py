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
    import os
    from collections.abc import Sequence

    import pandas as pd
    import torch

    from archcalc._version import __version__
    from archcalc.analysis.sweep.grid import sweep
    from archcalc.contract import report
    from archcalc.errors import ArchcalcError, InputError, MissingExtraError
    from archcalc.proof import verify
    from archcalc.run.decoding.generation import Completion
    from archcalc.run.loading.source import Ready
    from archcalc.sources import load
    from archcalc.spec import Spec
    from archcalc.spec.execution import Execution
    from archcalc.spec.workload import Workload, workload

__all__ = [
    "ArchcalcError",
    "Execution",
    "InputError",
    "MissingExtraError",
    "Spec",
    "Workload",
    "__version__",
    "activations",
    "build",
    "flops",
    "generate",
    "load",
    "load_model",
    "memory",
    "params",
    "report",
    "sweep",
    "verify",
    "workload",
]

_HOMES = {
    "ArchcalcError": "archcalc.errors",
    "Execution": "archcalc.spec.execution",
    "InputError": "archcalc.errors",
    "MissingExtraError": "archcalc.errors",
    "Spec": "archcalc.spec",
    "Workload": "archcalc.spec.workload",
    "__version__": "archcalc._version",
    "load": "archcalc.sources",
    "report": "archcalc.contract",
    "sweep": "archcalc.analysis.sweep.grid",
    "verify": "archcalc.proof",
    "workload": "archcalc.spec.workload",
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
    """A DataFrame with a row for each weight of a spec (see `archcalc.analysis.params.frame`).

    Like all functions that return a DataFrame, it raises MissingExtraError without pandas (the extra `frames`).
    """
    from archcalc.analysis.params import frame
    from archcalc.ledger.build import build as build_ledger

    return frame(build_ledger(spec))


def flops(spec: Spec, work: Workload | None = None, **sizes: Any) -> pd.DataFrame:
    """A DataFrame with a row for each product of a workload (see `archcalc.analysis.frames.flops`).

    The workload is `work`, or what `archcalc.workload` makes of `sizes`: batch, seq, past, source_seq.
    """
    from archcalc.analysis.frames import flops as frame
    from archcalc.ledger.build import build as build_ledger

    return frame(build_ledger(spec), _asked(spec, work, sizes))


def memory(
    spec: Spec, work: Workload | None = None, *, dtype: str = "bf16", cache_dtype: str = "bf16", **sizes: Any
) -> pd.DataFrame:
    """A DataFrame with a row for each weight and each cache (see `archcalc.analysis.frames.memory`).

    `dtype` is any format of weights ('bf16', 'nf4', 'q4_k_m' …). The workload is told as to `flops`.
    """
    from archcalc.analysis.frames import memory as frame
    from archcalc.ledger.build import build as build_ledger

    return frame(build_ledger(spec), _asked(spec, work, sizes), dtype, cache_dtype)


def activations(spec: Spec, work: Workload | None = None, how: Execution | None = None, **sizes: Any) -> pd.DataFrame:
    """A DataFrame with a row for each tensor that autograd keeps (see `archcalc.analysis.frames.activations`).

    `how` the training step is carried out (`archcalc.Execution`): eagerly in bf16, if left out. The workload is told as
    to `flops`, and has no past.
    """
    from archcalc.analysis.frames import activations as frame
    from archcalc.errors import InputError
    from archcalc.ledger.build import build as build_ledger
    from archcalc.spec.execution import Execution

    asked, how = _asked(spec, work, sizes), how or Execution()
    if asked.past:
        raise InputError("what follows a cache is not trained", where="past", allowed="0")
    return frame(build_ledger(spec, how), asked, how)


def _asked(spec: Spec, work: Workload | None, sizes: dict[str, Any]) -> Workload:
    """The workload, told whole or by its sizes. Raises InputError if it is told twice."""
    from archcalc.errors import InputError
    from archcalc.spec.workload import workload

    if work is None:
        return workload(spec, **sizes)
    if sizes:
        raise InputError("a workload and sizes of one", where=", ".join(sizes), allowed="either")
    return work


def build(
    spec: Spec, device: str = "meta", dtype: torch.dtype | None = None, *, how: Execution | None = None
) -> torch.nn.Module:
    """The architecture as a PyTorch module; on the meta device it takes no memory.

    `how` says by which kernels it runs and what it computes again in training; left out, all is eager.

    Raises MissingExtraError where torch is not installed.
    """
    from archcalc.extras import require

    require("torch", does="building the PyTorch model", extra="model")
    from archcalc.nn.build import build as build_module

    return build_module(spec, device=device, dtype=dtype, how=how)


def load_model(
    source: str | os.PathLike[str], *, dtype: str = "fp32", device: str = "cpu", packed: bool = False
) -> Any:
    """Return the PyTorch model of a source with its weights, in eval mode and without gradients.

    `source` is a folder in Hugging Face layout, a .gguf file, a repo id, or a preset that comes with weights.
    `dtype` is 'fp32', 'bf16' or 'fp16'. A `packed` model runs faster: float32 on the CPU alone, its matrices laid out
    anew.

    - `model(ids)`: logits [B, T, V] of token ids [B, T] (states [B, T, D] of a model without a head);
      of an encoder-decoder `model(source_ids, ids)`.
    - `model.new_cache(batch, capacity)`: an empty cache for `batch` rows of up to `capacity` tokens. With
      `model(ids, cache=cache)` the ids are the next after those that the cache has read, and it takes them in.
    - `model.encode(source_ids, cache=cache)`: of an encoder-decoder, the encoder's states [B, S, D]; the cache takes in
      what the decoder reads of them. Then `model(ids, cache=cache)` runs the decoder alone.
    - `model.spec`: the architecture.

    >>> model = archcalc.load_model("tiny")  # doctest: +SKIP
    >>> model(torch.tensor([[1, 2, 3]])).shape  # doctest: +SKIP
    torch.Size([1, 3, 4096])

    Raises InputError for a source without weights or with broken ones, an unknown dtype, and a device that is not
    there; TooLargeError, before anything is allocated, for a model that does not fit; MissingExtraError where what
    runs a model is not installed.
    """
    from archcalc.extras import require_running

    require_running()
    from archcalc.run.loading.model import load_model as load

    return load(source, dtype=dtype, device=device, packed=packed)


def generate(source: str | Ready, prompt: str | Sequence[int], **options: Any) -> Completion:
    """Return what a model with real weights generates after a prompt.

    The options are those of `archcalc.run.decoding.generate.generate`.

    >>> archcalc.generate("./SmolLM2-135M", "The capital of France is", max_tokens=8).text  # doctest: +SKIP
    ' Paris. It is the capital of'

    Raises MissingExtraError where what runs a model is not installed.
    """
    from archcalc.extras import require_running

    require_running()
    from archcalc.run.decoding.generate import generate as run

    return run(source, prompt, **options)
