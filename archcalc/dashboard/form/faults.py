"""The first error of a document and its path."""

from __future__ import annotations

import msgspec

from archcalc.dashboard.form.document_paths import part_type
from archcalc.dashboard.session import say
from archcalc.errors import InputError
from archcalc.spec.document import Document, decode
from archcalc.spec.field_types import Path, parse_path, type_at, value_at


class Fault(msgspec.Struct, frozen=True):
    """The first error of a document: the path of its field or part, and the message without the path."""

    path: Path
    message: str

    def within(self, path: Path) -> bool:
        """Return whether the error is at this path or below it."""
        return self.path[: len(path)] == path


def fault_of(document: Document) -> Fault | None:
    """Return the first error of a document, None if it is a valid spec."""
    try:
        decode(document)
    except InputError as error:
        return Fault(_path(document, error), error.at().text(say()))
    return None


def _path(document: Document, error: InputError) -> Path:
    """Return the path of an error in the form: of a `kind` its part, of a missing field the path that it would have."""
    path = parse_path(str(error.where))
    if path[-1:] == ("kind",):
        return path[:-1]
    try:
        value = value_at(document, path)
    except (KeyError, IndexError, TypeError):
        return path
    part = part_type(type_at(document, path), value)
    fields = part.fields if part is not None and "is missing" in str(error) else ()
    missing = [field.name for field in fields if field.required and field.name not in value]
    return (*path, missing[0]) if missing else path
