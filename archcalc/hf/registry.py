"""Which module of `families/` has each model type, so that reading a config imports one of them.

`families/index.json` is generated: run `python -m archcalc.hf` after adding a row. A row that it misses is
still found, by importing every module.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archcalc.hf.family import Family

FOLDER = Path(__file__).parent / "families"
INDEX = FOLDER / "index.json"
# Where two families could say the same architecture, the one in the earlier module is written.
FIRST = ("gpt2", "llama_like", "moe_like", "bert")


@cache
def index() -> dict[str, Any]:
    """The generated index: module → stacks → model types, and GGUF's architectures → model types."""
    found: dict[str, Any] = json.loads(INDEX.read_text("utf-8"))
    return found


def model_types(stacks: str | None = None) -> list[str]:
    """Every model type, or those with these stacks: 'decoder', 'encoder', 'encoder-decoder'."""
    groups = [group for module in index()["families"].values() for group in module.items()]
    return [model_type for kin, group in groups for model_type in group if stacks in (None, kin)]


def find(model_type: str) -> Family | None:
    """The family of a model type, if there is one."""
    named = [name for name, groups in index()["families"].items() for group in groups.values() if model_type in group]
    for module in named or modules():
        for family in families_of(module):
            if family.model_type == model_type:
                return family
    return None


def find_gguf(architecture: str) -> Family | None:
    """The family of a GGUF file's `general.architecture`, if there is one."""
    model_type = index()["gguf"].get(architecture)
    return find(model_type) if model_type else None


def modules() -> list[str]:
    """The names of the modules that hold rows, in the order in which a config is written."""
    names = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")
    return sorted(names, key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))


def families_of(module: str) -> tuple[Family, ...]:
    """The rows of a module."""
    found: tuple[Family, ...] = import_module(f"archcalc.hf.families.{module}").FAMILIES
    return found


def scan() -> dict[str, Any]:
    """The index as the modules say it."""
    families: dict[str, dict[str, list[str]]] = {}
    gguf: dict[str, str] = {}
    for module, family in _rows():
        families.setdefault(module, {}).setdefault(family.stacks, []).append(family.model_type)
        if family.gguf:
            gguf[family.gguf.name] = family.model_type
    return {"families": families, "gguf": gguf}


def _rows() -> Iterator[tuple[str, Family]]:
    for module in modules():
        for family in families_of(module):
            yield module, family
