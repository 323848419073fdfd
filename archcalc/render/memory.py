"""Bytes of weights and caches, as pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

from archcalc.analysis.caches import CacheBytes, by_layer, caches, next_token
from archcalc.analysis.memory import DTYPES, state_bytes
from archcalc.analysis.row_names import path_in_group, path_pattern
from archcalc.analysis.weights import by_component, weights, weights_bytes
from archcalc.formats.cache_types import cache_type
from archcalc.ledger.rows import Ledger
from archcalc.render.names import COMPONENT_NAMES
from archcalc.render.page import Block, Column, Page, Table, Text
from archcalc.spec import Spec
from archcalc.spec.workload import Workload
from archcalc.units import human_bytes
from archcalc.words import Message, joined, msg

View = Literal["components", "tensors", "layers"]
VIEWS: tuple[View, ...] = get_args(View)


def page(
    spec: Spec, ledger: Ledger, work: Workload, dtype: str, cache_dtype: str, *, view: View = "components"
) -> Page:
    """The weights by component or tensor and every cached tensor after the workload's tokens, or each layer's cache."""
    kept, more = caches(ledger, work, cache_dtype), next_token(ledger, work, cache_dtype)
    if view == "layers":
        blocks: list[Block] = [_layers(ledger, work, cache_dtype)]
    else:
        blocks = [_WEIGHTS[view](ledger, dtype), *([_caches(kept, cache_dtype)] if kept else [])]
    blocks.append(_each(work, kept, sum(more)) if kept else Text("", [msg("nothing is cached")]))
    subtitle = joined(" · ", (spec.name, msg("batch {n:,}", n=work.batch), msg("{n:,} tokens", n=work.past + work.seq)))
    return Page(msg("{label}: memory", label=spec.label), subtitle, blocks)


def _weights(ledger: Ledger, dtype: str) -> Table:
    """By component and by what each tensor is really stored as; buffers, which no total has, are left out."""
    lines = by_component(ledger, dtype)
    sums = sum(payload for _, _, payload, _ in lines), sum(overhead for *_, overhead in lines)
    rows: list[tuple[Any, ...]] = [
        (
            COMPONENT_NAMES[component],
            form,
            payload,
            overhead,
            human_bytes(payload + overhead),
            (payload + overhead) / sum(sums),
        )
        for component, form, payload, overhead in lines
    ]
    columns = (
        Column(msg("component")),
        Column(msg("stored as")),
        Column(msg("payload bytes"), "count"),
        Column(msg("scales and zeros"), "count"),
        Column("", "human"),
        Column(msg("share"), "percent"),
    )
    return Table(
        msg("Weights: {dtype}", dtype=dtype),
        columns,
        [*rows, (msg("total"), "", *sums, human_bytes(sum(sums)), 1.0)],
        n_sums=1,
    )


_SPLIT = (
    Column(msg("payload bytes"), "count"),
    Column(msg("scales and zeros"), "count"),
    Column(msg("total bytes"), "count"),
    Column("", "human"),
)


def _tensors(ledger: Ledger, dtype: str) -> Table:
    """Every stored tensor, as what it is stored, and what its format adds; the buffers are none of the total."""
    lines = weights(ledger, dtype)
    counted = [line for line in lines if line.kind != "buffer"]
    sums = sum(line.payload_bytes for line in counted), sum(line.overhead_bytes for line in counted)
    columns = (
        Column(msg("weight")),
        Column(msg("stored as")),
        Column(msg("layers"), "count"),
        Column(msg("payload bytes"), "count"),
        Column(msg("scales and zeros"), "count"),
        Column("", "human"),
        Column(msg("share"), "percent"),
    )
    rows: list[tuple[Any, ...]] = [
        (
            path_pattern(line.path),
            line.format,
            line.layers,
            line.payload_bytes,
            line.overhead_bytes,
            human_bytes(line.total_bytes),
            None if line.kind == "buffer" else line.total_bytes / sum(sums),
        )
        for line in lines
    ]
    last = (msg("total"), "", None, *sums, human_bytes(sum(sums)), 1.0)
    return Table(msg("Weights: {dtype}", dtype=dtype), columns, [*rows, last], n_sums=1)


_WEIGHTS: dict[View, Callable[[Ledger, str], Table]] = {"components": _weights, "tensors": _tensors}


def _caches(kept: list[CacheBytes], dtype: str) -> Table:
    columns = (Column(msg("cache")), Column(msg("layers"), "count"), *_SPLIT, Column(msg("bytes by formula")))
    rows: list[tuple[Any, ...]] = [
        (
            path_in_group(one.row.path, one.row.group),
            len(one.row.layer_indices),
            *_split(one.payload_bytes, one.overhead_bytes),
            str(one.formula),
        )
        for one in kept
    ]
    sums = _split(sum(one.payload_bytes for one in kept), sum(one.overhead_bytes for one in kept))
    return Table(_title(dtype), columns, [*rows, (msg("total"), None, *sums, "")], n_sums=1)


def _layers(ledger: Ledger, work: Workload, dtype: str) -> Table:
    columns = (Column(msg("layer")), *_SPLIT, Column(msg("one more token"), "count"))
    found = by_layer(ledger, work, dtype)
    rows: list[tuple[Any, ...]] = [
        (str(one.turn), *_split(one.payload_bytes, one.overhead_bytes), one.next_token_bytes // work.batch)
        for one in found
    ]
    sums = _split(sum(one.payload_bytes for one in found), sum(one.overhead_bytes for one in found))
    more = sum(one.next_token_bytes for one in found) // work.batch
    return Table(_title(dtype), columns, [*rows, (msg("total"), *sums, more)], n_sums=1)


def _split(payload: int, overhead: int) -> tuple[int, int, int, str]:
    return payload, overhead, payload + overhead, human_bytes(payload + overhead)


def _title(dtype: str) -> Message:
    """The format's name, and what it is where the name does not say."""
    kind = cache_type(dtype)
    if kind.scale:
        return msg("Cache in {dtype}: {title}", dtype=dtype, title=kind.title)
    return msg("Cache in {dtype}", dtype=dtype)


def _each(work: Workload, kept: list[CacheBytes], more: int) -> Text:
    total, tokens = sum(one.total_bytes for one in kept), work.past + work.seq
    return Text(
        "",
        [
            msg("a sequence of {tokens:,} tokens keeps {size}", tokens=tokens, size=human_bytes(total // work.batch)),
            msg("one more token keeps {size:,} bytes", size=more // work.batch),
        ],
    )


def data(ledger: Ledger, work: Workload, dtype: str, cache_dtype: str) -> dict[str, Any]:
    """The same as plain data."""
    kept, more = caches(ledger, work, cache_dtype), next_token(ledger, work, cache_dtype)
    return {
        "weights_bytes": weights_bytes(ledger, dtype),
        "kv_cache_bytes": sum(one.total_bytes for one in kept),
        "kv_cache_overhead_bytes": sum(one.overhead_bytes for one in kept),
        "next_token_bytes": sum(more) // work.batch,
        "dtype": dtype,
        "cache_dtype": cache_dtype,
        "state_bytes": state_bytes(ledger, work, dtype if dtype in DTYPES else "bf16"),
        "weights": [
            {
                "weight": path_pattern(line.path),
                "format": line.format,
                "layers": line.layers,
                "payload_bytes": line.payload_bytes,
                "overhead_bytes": line.overhead_bytes,
                "kind": "exact",
            }
            for line in weights(ledger, dtype)
        ],
        "caches": [
            {
                "cache": path_pattern(one.row.path),
                "group": one.row.group,
                "layers": len(one.row.layer_indices),
                "bytes": one.total_bytes,
                "payload_bytes": one.payload_bytes,
                "overhead_bytes": one.overhead_bytes,
                "layer_bytes": one.layer_bytes,
                "next_token_bytes": added // work.batch,
                "elements": str(one.row.formula),
                "formula": str(one.formula),
                "kind": "exact",
            }
            for one, added in zip(kept, more, strict=True)
        ],
        "cache_layers": [
            {
                "layer": one.turn,
                "payload_bytes": one.payload_bytes,
                "overhead_bytes": one.overhead_bytes,
                "bytes": one.total_bytes,
                "next_token_bytes": one.next_token_bytes // work.batch,
                "kind": "exact",
            }
            for one in by_layer(ledger, work, cache_dtype)
        ],
    }
