"""`archcalc diff`, `compare` and `presets`."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable

import pytest

from archcalc import presets
from archcalc.analysis.params import summary
from archcalc.ledger.build import build
from archcalc.sources import load

Good = Callable[..., str]


def test_a_model_differs_from_itself_in_nothing(good: Good) -> None:
    text = good("diff", "gpt2", "gpt2")
    assert "the architectures are the same" in text
    found = json.loads(good("diff", "gpt2", "gpt2", "-f", "json"))
    assert found["fields"] == []
    assert {one["difference"] for one in found["params"]} == {0}


def test_names_are_no_difference(good: Good) -> None:
    assert json.loads(good("diff", "gpt2", "gpt2", "--set", "name=other", "-f", "json"))["fields"] == []


@pytest.mark.parametrize(
    ("left", "right"), [("gpt3", "llama-3-8b"), ("t5-small", "bert-base"), ("deepseek-v3", "gpt2")]
)
def test_differences_are_the_totals(left: str, right: str, good: Good) -> None:
    found = {one["figure"]: one for one in json.loads(good("diff", left, right, "-f", "json"))["params"]}
    a, b = (summary(build(load(name))) for name in (left, right))
    for name in ("total", "untied", "active", "non_embedding"):
        assert found[name] == {
            "figure": name,
            "left": a[name],
            "right": b[name],
            "difference": b[name] - a[name],
            "change": (b[name] - a[name]) / a[name],
            "kind": "exact",
        }
    for name, left_count in a["by_component"].items():
        assert found[name]["left"] == left_count


def test_fields_are_said_as_a_file_would(good: Good) -> None:
    text = good("diff", "gpt3", "llama-3-8b")
    assert "True" not in text
    assert "None" not in text
    for line in ("head.tied", "decoder.runs.0.pattern.0.norm.kind", "decoder.runs.0.pattern.0.ffn.activation"):
        assert line in text


def test_fields_of_one_side_stand_where_they_belong(good: Good) -> None:
    fields = [one["field"] for one in json.loads(good("diff", "gpt3", "llama-3-8b", "-f", "json"))["fields"]]
    place = fields.index("decoder.runs.0.pattern.0.attention.position.theta")
    assert fields[place - 1].startswith("decoder.runs.0.pattern.0.attention")
    assert fields[-1].startswith("dropout")
    assert len(set(fields)) == len(fields)


def test_equal_names_are_told_apart(good: Good) -> None:
    text = good("diff", "gpt2", "gpt2", "--set", "n_layers=24")
    assert text.startswith("GPT-2 Small → GPT-2 Small with n_layers=24\n")
    assert "gpt2 (2)" in text
    head, *_ = csv.reader(io.StringIO(good("compare", "gpt2", "tiny", "gpt2", "gpt2", "-f", "csv")))
    assert head == ["figure", "models.gpt2", "models.tiny", "models.gpt2 (2)", "models.gpt2 (3)", "kind"]


def test_compare_has_a_column_for_each(good: Good) -> None:
    names = presets.names()
    rows = {row[0]: row[1:-1] for row in csv.reader(io.StringIO(good("compare", *names, "-f", "csv")))}
    assert rows["figure"] == [f"models.{name}" for name in names]
    assert list(map(int, rows["total"])) == [build(load(name)).total() for name in names]
    assert [one["name"] for one in json.loads(good("compare", *names, "-f", "json"))] == names


def test_presets_lists_them_all(good: Good) -> None:
    found = json.loads(good("presets", "-f", "json"))
    assert [one["name"] for one in found] == presets.names()
    assert all(one["parameters"] >= one["active"] > 0 and one["source"] for one in found)
    assert "gpt3 is short for gpt3-175b" in good("presets")
