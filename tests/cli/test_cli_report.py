"""`archcalc report`: the object that is a contract, and the views."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from archcalc import presets
from archcalc.analysis.params import summary
from archcalc.ledger.build import build
from archcalc.sources import load
from archcalc.units import exact

Good = Callable[..., str]

# What may be added to and never taken from.
KEYS: dict[str, set[str]] = {
    "schema": set(),
    "name": set(),
    "family": set(),
    "params": {"total", "untied", "active", "non_embedding", "by_component"},
    "workload": {"batch", "seq", "past", "dtype"},
    "flops": {"forward", "forward_causal", "backward", "train_step"},
    "memory": {"weights_bytes", "kv_cache_bytes", "state_bytes"},
    "kinds": set(),
    "provenance": {"source", "archcalc", "ignored", "assumed"},
}
COMPONENTS = {"embedding", "position", "attention", "ffn", "mixer", "norm", "head", "other"}


def records(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.parametrize("name", ["gpt3", "t5-small", "bert-base", "deepseek-v3"])
def test_contract(name: str, good: Good) -> None:
    found: dict[str, Any] = json.loads(good("report", name, "--format", "json"))
    assert found["schema"] == 1
    assert found["name"] == load(name).name
    assert found["family"] in ("decoder", "encoder", "encoder-decoder")
    assert set(found) >= set(KEYS)
    for key, within in KEYS.items():
        if within:
            assert set(found[key]) >= within
    assert set(found["params"]["by_component"]) == COMPONENTS
    assert sum(found["params"]["by_component"].values()) == found["params"]["total"]
    assert found["kinds"]
    assert set(found["kinds"].values()) <= {"exact", "measured", "modeled"}
    assert None not in found.values()
    assert ("source_seq" in found["workload"]) == (found["family"] == "encoder-decoder")


@pytest.mark.parametrize("name", presets.names())
def test_json_is_the_ledgers_summary(name: str, good: Good) -> None:
    assert json.loads(good("report", name, "-f", "json"))["params"] == summary(build(load(name)))


@pytest.mark.parametrize("name", presets.names())
def test_components_sum_to_the_total(name: str, good: Good) -> None:
    rows = records(good("report", name, "-f", "csv"))
    totals = summary(build(load(name)))
    assert sum(int(row["parameters"]) for row in rows) == totals["total"]
    assert sum(int(row["untied_parameters"]) for row in rows) == totals["untied"]
    assert all(int(row["weights"]) + int(row["biases"]) == int(row["parameters"]) for row in rows)
    for column in ("share", "untied_share"):
        assert sum(float(row[column]) for row in rows) == pytest.approx(1)


@pytest.mark.parametrize("view", ["summary", "weights", "layers"])
@pytest.mark.parametrize("name", presets.names())
def test_the_last_row_is_the_total(name: str, view: str, good: Good) -> None:
    (line,) = re.findall(r"^\| total \|.*", good("report", name, "--view", view, "-f", "md"), re.MULTILINE)[:1]
    assert f" {exact(build(load(name)).total())} " in line


@pytest.mark.parametrize("name", presets.names())
def test_weights_sum_to_the_total(name: str, good: Good) -> None:
    rows = records(good("report", name, "--view", "weights", "-f", "csv"))
    assert sum(int(row["elements"]) for row in rows if row["share"]) == build(load(name)).total()
    assert all(int(row["elements_per_layer"]) * int(row["layers"]) == int(row["elements"]) for row in rows)


@pytest.mark.parametrize("name", presets.names())
def test_layers_sum_to_the_total(name: str, good: Good) -> None:
    rows = records(good("report", name, "--view", "layers", "-f", "csv"))
    assert len({row["path"] for row in rows}) == len(rows)
    totals = summary(build(load(name)))
    assert sum(int(row["parameters"]) for row in rows) == totals["total"]
    assert sum(int(row["active"]) for row in rows) == totals["active"]
    components = [column for column in rows[0] if column.startswith("by_component.")]
    for column in components:
        assert sum(int(row[column]) for row in rows) == totals["by_component"][column.removeprefix("by_component.")]
    for row in rows:
        assert sum(int(row[column]) for column in components) == int(row["parameters"])


@pytest.mark.parametrize("name", presets.names())
def test_largest_are_sorted(name: str, good: Good) -> None:
    rows = records(good("report", name, "--view", "largest", "-f", "csv"))
    sizes = [int(row["elements_per_layer"]) for row in rows]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == max(row.count for row in build(load(name)).rows)


def test_weights_name_the_layers_that_have_them(good: Good) -> None:
    text = good("report", "deepseek-v3", "--view", "weights")
    assert re.search(r"layers\.\*\.ffn\.gate\.weight +dense +ffn +trainable ", text)
    assert re.search(r"layers\.\*\.ffn\.correction_bias +moe +ffn +buffer ", text)


def test_views_show_one_table_html_shows_all(good: Good) -> None:
    text = good("report", "gpt2", "-f", "html")
    for heading in (
        "Parameters",
        "Where the parameters are",
        "Weights",
        "Layer by layer",
        "Largest tensors",
        "Closed form",
    ):
        assert f"<h2>{heading}</h2>" in text
    assert "Layer by layer" not in good("report", "gpt2", "--view", "weights", "-f", "html")


def test_a_tied_head_is_shown_in_both_accountings(good: Good) -> None:
    text = good("report", "gpt3")
    for line in (
        r"head \(tied\) +0 +0 +0 +0 +0.00 % +0.35 %",
        r"embedding \+ head +617,558,016 +0 +617,558,016 +617.6 M +0.35 % +0.70 %",
        r"untied +175,221,817,344 +175.2 B +the tied head as a matrix of its own",
    ):
        assert re.search(line, text)
    assert "untied" not in good("report", "llama-3-8b")


def test_kinds_of_layers_are_listed_while_they_are_few(good: Good) -> None:
    assert "61 layers (3 dense, 58 moe)" in good("report", "deepseek-v3")
    assert "· 1 layer ·" in good("report", "tiny", "--set", "n_layers=1")


def test_many_kinds_are_counted(good: Good, tmp_path: Any) -> None:
    layer = "{norm: {kind: rmsnorm}, attention: {kind: gqa, n_heads: 2}, ffn: {kind: gated, d_ff: %d}, name: k%d}"
    runs = "".join(f"    - {{count: 1, pattern: [{layer % (8 + i, i)}]}}\n" for i in range(30))
    head = "name: m\nvocab_size: 10\nn_ctx: 8\nd_model: 4\nhead: null\n"
    (tmp_path / "m.yaml").write_text(
        f"{head}decoder:\n  n_layers: 30\n  final_norm: {{kind: rmsnorm}}\n  runs:\n{runs}"
    )
    assert "30 layers (of 30 kinds)" in good("report", "m.yaml")
