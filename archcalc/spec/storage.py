"""How the files of a model store its weights, as its source states it: no figure of the architecture depends on it."""

from typing import Annotated, Literal

import msgspec

from archcalc.formats.layouts import Layout
from archcalc.formats.packings import PackingName
from archcalc.formats.policy import Role
from archcalc.spec.base import Part

FloatName = Literal["fp64", "fp32", "fp16", "bf16", "fp8", "fp8-e5m2"]
Naming = Literal["canonical", "transformers", "gguf"]
Pattern = Annotated[str, msgspec.Meta(min_length=1, max_length=100_000)]


class StoredFormat(Part, frozen=True, kw_only=True):
    """A format of some of the weights: those with a role, whose tensor has a name.

    - `name`: what tables call the format
    - `layout`: the bytes of a tensor; None: elements of the storage's dtype
    - `roles`: the roles of the tensors in the model; none means any
    - `pattern`: a regular expression of a tensor's whole name, without a last `.weight`; none means any
    - `packing`: the tensors as which files store a matrix; None: it is counted, but not loaded
    """

    name: str
    layout: Layout | None = None
    roles: tuple[Role, ...] = ()
    pattern: Pattern | None = None
    packing: PackingName | None = None


class Storage(Part, frozen=True, kw_only=True):
    """How files store a model's weights.

    - `dtype`: the element type of tensors without another format, and of caches
    - `stated_by`: the keys of the source that state it; empty: nothing states it
    - `formats`: the first that applies to a tensor is its format
    - `naming`: whose names the patterns match: the spec's own, or those of the model's files
    - `model_type`, `class_name`: the model in whose files the names are
    """

    dtype: FloatName = "bf16"
    stated_by: tuple[str, ...] = ()
    formats: tuple[StoredFormat, ...] = ()
    naming: Naming = "canonical"
    model_type: str = ""
    class_name: str = ""
