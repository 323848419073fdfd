"""What is wrong with a document, and at which of its places."""

from __future__ import annotations

import msgspec

from archcalc.dashboard.form.places import part_at
from archcalc.dashboard.session import say
from archcalc.errors import InputError
from archcalc.spec.document import Document, decode
from archcalc.spec.field_types import Path, parse_path, type_at, value_at


class Fault(msgspec.Struct, frozen=True):
    """The first mistake of a document: the field or part it is told of, and its message without the place."""

    path: Path
    message: str

    def within(self, path: Path) -> bool:
        """Whether it is of this place or of one inside it."""
        return self.path[: len(path)] == path


def fault_of(document: Document) -> Fault | None:
    """What keeps a document from being a spec; None if it is one."""
    try:
        decode(document)
    except InputError as error:
        return Fault(_place(document, error), InputError(error.problem, allowed=error.allowed).text(say()))
    return None


def _place(document: Document, error: InputError) -> Path:
    """The place of an error as the form has it: a kind is chosen where its part stands; of a field that is missing,
    where it would stand.
    """
    path = parse_path(error.where)
    if path[-1:] == ("kind",):
        return path[:-1]
    try:
        value = value_at(document, path)
    except (KeyError, IndexError, TypeError):
        return path
    part = part_at(type_at(document, path), value)
    fields = part.fields if part is not None and "is missing" in str(error) else ()
    missing = [field.name for field in fields if field.required and field.name not in value]
    return (*path, missing[0]) if missing else path
