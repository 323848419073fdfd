"""Exact numbers of any transformer, explained and proven.

Examples:
    >>> import archcalc
    >>> spec = archcalc.load("gpt3")
    >>> archcalc.report(spec)["params"]["total"]
    174604259328

Public are the names in `__all__` and the namespaces among them: `archcalc.taps` reads and edits a forward pass,
`archcalc.trace` goes through one step by step, `archcalc.text` has tokenizers and chat templates. All other modules are
private and may change in any release.

What a user can cause is an ArchcalcError: InputError where an argument or a file cannot be used, MissingExtraError
where an optional package is not installed, TooLargeError where a model does not fit into memory. They name parameters.

Importing this package costs next to nothing: each name below is looked up when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    import pandas as pd
    import torch

    from archcalc import taps, text, trace
    from archcalc._version import __version__
    from archcalc.analysis.context import Context
    from archcalc.analysis.growth import Growth
    from archcalc.analysis.papers.conventions import Counted
    from archcalc.analysis.sweep.grid import sweep
    from archcalc.contract import report
    from archcalc.errors import ArchcalcError, InputError, MissingExtraError
    from archcalc.proof import verify
    from archcalc.run.decoding.generation import Completion
    from archcalc.run.loading.memory_check import TooLargeError
    from archcalc.run.loading.source import Ready
    from archcalc.sources import load
    from archcalc.spec import Spec
    from archcalc.spec.execution import Device, Execution, Experts, Kernel, Recompute
    from archcalc.spec.workload import Workload, workload

__all__ = [
    "ArchcalcError",
    "Execution",
    "InputError",
    "MissingExtraError",
    "Spec",
    "TooLargeError",
    "Workload",
    "__version__",
    "activations",
    "build",
    "context",
    "conventions",
    "diff",
    "flops",
    "generate",
    "growth",
    "load",
    "load_model",
    "memory",
    "params",
    "random_model",
    "ranks",
    "report",
    "sweep",
    "taps",
    "text",
    "trace",
    "training_memory",
    "verify",
    "workload",
]

_NAMESPACES = ("taps", "text", "trace")

_HOMES = {
    "ArchcalcError": "archcalc.errors",
    "Execution": "archcalc.spec.execution",
    "InputError": "archcalc.errors",
    "MissingExtraError": "archcalc.errors",
    "Spec": "archcalc.spec",
    "TooLargeError": "archcalc.run.loading.memory_check",
    "Workload": "archcalc.spec.workload",
    "__version__": "archcalc._version",
    "load": "archcalc.sources",
    "report": "archcalc.contract",
    "sweep": "archcalc.analysis.sweep.grid",
    "verify": "archcalc.proof",
    "workload": "archcalc.spec.workload",
}


def __getattr__(name: str) -> Any:
    if name in _NAMESPACES:
        return import_module(f"archcalc.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'archcalc' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__


def params(spec: Spec) -> pd.DataFrame:
    """Return a DataFrame with a row for each weight.

    The columns are path, group, component, kind ('trainable', 'frozen' or 'buffer'), axes, shape, count, layers, total,
    share, active, formula. `count` is of one layer, `total` of all; `active` is without the experts that a token does
    not use. All but the buffers sum to the report's totals.

    As all functions that return a DataFrame, it raises MissingExtraError without pandas (the extra `frames`).
    """
    from archcalc.analysis.params import frame
    from archcalc.ledger.build import build as build_ledger

    return frame(build_ledger(spec))


def flops(spec: Spec, work: Workload | None = None, **sizes: Any) -> pd.DataFrame:
    """Return a DataFrame with a row for each matrix product and convolution of a workload.

    The columns are path, group, component, axes, layers, forward, forward_causal, backward, formula, kind. FLOPs are
    over all layers and sequences; 2 for each multiply-accumulate.

    The workload is `work`, or `archcalc.workload(spec, **sizes)` with the sizes batch, seq, past, source_seq.

    Raises InputError for a workload that the model cannot have.
    """
    from archcalc.analysis.frames import flops as frame
    from archcalc.ledger.build import build as build_ledger

    return frame(build_ledger(spec), _asked(spec, work, sizes))


def memory(
    spec: Spec, work: Workload | None = None, *, dtype: str = "bf16", cache_dtype: str = "bf16", **sizes: Any
) -> pd.DataFrame:
    """Return a DataFrame with a row for each weight and each cache of a workload.

    The columns are path, group, what ('weight', 'buffer' or 'cache'), component, format, layers, elements, bytes,
    formula, kind. Bytes are over all layers and sequences, with scales and zeros of the format.

    `dtype` is a format of weights ('bf16', 'nf4', 'q4_k_m' …), `cache_dtype` one of caches. The workload is given as to
    `flops`.

    Raises InputError for a format that is unknown or does not fit a tensor's shape, and as `flops` does.
    """
    from archcalc.analysis.frames import memory as frame
    from archcalc.ledger.build import build as build_ledger

    return frame(build_ledger(spec), _asked(spec, work, sizes), dtype, cache_dtype)


def activations(spec: Spec, work: Workload | None = None, how: Execution | None = None, **sizes: Any) -> pd.DataFrame:
    """Return a DataFrame with a row for each tensor that autograd saves in a training step.

    The columns are path (of the operation that saves it), tensor, group, component, dtype, layers, bytes, square
    (whether it grows with the square of the sequence), formula, kind. Bytes are over all layers.

    `how` says how the step is carried out (`archcalc.Execution`): eagerly in bf16, if left out. The workload is given
    as to `flops`.

    Raises InputError for a workload with a past, and as `flops` does.
    """
    from archcalc.analysis.frames import activations as frame
    from archcalc.ledger.build import build as build_ledger
    from archcalc.spec.execution import Execution

    asked, how = _trained(spec, work, sizes), how or Execution()
    return frame(build_ledger(spec, how), asked, how)


def training_memory(
    spec: Spec,
    work: Workload | None = None,
    *,
    recipe: str | None = None,
    dtype: str | None = None,
    optimizer: str = "adamw",
    recompute: Recompute = "none",
    dropout: bool = True,
    attention: Kernel = "eager",
    experts: Experts = "split",
    device: Device | None = None,
    **sizes: Any,
) -> dict[str, Any]:
    """Return the bytes of a training step, as `archcalc memory --train --format json` prints them.

    Exact are those kept from step to step ("weights_bytes", "gradients_bytes", "master_bytes", "optimizer_bytes",
    "total_bytes", "by_component", "weights") and the saved activations ("activations"); "peak" is modelled.

    `recipe` is 'mixed', 'megatron', 'pure' or 'autocast', `dtype` that of the weights in it; left out, it is the first
    that has weights of this dtype. The other choices are those of `archcalc.Execution`. The workload is given as to
    `flops`.

    Raises InputError for an unknown name, weights that a recipe does not have, and as `activations` does.
    """
    from archcalc.analysis.training_setup import training_setup
    from archcalc.render.training import data

    setup = training_setup(
        spec,
        _trained(spec, work, sizes),
        recipe=recipe,
        dtype=dtype,
        optimiser=optimizer,
        device=device,
        recompute=recompute,
        dropout=dropout,
        attention=attention,
        experts=experts,
    )
    return data(setup)


def conventions(spec: Spec, work: Workload | None = None, **sizes: Any) -> list[Counted]:
    """Return the FLOPs of a training step by each convention of a paper: 6N, Kaplan, Chinchilla, PaLM, Megatron.

    Each has `convention` (name, formula, source), `train_step` in FLOPs, and `off`, its difference from the exact count
    as a fraction. The workload is given as to `flops`.

    Raises InputError for a model that is not a decoder, and as `flops` does.
    """
    from archcalc.analysis.papers.conventions import counted
    from archcalc.ledger.build import build as build_ledger

    return counted(spec, build_ledger(spec), _asked(spec, work, sizes))


def context(spec: Spec, phase: Literal["prefill", "decode"] = "prefill", up_to: int | None = None) -> Context:
    """Return the FLOPs of a prefill or a decode step along the context length, and where attention overtakes the FFN.

    `points` have the FLOPs by part at powers of two of tokens, up to `up_to`: the table of positions, if left out.
    `crossing` is the fewest tokens at which attention costs more than the FFN, None if it never does.

    >>> import archcalc
    >>> archcalc.context(archcalc.load("llama-3-8b")).crossing
    16385

    Raises InputError for a decode step of an encoder, or more tokens than there are positions for.
    """
    from archcalc.analysis.context import context as along

    return along(spec, phase, up_to)


def growth(spec: Spec, *, batch: int = 1, cache_dtype: str = "bf16", up_to: int | None = None) -> Growth:
    """Return the bytes of the cache as the context grows.

    `points` are pairs of tokens in each sequence and bytes of all sequences, at powers of two up to `up_to`: the table
    of positions, if left out.

    >>> import archcalc
    >>> archcalc.growth(archcalc.load("llama-3-8b"), up_to=8192).points[-1]
    (8192, 1073741824)

    Raises InputError where nothing is cached, for an unknown format, or more tokens than there are positions for.
    """
    from archcalc.analysis.growth import growth as along
    from archcalc.ledger.build import build as build_ledger

    return along(spec, build_ledger(spec), batch, cache_dtype, up_to)


def ranks(
    spec: Spec,
    engine: Literal["tp", "fsdp"],
    n: int,
    work: Workload | None = None,
    *,
    dtype: str = "bf16",
    cache_dtype: str = "bf16",
    **sizes: Any,
) -> dict[str, Any]:
    """Return the bytes that each of `n` ranks holds, as `archcalc memory --tp N --format json` prints them.

    "ranks" has the totals of each; "weights" and "caches" each tensor, the axis that is split, and its bytes on each
    rank. `engine` is 'tp' (tensor parallel) or 'fsdp'. The workload is given as to `flops`.

    Raises InputError for a format without a fixed number of bytes, heads that `n` ranks cannot share, and as `flops`
    does.
    """
    from archcalc.ledger.build import build as build_ledger
    from archcalc.render.shards import data

    dtypes: Any = (dtype, cache_dtype)
    return data(build_ledger(spec), _asked(spec, work, sizes), engine, n, dtypes)


def diff(left: Spec, right: Spec) -> dict[str, Any]:
    """Return what differs between two models, as `archcalc diff --format json` prints it.

    "params" has both counts of each component and their difference, right less left; "fields" the path and both values
    of each field that differs.
    """
    from archcalc.render.comparison import diff_data

    return diff_data(left, right)


def _trained(spec: Spec, work: Workload | None, sizes: dict[str, Any]) -> Workload:
    """The workload of a training step. Raises InputError if it has a past."""
    from archcalc.errors import InputError
    from archcalc.words import msg

    asked = _asked(spec, work, sizes)
    if asked.past:
        raise InputError(msg("what follows a cache is not trained"), where="past", allowed="0")
    return asked


def _asked(spec: Spec, work: Workload | None, sizes: dict[str, Any]) -> Workload:
    """The workload, told whole or by its sizes. Raises InputError if it is told twice."""
    from archcalc.errors import InputError
    from archcalc.spec.workload import workload
    from archcalc.words import msg

    if work is None:
        return workload(spec, **sizes)
    if sizes:
        raise InputError(msg("a workload and sizes of one"), where=", ".join(sizes), allowed=msg("either"))
    return work


def build(
    spec: Spec, device: str = "meta", dtype: torch.dtype | None = None, *, how: Execution | None = None
) -> torch.nn.Module:
    """Return the architecture as a PyTorch module; on the meta device it takes no memory.

    `model(ids)` returns logits [B, T, V] of token ids [B, T], as that of `load_model` does. The weights are those that
    PyTorch initializes a module with. `how` says by which kernels it runs and what is recomputed in training; left out,
    all is eager.

    Raises MissingExtraError where torch is not installed.
    """
    from archcalc.extras import require
    from archcalc.words import msg

    require("torch", does=msg("building the PyTorch model"), extra="model")
    from archcalc.nn.build import build as build_module

    return build_module(spec, device=device, dtype=dtype, execution=how)


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

    Raises InputError for a source without weights or with broken ones, an unknown dtype, and a device that is not
    there; TooLargeError, before anything is allocated, for a model that does not fit; MissingExtraError where what
    runs a model is not installed.

    Examples:
        >>> import torch
        >>> model = archcalc.load_model("tiny")
        >>> model(torch.tensor([[1, 2, 3]])).shape
        torch.Size([1, 3, 2048])
    """
    from archcalc.extras import require_running

    require_running()
    from archcalc.run.loading.model import load_model as load

    return load(source, dtype=dtype, device=device, packed=packed)


def random_model(spec: Spec, *, seed: int = 0) -> Any:
    """Return the PyTorch model of a spec with random float32 weights on the CPU, in eval mode and without gradients.

    It is called as that of `load_model`; equal seeds give equal weights. `archcalc trace SOURCE --random-weights` looks
    into the same.

    Raises TooLargeError, before anything is allocated, for a model that does not fit; MissingExtraError where what runs
    a model is not installed.
    """
    from archcalc.extras import require_running

    require_running()
    from archcalc.run.loading.model import random_model as draw

    return draw(spec, seed=seed)


def generate(source: str | Ready, prompt: str | Sequence[int], **options: Any) -> Completion:
    """Return what a model generates after a prompt: its `text`, its `ids`, and `ended`, why it ended.

    `source` is one of `load_model`, or any architecture with `random_weights=True`. The prompt is a text or token ids.
    Options: `max_tokens` (128), `temperature` (0: the likeliest token), `top_k`, `top_p`, `min_p`,
    `repetition_penalty` (1), `seed` (0), `stops` (texts), `ignore_eos`, `beams`, `device` ('cpu'), `dtype` (of torch),
    `quantize` ('int8', 'int4').

    Raises InputError for a source without weights or with broken ones, a prompt that the model cannot read, and options
    that contradict each other; TooLargeError for a model that does not fit; MissingExtraError where what runs a model
    is not installed.

    Examples:
        >>> archcalc.generate("tiny", "And God said", max_tokens=8).text
        ', I will not do it: but'
    """
    from archcalc.extras import require_running

    require_running()
    from archcalc.run.decoding.generate import generate as run

    return run(source, prompt, **options)
