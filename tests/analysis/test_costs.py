"""The costs of a workload are the report's of each model; results without a command of their own have a schema too."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from archcalc.analysis.costs import WorkloadCosts, workload_costs
from archcalc.analysis.growth import CacheGrowth, growth
from archcalc.contract import report
from archcalc.errors import InputError
from archcalc.ledger.build import build
from archcalc.render import costs
from archcalc.results import json_schema, plain
from archcalc.sources import load

MODELS = {name: load(name) for name in ("gpt2", "bert-base", "t5-small", "deepseek-v3")}


def check_schema(result: WorkloadCosts | CacheGrowth) -> Any:
    """Return the JSON of a result, which fits the schema of its type."""
    printed = json.loads(json.dumps(plain(result)))
    jsonschema.validate(printed, json_schema(type(result)), cls=jsonschema.Draft202012Validator)
    return printed


def test_costs_are_the_reports() -> None:
    result = workload_costs(MODELS, batch=2, seq=64, dtype="fp32")
    for name, spec in MODELS.items():
        expected: dict[str, Any] = report(spec, batch=2, seq=64, dtype="fp32")
        for row in result.figures:
            part, _, key = row.figure.partition(".")
            assert row.models[name] == expected[part][key]
    check_schema(result)


def test_a_figure_that_no_model_has_gets_no_row() -> None:
    result = workload_costs(MODELS, batch=1, seq=8, dtype="bf16")
    (table,) = costs.view(result).blocks
    assert [column.heading for column in table.columns[1:]] == list(MODELS)
    assert {row.figure for row in result.figures} - {row["figure"] for row in table.records.rows} == {
        "memory.state_bytes"
    }
    assert len(table.rows) == len(result.figures) - 1


def test_the_model_that_refuses_is_named() -> None:
    with pytest.raises(InputError, match=r"^gpt2: seq: 4,096 tokens"):
        workload_costs(MODELS, batch=1, seq=4096, dtype="bf16")


def test_growth_fits_its_schema() -> None:
    spec = MODELS["gpt2"]
    result = growth(spec, build(spec), 3, "int8", 512)
    assert check_schema(result)["points"][-1]["tokens"] == 512
