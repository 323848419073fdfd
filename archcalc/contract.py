"""The object that `report --format json` prints and `archcalc.report` returns; its keys are a contract."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from archcalc._version import __version__
from archcalc.analysis.flops import Flops
from archcalc.analysis.memory import Dtype, Memory, check_dtype
from archcalc.analysis.params import Summary
from archcalc.analysis.report import KINDS, figures
from archcalc.ledger.build import build
from archcalc.results import Sureness
from archcalc.spec import Spec
from archcalc.spec.model import Family
from archcalc.spec.workload import workload

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


class Report(TypedDict):
    """The figures of a model and a workload; `kinds` says of each whether it is exact, measured or modeled."""

    schema: int
    name: str
    family: Family
    params: Summary
    workload: ReportWorkload
    flops: Flops
    memory: Memory
    kinds: dict[str, Sureness]
    provenance: ReportProvenance


Reports = list[Report]


def report(
    spec: Spec,
    *,
    batch: int = 1,
    seq: int | None = None,
    past: int = 0,
    dtype: Dtype = "bf16",
    source_seq: int | None = None,
) -> Report:
    """Return the figures of a spec and a workload as plain data, as `archcalc report --format json` prints them.

    Keys: schema, name, family, params (counts), workload, flops, memory (bytes), kinds (exact, measured or modeled),
    provenance. Keys may be added in later releases and are never removed. `seq` defaults to min(2048, n_ctx). For an
    encoder-decoder it is the target length, and also the source length unless `source_seq` is given.

    Raises InputError for an unknown dtype and an invalid workload.
    """
    check_dtype(dtype)
    ledger, work = build(spec), workload(spec, batch=batch, seq=seq, past=past, source_seq=source_seq)
    workload_data: ReportWorkload = {"batch": work.batch, "seq": work.seq, "past": work.past, "dtype": dtype}
    if spec.family == "encoder-decoder":
        workload_data["source_seq"] = work.source_seq
    values = figures(ledger, work, dtype)
    about, provenance = spec.about, spec.about.provenance
    return {
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
            "assumed": list(provenance.assumed),
        },
    }
