"""How the files of a model store its weights, as its source states it: no figure of the architecture depends on it."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from archcalc.formats.element_types import ElementName
from archcalc.formats.layouts import Layout
from archcalc.formats.policy import Role
from archcalc.spec.base import Part

Naming = Literal["", "transformers", "gguf"]
Pattern = Annotated[str, msgspec.Meta(min_length=1, max_length=100_000)]


class StoredFormat(Part, frozen=True, kw_only=True):
    """A format of some of the weights: those with a role, whose tensor has a name in the files.

    - `name`: what tables call the format
    - `layout`: the bytes of a tensor; None: elements of the storage's dtype
    - `roles`: the roles of the tensors in the model; none means any
    - `pattern`: a regular expression of the whole name in the files; none means any
    """

    name: str
    layout: Layout | None = None
    roles: tuple[Role, ...] = ()
    pattern: Pattern | None = None


class Storage(Part, frozen=True, kw_only=True):
    """How files store a model's weights.

    - `dtype`: the element type of tensors without another format, and of caches
    - `stated_by`: the keys of the source that state it; empty: nothing states it
    - `formats`: the first that applies to a tensor is its format
    - `naming`: whose names the patterns match; empty: there is no pattern
    - `model_type`, `class_name`: the model in whose files the names are
    """

    dtype: ElementName = "bf16"
    stated_by: tuple[str, ...] = ()
    formats: tuple[StoredFormat, ...] = ()
    naming: Naming = ""
    model_type: str = ""
    class_name: str = ""
