"""Memory of training adapters beside frozen weights (LoRA, Hu et al. 2021, arXiv:2106.09685, and others).

A matrix W [out, in] gets A [r, in] and B [out, r]; W is frozen, stored in any format, without gradient. With W in NF4
this is QLoRA (Dettmers et al. 2023, arXiv:2305.14314). Which matrices get them is in `adapters/`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from msgspec import structs

from archcalc.analysis.adapters.config import AdapterConfig, MethodName, Naming
from archcalc.analysis.adapters.methods import METHODS
from archcalc.analysis.adapters.naming import named
from archcalc.analysis.closed_form import Rewriter
from archcalc.analysis.optimizers import Optimizer
from archcalc.analysis.row_names import path_pattern
from archcalc.analysis.training import (
    PARTS,
    PersistentTensor,
    Precision,
    Recipe,
    formulas,
    persistent_bytes,
    persistent_tensors,
)
from archcalc.analysis.training_memory import PartMemory, PartSize, part_bytes, parts_of, persistent_parts
from archcalc.analysis.weights import weights
from archcalc.hf.adapter_modules import LIBRARY
from archcalc.ledger.build import build
from archcalc.ledger.leaves import Component
from archcalc.ledger.rows import Ledger, WeightRow
from archcalc.results import Result, Row, Sureness, count, data, share, text
from archcalc.results import product as sizes
from archcalc.spec import Spec
from archcalc.words import msg

# Fixed projections are created in fp32.
SHARED_BYTES = 4


class AdapterTensor(Row, frozen=True, kw_only=True):
    """An adapter matrix over the layers that have it."""

    path: Annotated[str, text(msg("adapter"))]
    group: Annotated[str, text(msg("kind of layer"), shown="varied")]
    component: Annotated[Component, data(msg("component"))]
    layers: Annotated[int, count(msg("layers"), is_summed=False)]
    shape: Annotated[tuple[int, ...], sizes(msg("shape"))]
    parameters: Annotated[int, count(msg("parameters"))]
    share: Annotated[float, share(msg("share"))]
    formula: Annotated[str, text(msg("formula"))]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "exact"


class LoraMemory(Result, frozen=True, kw_only=True):
    """Bytes of training adapters beside frozen weights: all exact, from step to step."""

    name: Annotated[str, data(msg("name of the model"))]
    label: Annotated[str, data(msg("title of the model"))]
    method: Annotated[MethodName, data(msg("how the model is adapted"))]
    rank: Annotated[int | None, data(msg("rank of the adapters"))]
    targets: Annotated[str | tuple[str, ...] | None, data(msg("modules with adapters"))]
    naming: Annotated[Naming, data(msg("whose names the modules have"))]
    library: Annotated[str | None, data(msg("library that attaches the adapters"))]
    class_name: Annotated[str | None, data(msg("class of transformers"))]
    dtype: Annotated[str, data(msg("format of the frozen weights"))]
    recipe: Annotated[str, data(msg("mixed-precision recipe"))]
    optimizer: Annotated[str, data(msg("optimizer"))]
    dtypes: Annotated[Precision, data(msg("dtypes of weights, gradients and master copy"))]
    trainable: Annotated[int, data(msg("parameters of the adapters"))]
    parameters: Annotated[int, data(msg("parameters"))]
    shared: Annotated[int, data(msg("fixed numbers that all adapters share"))]
    trained_biases: Annotated[int, data(msg("biases of the model that are trained"))]
    frozen_bytes: Annotated[int, data(msg("bytes of the frozen weights"))]
    adapters_bytes: Annotated[int, data(msg("bytes of the adapters"))]
    gradients_bytes: Annotated[int, data(msg("bytes of the gradients"))]
    master_bytes: Annotated[int, data(msg("bytes of the master copy"))]
    optimizer_bytes: Annotated[int, data(msg("bytes of the optimizer states"))]
    total_bytes: Annotated[int, data(msg("bytes from step to step"))]
    step_counters_bytes: Annotated[int, data(msg("bytes of step counters on the host"))]
    parts: Annotated[tuple[PartMemory, ...], data(msg("parts of a training step"))]
    adapters: Annotated[tuple[AdapterTensor, ...], data(msg("adapters"))]
    left_out: Annotated[tuple[str, ...], data(msg("matrices without adapters"))]
    not_found: Annotated[tuple[str, ...], data(msg("names that the class does not have"))]
    without_effect: Annotated[tuple[str, ...], data(msg("settings that change no size"))]


def lora_memory(
    spec: Spec,
    adapter: AdapterConfig,
    *,
    naming: Naming | None = None,
    stated: Mapping[str, Any] | None = None,
    is_strict: bool = True,
    dtype: str,
    recipe: Recipe,
    optimizer: Optimizer,
) -> LoraMemory:
    """Return the memory of training adapters beside frozen weights.

    The weights are stored in the format `dtype`, the adapters as the recipe says. `naming`, `stated` and `is_strict`
    as in `named`. Raise InputError for an unknown format, and for targets as `named` does.
    """
    ledger, precision = build(spec), recipe.precision()
    found = named(spec, ledger, adapter, naming=naming, stated=stated, is_strict=is_strict)
    rows, biases = found.attached.rows, found.attached.biases
    tensors = [*persistent_tensors(rows, precision, optimizer), *_in_place(biases, precision, optimizer)]
    total = persistent_bytes(tensors)
    shared_bytes = SHARED_BYTES * sum(row.total for row in found.attached.shared)
    frozen_bytes = sum(line.total_bytes for line in weights(ledger, dtype)) + shared_bytes
    new, trained_biases = (sum(row.total for row in some) for some in (rows, biases))
    rewriter = Rewriter(structs.replace(ledger, sizes=_sizes(ledger, rows)))
    symbols = dict.fromkeys(PARTS) if biases else formulas(rows, precision, optimizer)
    persistent = persistent_parts(total, precision, symbols, rewriter)
    frozen = PartSize("frozen", dtype, frozen_bytes, None)
    trained = [structs.replace(one, part="adapters") if one.part == "weights" else one for one in persistent]
    parts = part_bytes(total)
    has_rank = adapter.method in METHODS and adapter.method != "ia3"
    return LoraMemory(
        name=spec.name,
        label=spec.label,
        method=adapter.method,
        rank=adapter.rank if has_rank else None,
        targets=adapter.targets if adapter.method in METHODS else None,
        naming=found.naming,
        library=LIBRARY if found.naming == "library" else None,
        class_name=found.class_name or None,
        dtype=dtype,
        recipe=recipe.name,
        optimizer=optimizer.name,
        dtypes=precision,
        trainable=new + trained_biases,
        parameters=ledger.total() + new,
        shared=sum(row.total for row in found.attached.shared),
        trained_biases=trained_biases,
        frozen_bytes=frozen_bytes,
        adapters_bytes=parts.pop("weights_bytes"),
        **parts,
        total_bytes=frozen_bytes + total.bytes,
        step_counters_bytes=total.step_counters_bytes,
        parts=parts_of([frozen, *trained], ledger.total()),
        adapters=tuple(_adapter(row, new + trained_biases, rewriter) for row in (*rows, *biases)),
        left_out=found.attached.left_out,
        not_found=found.attached.not_found,
        without_effect=adapter.without_effect,
    )


def _sizes(ledger: Ledger, rows: Sequence[WeightRow]) -> Mapping[str, int]:
    """Return the ledger's sizes with those that adapters have besides."""
    return {**ledger.sizes, **(rows[0].sizes if rows else {})}


def _in_place(biases: Sequence[WeightRow], precision: Precision, optimizer: Optimizer) -> list[PersistentTensor]:
    """Return the bytes of training tensors of the model, whose weights are among the frozen ones."""
    return [structs.replace(one, weights_bytes=0) for one in persistent_tensors(biases, precision, optimizer)]


def _adapter(row: WeightRow, trainable: int, rewriter: Rewriter) -> AdapterTensor:
    return AdapterTensor(
        path=path_pattern(row.path),
        group=row.group,
        component=row.component,
        layers=row.layers,
        shape=row.shape,
        parameters=row.total,
        share=row.total / trainable,
        formula=rewriter.equation(row.formula),
    )
