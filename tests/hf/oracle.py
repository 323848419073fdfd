"""What transformers builds of configs, a line each: parameters, tensors, FLOPs, caches. See oracle/README.md."""

from __future__ import annotations

import json
import lzma
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_name("oracle")
Line = dict[str, Any]


@cache
def published() -> dict[str, Line]:
    """Return configs of published models by their names: "GPT-2 small"."""
    return {line["name"]: line for line in _lines("published")}


@cache
def defaults() -> dict[str, Line]:
    """Return the default configs of model classes by type and class: "bert BertLMHeadModel"."""
    return {f"{line['model_type']} {line['class']}": line for line in _lines("defaults")}


@cache
def changed() -> dict[str, Line]:
    """Return configs with other sizes and flags by type and number: "bert #3"."""
    found: dict[str, Line] = {}
    counts: dict[str, int] = {}
    for line in _lines("changed"):
        kind = line["model_type"]
        counts[kind] = counts.get(kind, 0) + 1
        found[f"{kind} #{counts[kind]}"] = line
    return found


@cache
def served() -> dict[str, Line]:
    """Return the configs of models that engines serve by their repositories: "Qwen/Qwen3-8B"."""
    return {line["name"]: line for line in _lines("served")}


@cache
def of_type() -> dict[str, dict[str, Line]]:
    """Return all lines by name, by model type."""
    found: dict[str, dict[str, Line]] = {}
    for lines in (published(), defaults(), changed()):
        for name, line in lines.items():
            assert name not in found.setdefault(line["model_type"], {}), name
            found[line["model_type"]][name] = line
    return found


def _lines(file: str) -> list[Line]:
    """Return a file's lines; one that is not there is an error."""
    text = lzma.decompress((FOLDER / f"{file}.jsonl.xz").read_bytes()).decode()
    return [json.loads(line) for line in text.splitlines()]
