"""Exact numbers of any transformer, explained and proven.

Examples:
    >>> import archcalc
    >>> spec = archcalc.load("gpt3")
    >>> archcalc.report(spec)["params"]["total"]
    174604259328

Where a function takes a `spec`, any source of `load` does as well: `archcalc.report("gpt3")`.

The public API is `__all__`, including four namespaces: `archcalc.taps` reads and edits activations, `archcalc.trace`
traces a forward pass step by step, `archcalc.inside` looks into a model (lenses, patching, steering), `archcalc.text`
has tokenizers and chat templates. All other modules are private and may change in any release.

Errors that a user can cause are ArchcalcErrors: InputError for an invalid argument or file, MissingExtraError for a
missing optional package, TooLargeError for a model that does not fit into memory.

Names are imported when they are first used, so importing this package is fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    import pandas as pd
    import torch

    from archcalc import inside, taps, text, trace
    from archcalc._version import __version__
    from archcalc.analysis.context import ContextFlops
    from archcalc.analysis.growth import CacheGrowth
    from archcalc.analysis.papers.conventions import ConventionFlops
    from archcalc.analysis.sweep.grid import sweep
    from archcalc.contract import report
    from archcalc.errors import ArchcalcError, InputError, MissingExtraError
    from archcalc.proof import verify
    from archcalc.run.decoding.completion import Completion
    from archcalc.run.loading.memory_check import TooLargeError
    from archcalc.run.loading.source import LoadedModel
    from archcalc.sources import load
    from archcalc.spec import Spec
    from archcalc.spec.document import Document
    from archcalc.spec.execution import Device, Execution, Experts, Kernel, Recompute
    from archcalc.spec.workload import Workload

    Source = Spec | str | os.PathLike[str] | Document

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
    "inside",
    "load",
    "load_model",
    "memory",
    "params",
    "random_model",
    "ranks",
    "report",
    "structures",
    "structures_page",
    "sweep",
    "taps",
    "text",
    "trace",
    "training_memory",
    "verify",
    "workload",
]

_NAMESPACES = ("inside", "taps", "text", "trace")

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


def params(spec: Source) -> pd.DataFrame:
    """Return a DataFrame with a row for each weight.

    The columns are path, group, component, tensor_kind ('trainable', 'frozen' or 'buffer'), axes, shape,
    elements_per_layer, layers (how many), layer_indices, elements (of all layers), share, active, formula, kind.
    `active` leaves out the experts that a token does not use. All rows except buffers, which have no share, sum to the
    totals of the report.

    Like all functions that return a DataFrame, it raises MissingExtraError without pandas (the extra `frames`).
    """
    spec = _spec(spec)
    from archcalc.analysis.params import weight_params
    from archcalc.ledger.build import build as build_ledger
    from archcalc.results import frame

    return frame(weight_params(build_ledger(spec)))


def flops(spec: Source, work: Workload | None = None, **sizes: Any) -> pd.DataFrame:
    """Return a DataFrame with a row for each matrix product and convolution of a workload.

    The columns are path, group, component, axes, layers, forward, forward_causal, backward, share, formula (of
    forward), kind. FLOPs are over all layers and sequences; 2 for each multiply-accumulate.

    The workload is `work`, or `archcalc.workload(spec, **sizes)` with the sizes batch, seq, past, source_seq.

    Raises InputError for an invalid workload.
    """
    spec = _spec(spec)
    from archcalc.analysis.flops import by_op
    from archcalc.analysis.workload_flops import matmul_flops
    from archcalc.ledger.build import build as build_ledger
    from archcalc.results import frame

    ledger, work = build_ledger(spec), _workload(spec, work, sizes)
    return frame(matmul_flops(ledger, work, by_op(ledger, work)))


def memory(
    spec: Source, work: Workload | None = None, *, dtype: str = "auto", cache_dtype: str = "auto", **sizes: Any
) -> pd.DataFrame:
    """Return a DataFrame with a row for each weight and each cache of a workload.

    The columns are path, group, what ('weight', 'buffer' or 'cache'), component, format, layers, elements,
    payload_bytes, overhead_bytes (scales and zero points of the format), bytes (both), share, next_token_bytes, formula
    (of the elements), bytes_formula (of a cache), kind. Bytes are over all layers and sequences.

    `dtype` is the format of the weights ('bf16', 'nf4', 'q4_k_m' …), `cache_dtype` that of the KV cache; 'auto' is what
    the source states, bf16 if it states nothing. The workload is given as in `flops`.

    Raises InputError for a format that is unknown or does not fit a tensor's shape, and as in `flops`.
    """
    spec = _spec(spec)
    from archcalc.analysis.inference_memory import inference_memory
    from archcalc.ledger.build import build as build_ledger
    from archcalc.results import frame

    result = inference_memory(spec, build_ledger(spec), _workload(spec, work, sizes), dtype, cache_dtype)
    return frame((*result.weights, *result.caches))


def activations(spec: Source, work: Workload | None = None, how: Execution | None = None, **sizes: Any) -> pd.DataFrame:
    """Return a DataFrame with a row for each tensor that autograd saves in a training step.

    The columns are path (of the operation that saves it), group, tensor, component, dtype, layers (0 outside the
    layers), layer_bytes, bytes (over all layers), share, is_square (whether it grows with the square of the sequence),
    formula, kind.

    `how` is an `archcalc.Execution` (default: eager, bf16). The workload is given as in `flops`.

    Raises InputError for a workload with a past, and as in `flops`.
    """
    spec = _spec(spec)
    from archcalc.analysis.activations import saved_tensors
    from archcalc.ledger.build import build as build_ledger
    from archcalc.results import frame
    from archcalc.spec.execution import Execution

    training_work, how = _training_workload(spec, work, sizes), how or Execution()
    return frame(saved_tensors(build_ledger(spec, how), training_work, how))


def training_memory(
    spec: Source,
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

    Exact are the persistent bytes ("weights_bytes", "gradients_bytes", "master_bytes", "optimizer_bytes",
    "total_bytes", "components", "weights") and the saved activations ("activations"); "peak" is modeled. `archcalc
    schema memory-train` prints the JSON Schema.

    `recipe` is 'mixed', 'megatron', 'pure' or 'autocast', by default the first with weights in `dtype`. The other
    options are those of `archcalc.Execution`. The workload is given as in `flops`.

    Raises InputError for an unknown name, a dtype that the recipe does not support, and as in `activations`.
    """
    spec = _spec(spec)
    from archcalc.analysis.training_memory import training_memory as memory_of
    from archcalc.analysis.training_setup import training_setup
    from archcalc.results import plain

    setup = training_setup(
        spec,
        _training_workload(spec, work, sizes),
        recipe=recipe,
        dtype=dtype,
        optimizer=optimizer,
        device=device,
        recompute=recompute,
        dropout=dropout,
        attention=attention,
        experts=experts,
    )
    memory_dict: dict[str, Any] = plain(memory_of(setup))
    return memory_dict


def conventions(spec: Source, work: Workload | None = None, **sizes: Any) -> list[ConventionFlops]:
    """Return the FLOPs of a training step by the conventions of papers: 6N, Kaplan, Chinchilla, PaLM, Megatron.

    Each has `convention` (its name), `train_step` in FLOPs, `difference` (relative, from the exact count), `expression`
    (its formula), `source` and `kind`. The workload is given as in `flops`.

    Raises InputError for a model that is not a decoder, and as in `flops`.
    """
    spec = _spec(spec)
    from archcalc.analysis.papers.conventions import convention_flops
    from archcalc.ledger.build import build as build_ledger

    return convention_flops(spec, build_ledger(spec), _workload(spec, work, sizes))


def context(spec: Source, phase: Literal["prefill", "decode"] = "prefill", up_to: int | None = None) -> ContextFlops:
    """Return the FLOPs of a prefill or a decode step along the context length, and where attention overtakes the FFN.

    `points` have `tokens` and the FLOPs by part at powers of two of tokens, up to `up_to` (default: n_ctx, or at least
    131,072 without a position table). `crossing` is the fewest tokens at which attention costs more than the FFN, None
    if it never does.

    >>> import archcalc
    >>> archcalc.context(archcalc.load("llama-3-8b")).crossing
    16385

    Raises InputError for a decode step of an encoder, and for more tokens than positions.
    """
    spec = _spec(spec)
    from archcalc.analysis.context import context as context_flops

    return context_flops(spec, phase, up_to)


def growth(spec: Source, *, batch: int = 1, cache_dtype: str = "bf16", up_to: int | None = None) -> CacheGrowth:
    """Return the bytes of the KV cache as the context grows.

    `points` have `tokens` (per sequence) and `kv_cache_bytes` (of the batch) at powers of two up to `up_to`, whose
    default is that of `context`.

    >>> import archcalc
    >>> archcalc.growth(archcalc.load("llama-3-8b"), up_to=8192).points[-1].kv_cache_bytes
    1073741824

    Raises InputError for a model without a cache, an unknown format, and more tokens than positions.
    """
    spec = _spec(spec)
    from archcalc.analysis.growth import growth as cache_growth
    from archcalc.ledger.build import build as build_ledger

    return cache_growth(spec, build_ledger(spec), batch, cache_dtype, up_to)


def ranks(
    spec: Source,
    engine: Literal["tp", "fsdp"],
    n: int,
    work: Workload | None = None,
    *,
    dtype: str = "bf16",
    cache_dtype: str = "bf16",
    **sizes: Any,
) -> dict[str, Any]:
    """Return the bytes on each of `n` ranks, as `archcalc memory --tp N --format json` prints them.

    "ranks" has the totals per rank; "weights" and "caches" have, for each tensor, the axis that is split and its bytes
    on each rank. `archcalc schema memory-tp` prints the JSON Schema. `engine` is 'tp' (tensor parallel) or 'fsdp'. The
    workload is given as in `flops`.

    Raises InputError for a format without a fixed number of bytes, heads that `n` does not divide, and as in `flops`.
    """
    spec = _spec(spec)
    from archcalc.analysis.shards import sharded_memory
    from archcalc.ledger.build import build as build_ledger
    from archcalc.results import plain

    dtypes: Any = {"dtype": dtype, "cache_dtype": cache_dtype}
    result = sharded_memory(spec, build_ledger(spec), _workload(spec, work, sizes), engine, n, **dtypes)
    ranks_dict: dict[str, Any] = plain(result)
    return ranks_dict


def diff(left: Source, right: Source) -> dict[str, Any]:
    """Return the differences between two models, as `archcalc diff --format json` prints them.

    "params" has, for each component and total ("figure"), both counts ("left", "right"), their "difference" (right −
    left) and its "change" as a fraction of the left. "fields" has the path ("field") and both values of each field that
    differs.
    """
    from archcalc.analysis.comparison import model_difference
    from archcalc.results import plain

    difference: dict[str, Any] = plain(model_difference(_spec(left), _spec(right)))
    return difference


def structures(specs: Sequence[Source], *, seq: int | None = None, position: int | None = None) -> dict[str, Any]:
    """Return the path of one token through each model, as `archcalc structures --format json` prints it.

    "steps" has for each model and step the path, the tokens that it reads ("token", "left", "all", "source" or "text"),
    the axes and the shape for one token of `seq` (default: 6). Of an encoder-decoder, these are the steps of a source
    token, then of a target token. `position` is the token that is followed (default: the third last).

    Raises InputError for no models, more tokens than a context, and a position outside the text.
    """
    from archcalc.analysis.token_path import token_paths
    from archcalc.results import plain

    paths: dict[str, Any] = plain(token_paths(_specs(specs), seq, position))
    return paths


def structures_page(
    specs: Sequence[Source],
    *,
    seq: int | None = None,
    position: int | None = None,
    lang: Literal["en", "zh"] = "en",
) -> str:
    """Return the interactive HTML page of `archcalc structures`: diagrams side by side, and the path of one token.

    The page needs no network. It raises as `structures`.
    """
    from archcalc.render.structures_page import as_html
    from archcalc.words import translator

    return as_html(_specs(specs), seq, position, translator(lang))


def workload(
    spec: Source, *, batch: int = 1, seq: int | None = None, past: int = 0, source_seq: int | None = None
) -> Workload:
    """Return the workload of a model. `seq` defaults to min(2048, n_ctx), `source_seq` to `seq`.

    Raises InputError for sizes that are not positive, a past without a cache, a source without an encoder, or more
    tokens than positions.
    """
    from archcalc.spec.workload import workload as workload_of

    return workload_of(_spec(spec), batch=batch, seq=seq, past=past, source_seq=source_seq)


def _spec(spec: Source) -> Spec:
    """Return a Spec as it is, and that of any other source."""
    from archcalc.sources import spec_of

    return spec_of(spec)


def _specs(specs: Sequence[Source]) -> list[Spec]:
    """Return the Specs of several models. Raises InputError for something that is no list."""
    from archcalc.errors import InputError, shown
    from archcalc.words import msg

    if not isinstance(specs, list | tuple):
        raise InputError(msg("found {found}", found=shown(specs)), where="specs", allowed=msg("a list of models"))
    return [_spec(spec) for spec in specs]


def _training_workload(spec: Spec, work: Workload | None, sizes: dict[str, Any]) -> Workload:
    """Return the workload of a training step. Raises InputError if it has a past."""
    from archcalc.errors import InputError
    from archcalc.words import msg

    training_work = _workload(spec, work, sizes)
    if training_work.past:
        raise InputError(msg("what follows a cache is not trained"), where="past", allowed="0")
    return training_work


def _workload(spec: Spec, work: Workload | None, sizes: dict[str, Any]) -> Workload:
    """Return `work`, or the workload with these sizes. Raises InputError if both are given."""
    from archcalc.errors import InputError
    from archcalc.spec.workload import workload
    from archcalc.words import msg

    if work is None:
        return workload(spec, **sizes)
    if sizes:
        raise InputError(msg("a workload and sizes of one"), where=", ".join(sizes), allowed=msg("either"))
    return work


def build(
    spec: Source, device: str = "meta", dtype: torch.dtype | None = None, *, how: Execution | None = None
) -> torch.nn.Module:
    """Return the architecture as a PyTorch module; on the meta device it takes no memory.

    `model(ids)` returns logits [B, T, V] of token ids [B, T], as for `load_model`. The weights have PyTorch's default
    initialization. `how` selects kernels and activation checkpointing (default: eager, none).

    Raises MissingExtraError if torch is not installed.
    """
    spec = _spec(spec)
    from archcalc.extras import require
    from archcalc.words import msg

    require("torch", does=msg("building the PyTorch model"), extra="model")
    from archcalc.nn.build import build as build_module

    return build_module(spec, device=device, dtype=dtype, execution=how)


def load_model(
    source: str | os.PathLike[str], *, dtype: str = "fp32", device: str = "cpu", packed: bool = False
) -> Any:
    """Return the PyTorch model of a source with its weights, in eval mode and without gradients.

    `source` is a folder in Hugging Face layout, a .gguf file, a repo id, or a preset with weights. `dtype` is 'fp32',
    'bf16' or 'fp16'. A `packed` model has its matrices rearranged for speed, in float32 on the CPU only.

    - `model(ids)`: logits [B, T, V] of token ids [B, T]; `model(source_ids, ids)` for an encoder-decoder.
    - Other classes return what transformers' class does: [B, labels] of a text (classification, reward), [B, 1] of one
      choice, [B, T, labels] of tokens (answers: start and end), states [B, T, D] of a model without a head, or the
      pooled state [B, D]. `padding_BT` is True at padding.
    - `model.new_cache(batch, capacity)`: an empty KV cache for `batch` rows of up to `capacity` tokens.
      `model(ids, cache=cache)` continues after the cached tokens and appends to the cache.
    - `model.encode(source_ids, cache=cache)`: the encoder states [B, S, D] of an encoder-decoder; the cache stores
      their cross-attention keys and values. Then `model(ids, cache=cache)` runs the decoder only.
    - `model.spec`: the architecture.

    Raises InputError for missing or invalid weights, an unknown dtype, and an unavailable device; TooLargeError, before
    anything is allocated, for a model that does not fit; MissingExtraError if a required package is not installed.

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


def random_model(spec: Source, *, seed: int = 0) -> Any:
    """Return the PyTorch model of a spec with random float32 weights on the CPU, in eval mode and without gradients.

    Its interface is that of `load_model`; equal seeds give equal weights. `archcalc trace SOURCE --random-weights`
    traces the same model.

    Raises TooLargeError, before anything is allocated, for a model that does not fit; MissingExtraError if a required
    package is not installed.
    """
    spec = _spec(spec)
    from archcalc.extras import require_running

    require_running()
    from archcalc.run.loading.model import random_model as draw

    return draw(spec, seed=seed)


def generate(source: str | LoadedModel, prompt: str | Sequence[int], **options: Any) -> Completion:
    """Return the completion of a prompt: `text`, `ids`, and `ended`, the reason why it ended.

    `source` is as for `load_model`, or any architecture with `random_weights=True`. The prompt is a text or token ids.
    Options: `max_tokens` (128), `temperature` (0: greedy), `top_k`, `top_p`, `min_p`, `repetition_penalty` (1),
    `seed` (0), `stops` (texts), `ignore_eos`, `beams`, `device` ('cpu'), `dtype` (of torch), `quantize` ('int8',
    'int4').

    Raises InputError for missing or invalid weights, a prompt that the model cannot read, and conflicting options;
    TooLargeError for a model that does not fit; MissingExtraError if a required package is not installed.

    Examples:
        >>> archcalc.generate("tiny", "And God said", max_tokens=8).text
        ', I will not do it: but'
    """
    from archcalc.extras import require_running

    require_running()
    from archcalc.run.decoding.generate import generate as run

    return run(source, prompt, **options)
