"""FLOPs and bytes of one workload on each of several models. Exact."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from archcalc.analysis.memory import Dtype
from archcalc.analysis.report import figures
from archcalc.errors import InputError
from archcalc.ledger.build import build
from archcalc.results import Result, Row, Sureness, counts, data, text
from archcalc.spec import Spec
from archcalc.spec.workload import workload
from archcalc.words import msg

# Figures of a report, by their names in its JSON.
_FIGURES = {
    "flops.forward": msg("forward FLOPs"),
    "flops.forward_causal": msg("forward causal FLOPs"),
    "flops.backward": msg("backward FLOPs"),
    "flops.train_step": msg("train step FLOPs"),
    "memory.weights_bytes": msg("weights bytes"),
    "memory.kv_cache_bytes": msg("kv cache bytes"),
    "memory.state_bytes": msg("state bytes"),
}


class CostFigure(Row, frozen=True, kw_only=True):
    """A figure of the report, with its value for each model."""

    figure: Annotated[str, text(msg("figure"), names=_FIGURES)]
    models: Annotated[dict[str, int], counts(msg("by model"))]
    kind: Annotated[Sureness, data(msg("exact, measured or modeled"))] = "exact"


class WorkloadCosts(Result, frozen=True, kw_only=True):
    """FLOPs and bytes of `batch` sequences of `seq` tokens, weights and caches in `dtype`, for each model."""

    batch: Annotated[int, data(msg("sequences"))]
    seq: Annotated[int, data(msg("new tokens"))]
    dtype: Annotated[str, data(msg("format of weights and caches"))]
    figures: Annotated[tuple[CostFigure, ...], data(msg("figures by model"))]


def workload_costs(models: Mapping[str, Spec], *, batch: int, seq: int, dtype: Dtype) -> WorkloadCosts:
    """Return the costs of a workload. Raises InputError, naming the model, for a workload it does not support."""
    values = {name: dict(_values(spec, name, batch, seq, dtype)) for name, spec in models.items()}
    rows = (CostFigure(figure=figure, models={name: values[name][figure] for name in models}) for figure in _FIGURES)
    return WorkloadCosts(batch=batch, seq=seq, dtype=dtype, figures=tuple(rows))


def _values(spec: Spec, name: str, batch: int, seq: int, dtype: Dtype) -> Iterator[tuple[str, int]]:
    try:
        report: Mapping[str, Any] = figures(build(spec), workload(spec, batch=batch, seq=seq), dtype)
    except InputError as error:
        raise error.within(name) from None
    for figure in _FIGURES:
        part, key = figure.split(".")
        yield figure, report[part][key]
