"""The JSON of every command fits its schema, and CSV has the rows of JSON under the same names."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from typing import Any

import jsonschema
import pytest

from archcalc.cli.schema import RESULTS, schema

Good = Callable[..., str]

# The schema of a command line, and the field of its JSON that CSV shows as a table; '' where CSV shows no rows of JSON.
CALLS: dict[str, tuple[str, str]] = {
    "memory llama-3-8b": ("memory", "components"),
    "memory llama-3-8b --view tensors --dtype q4_k_m": ("memory", "weights"),
    "memory t5-small --view layers --cache-dtype int8": ("memory", "cache_layers"),
    "memory bert-base": ("memory", "components"),
    "patch tiny --ids 295,258,407 --corrupted-ids 295,258,335 --neuron 1:3": ("patch", "effects"),
    "patchscope tiny --ids 295,258,407 --into-ids 1,2 --into-position 0 --answer-id 3 -n 2": ("patchscope", "texts"),
    "patch tiny-seq2seq --random-weights --ids 1,2,3 --noise 1 --noise-samples 2 --component head --wrong-id 7": (
        "patch",
        "effects",
    ),
}
each_call = pytest.mark.parametrize("call", CALLS)


def test_every_schema_has_a_call() -> None:
    assert {name for name, _ in CALLS.values()} == RESULTS.keys()


@pytest.mark.parametrize("name", RESULTS)
def test_a_schema_is_one(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schema(name))


def closed(part: Any) -> Any:
    """Return a schema that allows no other fields."""
    if isinstance(part, dict):
        part = {key: closed(value) for key, value in part.items()}
        return part | {"additionalProperties": False} if "properties" in part else part
    return [closed(value) for value in part] if isinstance(part, list) else part


@each_call
def test_json_fits_its_schema(good: Good, call: str) -> None:
    name, _ = CALLS[call]
    result = json.loads(good(*call.split(), "--format", "json"))
    jsonschema.validate(result, closed(schema(name)), cls=jsonschema.Draft202012Validator)


def flat(row: Mapping[str, Any]) -> dict[str, str]:
    """Return a row of JSON as CSV writes it."""
    cells: dict[str, str] = {}
    for name, value in row.items():
        for key, cell in value.items() if isinstance(value, dict) else [("", value)]:
            text = " × ".join(map(str, cell)) if isinstance(cell, list) else cell
            cells[f"{name}.{key}" if key else name] = "" if text is None else str(text)
    return cells


@pytest.mark.parametrize("call", [call for call, (_, table) in CALLS.items() if table])
def test_csv_has_the_rows_of_json(good: Good, call: str) -> None:
    table = CALLS[call][1]
    result = json.loads(good(*call.split(), "--format", "json"))
    rows = list(csv.DictReader(io.StringIO(good(*call.split(), "--format", "csv"))))
    assert rows == [flat(row) for row in (result if table == "[]" else result[table])]
    assert rows
