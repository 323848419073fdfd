"""The object that `report --format json` prints and `archcalc.report` returns; its keys are a contract."""

from __future__ import annotations

from typing import Any

from archcalc._version import __version__
from archcalc.analysis.memory import Dtype, check_dtype
from archcalc.analysis.report import KINDS, figures
from archcalc.ledger.build import build
from archcalc.spec import Spec
from archcalc.spec.workload import workload

SCHEMA = 1


def report(
    spec: Spec,
    *,
    batch: int = 1,
    seq: int | None = None,
    past: int = 0,
    dtype: Dtype = "bf16",
    source_seq: int | None = None,
) -> dict[str, Any]:
    """Return the figures of a spec and a workload as plain data, as `archcalc report --format json` prints them.

    Keys: schema, name, family, params (counts), workload, flops, memory (bytes), kinds (exact, measured or modelled),
    provenance. Keys may be added in later releases and are never removed. `seq` defaults to min(2048, n_ctx). For an
    encoder-decoder it is the target length, and also the source length unless `source_seq` is given.

    Raises InputError for an unknown dtype and an invalid workload.
    """
    check_dtype(dtype)
    ledger, work = build(spec), workload(spec, batch=batch, seq=seq, past=past, source_seq=source_seq)
    workload_data: dict[str, Any] = {"batch": work.batch, "seq": work.seq, "past": work.past, "dtype": dtype}
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
