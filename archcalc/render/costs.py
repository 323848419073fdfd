"""What one workload costs on each of several models, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from archcalc.analysis.memory import Dtype
from archcalc.contract import report
from archcalc.errors import InputError
from archcalc.render.comparison import names
from archcalc.render.page import Column, Page, Table
from archcalc.spec import Spec
from archcalc.words import msg

_FIGURES = {
    ("flops", "forward"): msg("forward FLOPs"),
    ("flops", "forward_causal"): msg("forward causal FLOPs"),
    ("flops", "backward"): msg("backward FLOPs"),
    ("flops", "train_step"): msg("train step FLOPs"),
    ("memory", "weights_bytes"): msg("weights bytes"),
    ("memory", "kv_cache_bytes"): msg("kv cache bytes"),
    ("memory", "state_bytes"): msg("state bytes"),
}


def data(specs: Sequence[Spec], *, batch: int, seq: int, dtype: Dtype) -> list[dict[str, Any]]:
    """Each model's report of the workload. InputError, naming the model, where one cannot have it."""
    return [_of(spec, name, batch, seq, dtype) for spec, name in zip(specs, names(specs), strict=True)]


def _of(spec: Spec, name: str, batch: int, seq: int, dtype: Dtype) -> dict[str, Any]:
    try:
        return report(spec, batch=batch, seq=seq, dtype=dtype)
    except InputError as error:
        raise error.within(name) from None


def page(specs: Sequence[Spec], found: Sequence[dict[str, Any]]) -> Page:
    """A row for each of the reports' figures that any model has, a column for each model."""
    columns = (Column(""), *(Column(name, "count") for name in names(specs)))
    rows = [
        (name, *(each[part][figure] for each in found))
        for (part, figure), name in _FIGURES.items()
        if any(each[part][figure] for each in found)
    ]
    work = found[0]["workload"]
    title = msg("{batch:,} × {seq:,} tokens, {dtype}", batch=work["batch"], seq=work["seq"], dtype=work["dtype"])
    return Page(msg("A workload's costs side by side"), msg("exact"), [Table(title, columns, rows)])
