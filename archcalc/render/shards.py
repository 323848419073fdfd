"""What each of several ranks holds, as pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from archcalc.analysis.memory import Dtype
from archcalc.analysis.row_names import path_pattern
from archcalc.analysis.shards import Engine, Shards, caches, split_bytes, weights
from archcalc.analysis.value_names import SURENESS
from archcalc.ledger.rows import Ledger
from archcalc.render.page import Column, Page, Table
from archcalc.spec import Spec
from archcalc.spec.workload import Workload
from archcalc.units import human_bytes
from archcalc.words import Message, joined, msg

ENGINE_NAMES: dict[Engine, Message] = {"tp": msg("tensor parallelism"), "fsdp": msg("FSDP")}
_PARAMETERS, _BUFFERS = ("trainable", "frozen"), ("buffer",)
Held = tuple[list[Shards], list[Shards]]


def page(spec: Spec, ledger: Ledger, work: Workload, engine: Engine, n: int, dtypes: tuple[Dtype, Dtype]) -> Page:
    """Each rank's bytes, and every tensor's on the first and the last; `dtypes`: of the weights and of the cache."""
    held = _held(ledger, work, engine, n, dtypes)
    title = msg("{label}: memory on {n} ranks of {engine}", label=spec.label, n=n, engine=ENGINE_NAMES[engine])
    words = (
        spec.name,
        msg("weights {dtype}, cache {cache}", dtype=dtypes[0], cache=dtypes[1]),
        msg("batch {n:,}", n=work.batch),
        msg("{n:,} tokens", n=work.past + work.seq),
        SURENESS["exact"],
    )
    return Page(
        title,
        joined(" · ", words),
        [_ranks(held, n), _tensors(msg("Tensors"), held[0]), _tensors(msg("Cache"), held[1])],
    )


def data(ledger: Ledger, work: Workload, engine: Engine, n: int, dtypes: tuple[Dtype, Dtype]) -> dict[str, Any]:
    """The same as plain data."""
    held = _held(ledger, work, engine, n, dtypes)
    return {
        "engine": engine,
        "dtype": dtypes[0],
        "cache_dtype": dtypes[1],
        "ranks": [
            {"rank": rank, "weights_bytes": own, "buffers_bytes": buffers, "kv_cache_bytes": cached, "kind": "exact"}
            for rank, own, buffers, cached in _rows(held, n)
        ],
        "weights": _plain(held[0]),
        "caches": _plain(held[1]),
    }


def _held(ledger: Ledger, work: Workload, engine: Engine, n: int, dtypes: tuple[Dtype, Dtype]) -> Held:
    return weights(ledger, engine, n, dtypes[0]), caches(ledger, work, engine, n, dtypes[1])


def _rows(held: Held, n: int) -> list[tuple[int, int, int, int]]:
    """Rank, bytes of its parameters, of its buffers, of its cache."""
    nothing = (0,) * n
    of = [split_bytes(held[0], _PARAMETERS), split_bytes(held[0], _BUFFERS), split_bytes(held[1])]
    return list(zip(range(n), *(each if len(each) == n else nothing for each in of), strict=True))


def _ranks(held: Held, n: int) -> Table:
    columns = (
        Column(msg("rank")),
        Column(msg("weights"), "count"),
        Column(msg("buffers"), "count"),
        Column(msg("cache"), "count"),
        Column(msg("total bytes"), "count"),
        Column("", "human"),
    )
    rows = [(str(rank), *parts, sum(parts), human_bytes(sum(parts))) for rank, *parts in _rows(held, n)]
    return Table(msg("Bytes on each rank"), columns, rows)


def _tensors(title: Message, found: Sequence[Shards]) -> Table:
    columns = (
        Column(msg("tensor")),
        Column(msg("layers"), "count"),
        Column(msg("split along")),
        Column(msg("first rank"), "count"),
        Column(msg("last rank"), "count"),
        Column(msg("first rank's bytes by formula")),
    )
    rows = [(path_pattern(one.path), one.layers, _axis(one), one.bytes[0], one.bytes[-1], one.formula) for one in found]
    return Table(title, columns, rows)


def _axis(one: Shards) -> str:
    return "" if one.axis is None else one.axis.factored()


def _plain(found: Sequence[Shards]) -> list[dict[str, Any]]:
    return [
        {
            "tensor": path_pattern(one.path),
            "layers": one.layers,
            "split_along": _axis(one) or None,
            "bytes": list(one.bytes),
            "formula": one.formula,
            "kind": "exact",
        }
        for one in found
    ]
