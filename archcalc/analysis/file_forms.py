"""Tensors of the model's files as the source states them: names, shapes, formats and bytes (`spec/storage.py`).

A tensor of the files may hold several of ours, such as queries, keys and values. What such a tensor has besides its
elements is counted in the row of the first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import msgspec

from archcalc.analysis.weight_roles import role_of
from archcalc.errors import InputError
from archcalc.formats.element_types import element_bytes
from archcalc.formats.layouts import ByteCount, Layout, PlainLayout, Shape, bytes_of
from archcalc.formats.packings import BESIDE
from archcalc.hf import family_of, to_config, written_as
from archcalc.hf.spellings import Spelling
from archcalc.hf.storage.choice import FormatChoice
from archcalc.hf.tensors import TensorMap
from archcalc.ledger.rows import Ledger, WeightRow
from archcalc.spec import Spec
from archcalc.spec.storage import Storage, StoredFormat
from archcalc.words import msg

# A tensor's format and its bytes.
Stored = tuple[str, ByteCount]


class FileTensorForm(msgspec.Struct, frozen=True):
    """A tensor of the files as the source states it: the canonical ones that it holds, its shape, format and bytes.

    `is_plain`: it is one tensor of elements of `format`; a quantized one has scales beside it.
    """

    name: str
    ours: tuple[str, ...]
    shape: tuple[int, ...]
    format: str
    bytes: ByteCount
    is_plain: bool

    @property
    def stored(self) -> Stored:
        """Return the format and the bytes."""
        return self.format, self.bytes


def file_forms(spec: Spec, ledger: Ledger, stored: Collection[str] = ()) -> Iterator[FileTensorForm]:
    """Yield each tensor of the files. Experts are stored one by one where the names in files, `stored`, say so."""
    storage = spec.about.storage
    tensors, spelling = names_of(spec)
    rows = {name: row for row in ledger.rows for name in row.names()}
    chooser = _Chooser(storage, is_tied=bool(ledger.tied))
    for entry in spelling.rows(tensors.of_file(stored), stored).placed(rows) if stored else tensors.placed(rows):
        parts = [rows[name] for name in entry.ours]
        apart = spelling.expert_names(entry.name)
        if apart and (not stored or apart[0].replace("{e}", "0") in stored):
            for ours, row, name in zip(entry.ours, parts, apart, strict=True):
                yield chooser.form(name, (ours,), row, row.shape, row.shape)
        elif entry.pieces and not (entry.name in stored if stored else chooser.names(entry.name)):
            for piece in entry.pieces:
                in_file = piece.shape(parts[0].shape)
                yield chooser.form(piece.name, entry.ours, parts[0], in_file, in_file)
        else:
            whole = [*parts[0].shape]
            if len(parts) > 1:
                whole[entry.axis] = sum(part.shape[entry.axis] for part in parts)
            in_file = entry.shape([part.shape for part in parts])
            yield chooser.form(entry.name, entry.ours, parts[0], whole, in_file)


def stored_by_name(spec: Spec, ledger: Ledger) -> dict[str, list[Stored]]:
    """Return the formats and the bytes of each canonical tensor: one, or one for each piece in which it is stored."""
    storage = spec.about.storage
    rows = {name: row for row in ledger.rows for name in row.names()}
    if storage.naming == "canonical":
        chooser = _Chooser(storage, is_tied=bool(ledger.tied))
        return {name: [chooser.form(name, (name,), row, row.shape, row.shape).stored] for name, row in rows.items()}
    found: dict[str, list[Stored]] = {}
    for form in file_forms(spec, ledger):
        for name, part in zip(form.ours, _parts(form, [rows[name].count for name in form.ours]), strict=True):
            found.setdefault(name, []).append(part)
    return found


def _parts(form: FileTensorForm, counts: Sequence[int]) -> list[Stored]:
    """Return the bytes of the parts of a tensor; the first has what they share."""
    whole = form.bytes
    own = [whole.payload * count // sum(counts) for count in counts[1:]]
    first = ByteCount(whole.payload - sum(own), whole.scales, whole.other)
    return [(form.format, first), *((form.format, ByteCount(payload)) for payload in own)]


def names_of(spec: Spec) -> tuple[TensorMap, Spelling]:
    """Return the names of the tensors in the model's files."""
    storage = spec.about.storage
    if storage.naming == "gguf":
        family = family_of(storage.model_type)
        if family.gguf is None:
            raise InputError(
                msg("{model_type} has no GGUF files", model_type=storage.model_type), where="about.storage.naming"
            )
        return family.gguf.map_of(spec), family.gguf.spelling_of(spec)
    config = written_as(spec, storage.model_type, storage.class_name) if storage.model_type else to_config(spec)
    form = family_of(config["model_type"]).form(config)
    spelling = form.spelling
    if storage.formats:
        spelling = msgspec.structs.replace(spelling, unused=dict(spelling.unused) | BESIDE)
    return form.tensors, spelling


class _Chooser:
    """Chooses the format of each tensor of the files."""

    def __init__(self, storage: Storage, *, is_tied: bool) -> None:
        self._is_tied = is_tied
        self._plain = StoredFormat(name=storage.dtype), PlainLayout(element_bytes(storage.dtype))
        self._formats = FormatChoice(storage)

    def form(
        self, name: str, ours: tuple[str, ...], row: WeightRow, shape: Shape, in_file: Sequence[int]
    ) -> FileTensorForm:
        """Return the form of the tensor of this name, whose canonical shape is `shape`."""
        chosen, layout = self._choose(name.removesuffix(".weight").replace("{e}", "0"), row)
        one = bytes_of(layout, shape, row.path, chosen.name)
        return FileTensorForm(name, ours, tuple(in_file), chosen.name, one, isinstance(layout, PlainLayout))

    def names(self, name: str) -> bool:
        """Return whether a format is stated for this tensor."""
        return any(True for _ in self._formats.of(name.removesuffix(".weight")))

    def _choose(self, module: str, row: WeightRow) -> tuple[StoredFormat, Layout]:
        role = role_of(row, self._is_tied)
        found = (one for one in self._formats.of(module) if not one.roles or role in one.roles)
        one = next(found, None)
        return (one, one.layout or self._plain[1]) if one else self._plain
