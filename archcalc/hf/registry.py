"""Which module of `families/` has each model type, so that reading a config imports one of them.

`families/index.json` is generated: run `python -m archcalc.hf` after adding a row. A row that it misses is
still found, by importing every module.
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
# Where two families could say the same architecture, the one in the earlier module is written.
FIRST = ("gpt2", "llama_like", "moe_like", "bert_like")


@cache
def index() -> dict[str, Any]:
    """The generated index: module → stacks → model types, and GGUF's architectures → model types."""
    with open(INDEX, "rb") as file:
        found: dict[str, Any] = msgspec.json.decode(file.read())
    return found


def model_types(stacks: str | None = None) -> list[str]:
    """Every model type, or those with these stacks: 'decoder', 'encoder', 'encoder-decoder'."""
    groups = [group for module in index()["families"].values() for group in module.items()]
    return list(dict.fromkeys(name for kin, group in groups for name in group if stacks in (None, kin)))


def find(model_type: str) -> Family | None:
    """The family of a model type, if there is one."""
    named = [name for name, groups in index()["families"].items() for group in groups.values() if model_type in group]
    for module in named or modules():
        for row in rows_of(module):
            if row.model_type == model_type:
                return _built(row)
    return None


def find_gguf(architecture: str) -> Family | None:
    """The family of a GGUF file's `general.architecture`, if there is one."""
    model_type = index()["gguf"].get(architecture)
    return find(model_type) if model_type else None


def modules() -> list[str]:
    """The names of the modules that hold rows, in the order in which a config is written."""
    names = sorted(file[:-3] for file in os.listdir(FOLDER) if file.endswith(".py") and file != "__init__.py")
    return sorted(names, key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))


def rows_of(module: str) -> tuple[FamilyRow | Family, ...]:
    """The rows of a module."""
    rows: tuple[FamilyRow | Family, ...] = import_module(f"archcalc.hf.families.{module}").FAMILIES
    return rows


def scan() -> dict[str, Any]:
    """The index as the modules say it."""
    families: dict[str, dict[str, list[str]]] = {}
    gguf: dict[str, str] = {}
    for module, family in _families():
        for stacks in dict.fromkeys(form.stacks for form in (family, *family.forms)):
            families.setdefault(module, {}).setdefault(stacks, []).append(family.model_type)
        if family.gguf:
            gguf[family.gguf.name] = family.model_type
    return {"families": families, "gguf": gguf}


def _families() -> Iterator[tuple[str, Family]]:
    for module in modules():
        for row in rows_of(module):
            yield module, _built(row)


def _built(row: FamilyRow | Family) -> Family:
    from archcalc.hf.family import Family

    return row if isinstance(row, Family) else row.family
