"""Bytes of the weights as the model's files store them: what the source states (`spec/storage.py`), tensor by tensor.

A tensor of the files may hold several of ours, such as queries, keys and values. What such a tensor has besides its
elements is counted in the row of the first.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from archcalc.analysis.memory import AUTO, DTYPES, Dtype, DtypeOrAuto
from archcalc.analysis.model_workload import ModelWorkload
from archcalc.analysis.weights import WeightBytes, role_of, weights
from archcalc.errors import InputError
from archcalc.formats.element_types import element_bytes
from archcalc.formats.layouts import ByteCount, Layout, PlainLayout, Shape, bytes_of
from archcalc.hf import family_of, written_as
from archcalc.hf.spellings import Spelling
from archcalc.hf.tensors import TensorEntry, TensorMap
from archcalc.ledger.rows import Ledger, WeightRow
from archcalc.spec import Spec
from archcalc.spec.storage import Storage, StoredFormat
from archcalc.spec.workload import Workload
from archcalc.words import msg

MAX_SECONDS = 5.0

# A tensor's format and its bytes.
Stored = tuple[str, ByteCount]


def weight_lines(spec: Spec, ledger: Ledger, dtype: str) -> list[WeightBytes]:
    """Return every stored tensor's bytes in a format, or with 'auto' as the model's files store it.

    Raises InputError, naming the tensor, if a shape does not suit its format.
    """
    return weights(ledger, dtype) if dtype != AUTO else stored_weights(spec, ledger)


def model_workload(spec: Spec, ledger: Ledger, work: Workload, dtype: DtypeOrAuto) -> ModelWorkload:
    """Return the subject of a report in a dtype; with 'auto', weights are as the source's files store them."""
    if dtype != AUTO:
        return ModelWorkload(spec, ledger, work, dtype)
    return ModelWorkload(spec, ledger, work, cache_dtype_of(spec), tuple(stored_weights(spec, ledger)))


def stored_weights(spec: Spec, ledger: Ledger) -> list[WeightBytes]:
    """Return every stored tensor's bytes in the files, buffers included. A tied head has no line."""
    storage = spec.about.storage
    by_name = _by_name(spec, ledger, storage) if storage.formats else {}
    plain = PlainLayout(element_bytes(storage.dtype))
    return [line for row in ledger.rows for line in _lines(row, by_name, (storage.dtype, plain))]


def _lines(row: WeightRow, by_name: Mapping[str, Stored], rest: tuple[str, Layout]) -> Iterator[WeightBytes]:
    """Yield a line for each format that a row's tensors have."""
    if not by_name:
        one = bytes_of(rest[1], row.shape)
        yield WeightBytes(row.path, row.kind, rest[0], row.layers, one.payload * row.layers, one.overhead * row.layers)
        return
    found: dict[str, list[ByteCount]] = {}
    for name in row.names():
        stored_as, one = by_name[name]
        found.setdefault(stored_as, []).append(one)
    for stored_as, each in found.items():
        payload, overhead = sum(one.payload for one in each), sum(one.overhead for one in each)
        yield WeightBytes(row.path, row.kind, stored_as, len(each), payload, overhead)


def _by_name(spec: Spec, ledger: Ledger, storage: Storage) -> dict[str, Stored]:
    """Return the format and the bytes of each canonical tensor."""
    rows = {name: row for row in ledger.rows for name in row.names()}
    chooser = _Chooser(storage, is_tied=bool(ledger.tied))
    if storage.naming == "canonical":
        return {name: chooser.stored(name, row, row.shape) for name, row in rows.items()}
    tensors, spelling = _names(spec, storage)
    found: dict[str, Stored] = {}
    for entry in tensors.placed(rows):
        parts = [rows[name] for name in entry.ours]
        apart = spelling.expert_names(entry.name)
        if len(parts) == 1 or apart:
            names = apart or (entry.name,)
            for ours, row, name in zip(entry.ours, parts, names, strict=True):
                found[ours] = chooser.stored(name, row, row.shape)
        else:
            found |= zip(entry.ours, _joined(chooser, entry, parts), strict=True)
    return found


def _joined(chooser: _Chooser, entry: TensorEntry, parts: Sequence[WeightRow]) -> list[Stored]:
    """Return the bytes of the parts of a joined tensor; the first has what they share."""
    shape = [*parts[0].shape]
    shape[entry.axis] = sum(part.shape[entry.axis] for part in parts)
    stored_as, whole = chooser.stored(entry.name, parts[0], shape)
    own = [whole.payload * part.count // sum(each.count for each in parts) for part in parts[1:]]
    first = ByteCount(whole.payload - sum(own), whole.scales, whole.other)
    return [(stored_as, first), *((stored_as, ByteCount(payload)) for payload in own)]


def _names(spec: Spec, storage: Storage) -> tuple[TensorMap, Spelling]:
    """Return the names of the tensors in the files that the storage's patterns match."""
    family = family_of(storage.model_type)
    if storage.naming == "gguf":
        assert family.gguf is not None, "the file was read through it"
        return family.gguf.tensors, Spelling()
    config = written_as(spec, storage.model_type, storage.class_name)
    form = family.form(config)
    return form.tensors, form.spelling


class _Chooser:
    """Chooses the format of each tensor of the files."""

    def __init__(self, storage: Storage, *, is_tied: bool) -> None:
        self._is_tied = is_tied
        self._plain = StoredFormat(name=storage.dtype), PlainLayout(element_bytes(storage.dtype))
        self._formats = [(one, re.compile(one.pattern) if one.pattern else None) for one in storage.formats]
        self._deadline = time.monotonic() + MAX_SECONDS

    def stored(self, name: str, row: WeightRow, shape: Shape) -> Stored:
        """Return the format of the tensor of this name, and its bytes."""
        chosen, layout = self._choose(name.removesuffix(".weight").replace("{e}", "0"), row)
        return chosen.name, bytes_of(layout, shape, row.path, chosen.name)

    def _choose(self, module: str, row: WeightRow) -> tuple[StoredFormat, Layout]:
        role, spellings = role_of(row, self._is_tied), _spellings(module)
        for one, pattern in self._formats:
            if (not one.roles or role in one.roles) and (not pattern or any(map(pattern.fullmatch, spellings))):
                return one, one.layout or self._plain[1]
        if time.monotonic() > self._deadline:
            raise InputError(
                msg("matching its patterns takes too long"), where="about.storage", allowed=msg("simpler patterns")
            )
        return self._plain


def _spellings(module: str) -> tuple[str, ...]:
    """Return the names that a module may have: also those inside a model of several parts."""
    inner = module.removeprefix("model.")
    return module, f"language_model.{module}", f"model.language_model.{inner}", f"model.{module}"


def cache_dtype_of(spec: Spec) -> Dtype:
    """Return the dtype that the source states for caches and states; bf16 if it is none of those."""
    return next((name for name in DTYPES if name == spec.about.storage.dtype), "bf16")


def storage_name(lines: Iterable[WeightBytes]) -> str:
    """Return the names of the formats that lines have, those of most bytes first: 'fp8-channel, bf16'."""
    sizes: Counter[str] = Counter()
    for line in lines:
        sizes[line.format] += line.total_bytes
    return ", ".join(name for name, _ in sizes.most_common())
