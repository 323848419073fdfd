"""The object that `report --format json` prints and `archcalc.report` returns; its keys are a contract."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NotRequired, TypedDict, get_args, overload

from archcalc._version import __version__
from archcalc.analysis.flops import Flops
from archcalc.analysis.memory import Dtype, DtypeOrAuto, Memory, check_dtype
from archcalc.analysis.params import Summary
from archcalc.analysis.report import KINDS, figures
from archcalc.analysis.stored_mtp import MtpTotals, with_stored_mtp
from archcalc.analysis.stored_weights import model_workload
from archcalc.analysis.weight_bytes import WeightBytes
from archcalc.engines import COUNTED, LABEL, Counted, Engine, check_engine
from archcalc.ledger.build import build
from archcalc.ledger.leaves import Component
from archcalc.results import Sureness
from archcalc.sources import config_of, spec_of
from archcalc.spec import Spec
from archcalc.spec.model import Family
from archcalc.spec.workload import workload

if TYPE_CHECKING:
    from archcalc.analysis.transformers_report import TransformersReport

SCHEMA = 1


class ReportWorkload(TypedDict):
    """`batch` sequences of `seq` new tokens after `past` cached ones, and the dtype of weights and caches.

    An encoder-decoder reads `source_seq` source tokens.
    """

    batch: int
    seq: int
    past: int
    dtype: Dtype
    source_seq: NotRequired[int]


class ReportProvenance(TypedDict):
    """The sources that the spec cites, archcalc's version, and what reading the file ignored or assumed."""

    source: str | list[str]
    archcalc: str
    ignored: list[str]
    assumed: list[str]


class ReportStorage(TypedDict):
    """How the source's files store the weights: the keys that state it (none: bf16 is assumed), bytes by format."""

    stated_by: list[str]
    weights_bytes_by_format: dict[str, int]


class CountedParams(TypedDict):
    """Parameters that transformers counts; buffers are in no total."""

    total: int
    untied: int
    trainable: int
    frozen: int
    buffers: int
    by_component: dict[str, int]
    by_module: dict[str, int]


class CountedMemory(TypedDict):
    """Bytes of all parameters in the dtype."""

    dtype: str
    weights_bytes: int


class CountedProvenance(TypedDict):
    """The package that counted, and its class."""

    archcalc: str
    transformers: str
    model_type: str
    class_name: str
    note: str


class CountedReport(TypedDict):
    """What transformers counts of a model; `kinds` says that it is counted, not derived."""

    schema: int
    name: str
    engine: Literal["transformers"]
    params: CountedParams
    memory: CountedMemory
    kinds: dict[str, Counted]
    provenance: CountedProvenance


class Report(TypedDict):
    """The figures of a model and a workload; `kinds` says of each whether it is exact, measured or modeled.

    `with_mtp`: totals with the modules for multi-token prediction in the model's files, if these hold any.
    `storage`: how the source's files store the weights, where no dtype is asked for.
    `whole`: all parts of a model whose text model this is, as `archcalc report` lets transformers count them.
    """

    schema: int
    name: str
    family: Family
    params: Summary
    workload: ReportWorkload
    flops: Flops
    memory: Memory
    kinds: dict[str, Sureness]
    provenance: ReportProvenance
    storage: NotRequired[ReportStorage]
    with_mtp: NotRequired[MtpTotals]
    whole: NotRequired[CountedReport]


Reports = list[Report]


@overload
def report(
    spec: Spec,
    *,
    batch: int = 1,
    seq: int | None = None,
    past: int = 0,
    dtype: DtypeOrAuto = "auto",
    source_seq: int | None = None,
    engine: Literal["archcalc"] = "archcalc",
) -> Report: ...


@overload
def report(
    spec: Spec | str | os.PathLike[str] | dict[str, Any],
    *,
    dtype: DtypeOrAuto = "auto",
    engine: Literal["transformers"],
) -> CountedReport: ...


def report(
    spec: Any,
    *,
    batch: int = 1,
    seq: int | None = None,
    past: int = 0,
    dtype: DtypeOrAuto = "auto",
    source_seq: int | None = None,
    engine: Engine = "archcalc",
) -> Report | CountedReport:
    """Return the figures of a model and a workload as plain data, as `archcalc report --format json` prints them.

    Keys: schema, name, family, params (counts), workload, flops, memory (bytes), kinds (exact, measured or modeled),
    provenance. Keys may be added in later releases and are never removed. `seq` defaults to min(2048, n_ctx). For an
    encoder-decoder it is the target length, and also the source length unless `source_seq` is given.

    `spec` is a Spec, or a source as for `archcalc.load`. With `engine='transformers'`, it may be a source of any model
    that the installed transformers knows. Its parameters are counted on the meta device: params, memory.weights_bytes,
    kinds, provenance. No code of a repository is run.

    Raises InputError for an unknown dtype or engine, an invalid workload, and a config that transformers refuses;
    MissingExtraError if the engine is not installed.
    """
    check_dtype(dtype)
    if engine != "archcalc":
        return _counted(spec, dtype, engine, {"batch": batch != 1, "seq": seq, "past": past, "source_seq": source_seq})
    spec = spec_of(spec)
    ledger, work = build(spec), workload(spec, batch=batch, seq=seq, past=past, source_seq=source_seq)
    subject = model_workload(spec, ledger, work, dtype)
    values = figures(ledger, work, subject.dtype, subject.weights_bytes)
    workload_data: ReportWorkload = {"batch": work.batch, "seq": work.seq, "past": work.past, "dtype": subject.dtype}
    if spec.family == "encoder-decoder":
        workload_data["source_seq"] = work.source_seq
    about, provenance = spec.about, spec.about.provenance
    found: Report = {
        "schema": SCHEMA,
        "name": spec.name,
        "family": spec.family,
        "params": values["params"],
        "workload": workload_data,
        "flops": values["flops"],
        "memory": values["memory"],
        "kinds": dict(KINDS),
        "provenance": {
            "source": about.source if isinstance(about.source, str) else list(about.source),
            "archcalc": __version__,
            "ignored": list(provenance.ignored),
            "assumed": list(map(str, provenance.assumed)),
        },
    }
    if subject.stored:
        found["storage"] = _report_storage(spec, subject.stored)
    if with_mtp := with_stored_mtp(spec, ledger):
        found["with_mtp"] = with_mtp
    return found


def _report_storage(spec: Spec, stored: Sequence[WeightBytes]) -> ReportStorage:
    by_format: Counter[str] = Counter()
    for line in stored:
        by_format[line.format] += line.total_bytes if line.kind != "buffer" else 0
    return {"stated_by": list(spec.about.storage.stated_by), "weights_bytes_by_format": dict(by_format)}


def _counted(spec: Any, dtype: DtypeOrAuto, engine: str, sizes: Mapping[str, Any]) -> CountedReport:
    check_engine(engine, sizes)
    from archcalc.analysis.transformers_report import transformers_report
    from archcalc.hf import to_config

    return counted_report(
        transformers_report(to_config(spec) if isinstance(spec, Spec) else config_of(spec), dtype=dtype)
    )


def counted_report(result: TransformersReport) -> CountedReport:
    """Return what transformers counted as plain data."""
    by_component = {row.component: row.parameters for row in result.components}
    return {
        "schema": SCHEMA,
        "name": result.name,
        "engine": "transformers",
        "params": {
            "total": result.total("total"),
            "untied": result.total("untied"),
            "trainable": result.total("trainable"),
            "frozen": result.total("frozen"),
            "buffers": result.total("buffers"),
            "by_component": {name: by_component.get(name, 0) for name in get_args(Component)},
            "by_module": {row.module: row.parameters for row in result.parts},
        },
        "memory": {"dtype": result.dtype, "weights_bytes": result.total("weights_bytes")},
        "kinds": {"params": COUNTED, "memory": COUNTED},
        "provenance": {
            "archcalc": __version__,
            "transformers": result.version,
            "model_type": result.model_type,
            "class_name": result.class_name,
            "note": str(LABEL),
        },
    }
