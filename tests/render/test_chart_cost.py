"""The figures of FLOPs, memory and comparison: what they draw is what is counted, and Vega-Lite can draw it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from archcalc.analysis.growth import growth
from archcalc.analysis.inference_memory import inference_memory
from archcalc.analysis.shards import sharded_memory
from archcalc.analysis.training_memory import training_memory
from archcalc.analysis.training_setup import by_recompute, training_setup
from archcalc.analysis.workload_flops import workload_flops
from archcalc.errors import InputError
from archcalc.ledger.build import build
from archcalc.render.charts import file, frame, memory, side_by_side
from archcalc.render.charts import flops as of_flops
from archcalc.render.charts import growth as of_growth
from archcalc.render.charts.stacked import Bar, stacked
from archcalc.sources import load
from archcalc.spec import Spec
from archcalc.spec.execution import Execution
from archcalc.spec.workload import workload
from tests.examples import examples
from tests.strategies import specs

SPEC = load("gpt2")
LEDGER, WORK = build(SPEC), workload(SPEC)
FOUND = workload_flops(SPEC, WORK, Execution(), conventions=True)
SUBJECT = training_setup(SPEC, WORK, dropout=False)


def sums(chart: dict[str, Any]) -> dict[str, float]:
    found: dict[str, float] = {}
    for value in chart["data"]["values"]:
        found[value["bar"]] = found.get(value["bar"], 0) + value["size"]
    return found


def test_parts_of_nothing_are_in_no_legend() -> None:
    bars = [Bar("a", {"x": 3, "z": 1}), Bar("b", {"x": 0, "z": 2})]
    chart = stacked("t", [], bars, {"x": "#000001", "y": "#000002", "z": "#000003"}, unit="bytes", axis="bytes")
    assert chart["layer"][0]["encoding"]["color"]["scale"] == {"domain": ["x", "z"], "range": ["#000001", "#000003"]}
    assert sums(chart) == {"a": 4, "b": 2}
    assert [value["exact"] for value in chart["data"]["values"]] == ["3", "1", "2"]


def test_a_bar_of_flops_is_as_long_as_its_total() -> None:
    assert list(sums(of_flops.components(FOUND)).values()) == [
        FOUND.forward,
        FOUND.forward_causal,
        FOUND.backward,
        FOUND.train_step,
    ]


def test_a_bar_of_training_is_all_that_a_step_keeps() -> None:
    none, selective, full = sums(memory.training(SUBJECT, by_recompute(SUBJECT))).values()
    result = training_memory(SUBJECT)
    assert none == result.step_bytes
    assert none > selective > full
    assert next(iter(sums(memory.peaks(SUBJECT, by_recompute(SUBJECT))).values())) == result.peak.bytes


def test_bars_of_inference_and_of_ranks_are_their_totals() -> None:
    found = inference_memory(SPEC, LEDGER, WORK, "nf4", "int8")
    assert list(sums(memory.inference(found)).values()) == [found.weights_bytes, found.kv_cache_bytes]
    held = sharded_memory(SPEC, LEDGER, WORK, "fsdp", 3, dtype="bf16", cache_dtype="bf16")
    assert list(sums(memory.ranks(held)).values()) == [rank.bytes for rank in held.ranks]


def test_shares_are_of_each_models_own_total() -> None:
    chart = side_by_side.chart([SPEC, load("llama-3-8b")], of_share=True)
    for name in ("gpt2", "llama-3-8b"):
        own = [value["size"] for value in chart["data"]["values"] if value["model"] == name]
        assert sum(own) == pytest.approx(1)


def test_a_logarithmic_bar_begins_below_every_value() -> None:
    chart = side_by_side.chart([SPEC, load("deepseek-v3")], "log", of_share=False)
    assert chart["encoding"]["x2"]["datum"] <= min(value["size"] for value in chart["data"]["values"]) / 2


@examples(20)
@given(specs())
def test_the_cache_grows_as_the_report_says(spec: Spec) -> None:
    from archcalc.contract import report

    ledger = build(spec)
    if not ledger.caches:
        with pytest.raises(InputError, match="caches nothing"):
            growth(spec, ledger, 1, "bf16")
        return
    up_to = min(spec.n_ctx, 200)
    found = growth(spec, ledger, 3, "bf16", up_to)
    assert found.points[-1].tokens == up_to
    sizes = [point.kv_cache_bytes for point in found.points]
    assert sizes == sorted(sizes)
    for point in found.points:
        assert point.kv_cache_bytes == report(spec, batch=3, seq=point.tokens, dtype="bf16")["memory"]["kv_cache_bytes"]


CHARTS = {
    "components": lambda: of_flops.components(FOUND),
    "conventions": lambda: of_flops.conventions(FOUND),
    "running": lambda: memory.inference(inference_memory(SPEC, LEDGER, WORK, "bf16", "bf16")),
    "peaks": lambda: memory.peaks(SUBJECT, by_recompute(SUBJECT)),
    "ranks": lambda: memory.ranks(sharded_memory(SPEC, LEDGER, WORK, "tp", 2, dtype="bf16", cache_dtype="bf16")),
    "growth": lambda: of_growth.chart(growth(SPEC, LEDGER, 1, "bf16"), ("bf16", 248_879_616)),
    "side_by_side": lambda: side_by_side.chart([SPEC, load("tiny")], "log", of_share=False),
}


@pytest.mark.parametrize("name", CHARTS)
def test_every_chart_can_be_drawn_and_darkened(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    chart = CHARTS[name]()
    svg = file.as_bytes(frame.dark(chart), ".svg").decode()
    assert "NaN" not in svg
    assert chart["title"]["text"] in svg.replace("&#39;", "'").replace("&apos;", "'")
    assert not capfd.readouterr().err
