"""Bytes of the weights as the model's files store them, by what the source states (`spec/storage.py`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from archcalc.analysis.memory import AUTO, DTYPES, Dtype, DtypeOrAuto
from archcalc.analysis.model_workload import ModelWorkload
from archcalc.analysis.weight_bytes import WeightBytes
from archcalc.formats.element_types import element_bytes
from archcalc.formats.layouts import ByteCount, Layout, PlainLayout, bytes_of
from archcalc.ledger.rows import Ledger, WeightRow
from archcalc.spec import Spec
from archcalc.spec.workload import Workload


def weight_lines(spec: Spec, ledger: Ledger, dtype: str) -> list[WeightBytes]:
    """Return every stored tensor's bytes in a format, or with 'auto' as the model's files store it.

    Raises InputError, naming the tensor, if a shape does not suit its format.
    """
    if dtype == AUTO:
        return stored_weights(spec, ledger)
    from archcalc.analysis.weights import weights  # reads every format's table

    return weights(ledger, dtype)


def model_workload(spec: Spec, ledger: Ledger, work: Workload, dtype: DtypeOrAuto) -> ModelWorkload:
    """Return the subject of a report in a dtype; with 'auto', weights are as the source's files store them."""
    if dtype != AUTO:
        return ModelWorkload(spec, ledger, work, dtype)
    return ModelWorkload(spec, ledger, work, cache_dtype_of(spec), tuple(stored_weights(spec, ledger)))


def stored_weights(spec: Spec, ledger: Ledger) -> list[WeightBytes]:
    """Return every stored tensor's bytes in the files, buffers included. A tied head has no line."""
    storage = spec.about.storage
    by_name: Mapping[str, Sequence[tuple[str, ByteCount]]] = {}
    if storage.formats:
        from archcalc.analysis.file_forms import stored_by_name  # needs the families, which a spec alone does not

        by_name = stored_by_name(spec, ledger)
    plain = PlainLayout(element_bytes(storage.dtype))
    return [line for row in ledger.rows for line in _lines(row, by_name, (storage.dtype, plain))]


def _lines(
    row: WeightRow, by_name: Mapping[str, Sequence[tuple[str, ByteCount]]], rest: tuple[str, Layout]
) -> Iterator[WeightBytes]:
    """Yield a line for each format that a row's tensors have."""
    if not by_name:
        one = bytes_of(rest[1], row.shape)
        yield WeightBytes(row.path, row.kind, rest[0], row.layers, one.payload * row.layers, one.overhead * row.layers)
        return
    found: dict[str, list[tuple[str, ByteCount]]] = {}
    for name in row.names():
        for stored_as, one in by_name[name]:
            found.setdefault(stored_as, []).append((name, one))
    for stored_as, each in found.items():
        payload, overhead = sum(one.payload for _, one in each), sum(one.overhead for _, one in each)
        yield WeightBytes(row.path, row.kind, stored_as, len({name for name, _ in each}), payload, overhead)


def cache_dtype_of(spec: Spec) -> Dtype:
    """Return the dtype that the source states for caches and states; bf16 if it is none of those."""
    return next((name for name in DTYPES if name == spec.about.storage.dtype), "bf16")


def storage_name(lines: Iterable[WeightBytes]) -> str:
    """Return the names of the formats that lines have, those of most bytes first: 'fp8-channel, bf16'."""
    sizes: Counter[str] = Counter()
    for line in lines:
        sizes[line.format] += line.total_bytes
    return ", ".join(name for name, _ in sizes.most_common())
