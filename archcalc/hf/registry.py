"""The module of `families/` for each model type, so that reading a config imports only one.

`families/index.json` is generated: run `python -m archcalc.hf` after adding a row. A row that is not in the index is
found by importing every module.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from archcalc.hf.family import Family, FamilyRow

FOLDER = os.path.join(os.path.dirname(__file__), "families")
INDEX = os.path.join(FOLDER, "index.json")
# If two families can express an architecture, the one in the earlier module is written.
_FIRST_MODULES = ("gpt2", "llama_like", "moe_like", "bert_like", "t5", "granite_like", "granite_moe_like")


@cache
def index() -> dict[str, Any]:
    """Return the generated index: module → stacks → model types, and GGUF architectures → model types."""
    with open(INDEX, "rb") as file:
        data: dict[str, Any] = msgspec.json.decode(file.read())
    return data


def model_types(stacks: str | None = None) -> list[str]:
    """Return every model type, or those with these stacks: 'decoder', 'encoder', 'encoder-decoder'."""
    groups = [group for module in index()["families"].values() for group in module.items()]
    return list(dict.fromkeys(name for own_stacks, group in groups for name in group if stacks in (None, own_stacks)))


@cache
def _module_by_type() -> dict[str, str]:
    families = index()["families"].items()
    return {name: module for module, groups in families for group in groups.values() for name in group}


def find(model_type: str) -> Family | None:
    """Return the family of a model type, or None."""
    listed = _module_by_type().get(model_type)
    for module in [listed] if listed else modules():
        for row in rows_of(module):
            if row.model_type == model_type:
                return _family(row)
    return None


def find_gguf(architecture: str) -> Family | None:
    """Return the family of a GGUF file's `general.architecture`, or None."""
    model_type = index()["gguf"].get(architecture)
    return find(model_type) if model_type else None


def modules() -> list[str]:
    """Return the names of the modules with rows, in the order in which they are tried for writing a config."""
    names = sorted(file[:-3] for file in os.listdir(FOLDER) if file.endswith(".py") and file != "__init__.py")
    return sorted(names, key=lambda name: _FIRST_MODULES.index(name) if name in _FIRST_MODULES else len(_FIRST_MODULES))


def rows_of(module: str) -> tuple[FamilyRow | Family, ...]:
    """Return the rows of a module."""
    rows: tuple[FamilyRow | Family, ...] = import_module(f"archcalc.hf.families.{module}").FAMILIES
    return rows


def scan() -> dict[str, Any]:
    """Return the index of the rows in all modules."""
    families: dict[str, dict[str, list[str]]] = {}
    gguf: dict[str, str] = {}
    for module, family in _all_families():
        for stacks in dict.fromkeys(form.stacks for form in (family, *family.forms)):
            families.setdefault(module, {}).setdefault(stacks, []).append(family.model_type)
        if family.gguf:
            gguf |= dict.fromkeys((family.gguf.name, *family.gguf.aliases), family.model_type)
    return {"families": families, "gguf": gguf}


def _all_families() -> Iterator[tuple[str, Family]]:
    for module in modules():
        for row in rows_of(module):
            yield module, _family(row)


def _family(row: FamilyRow | Family) -> Family:
    from archcalc.hf.family import Family

    return row if isinstance(row, Family) else row.family
