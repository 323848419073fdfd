"""The report, memory, comparisons and costs in Chinese: no words stay English, and all data stay."""

from __future__ import annotations

import pytest

from archcalc.analysis.comparison import model_comparison, model_difference
from archcalc.analysis.context import PHASES, context
from archcalc.analysis.costs import workload_costs
from archcalc.analysis.growth import growth
from archcalc.analysis.inference_memory import inference_memory
from archcalc.analysis.model_report import model_report
from archcalc.analysis.model_workload import ModelWorkload
from archcalc.ledger.build import build
from archcalc.render import comparison, costs, memory, report
from archcalc.render import context as context_pages
from archcalc.render import growth as growth_pages
from archcalc.render.charts.context import chart
from archcalc.sources import load
from archcalc.spec import Spec
from archcalc.spec.workload import workload
from tests.render.chinese import CHINESE, check

MODELS = ("gpt3-175b", "deepseek-v3", "t5-small", "bert-base", "gemma-2-9b")
NAMES = ("cache", "forward", "total", "head")


def subject(spec: Spec) -> ModelWorkload:
    return ModelWorkload(spec, build(spec), workload(spec), "bf16")


@pytest.mark.parametrize("name", MODELS)
def test_a_model(name: str) -> None:
    spec = load(name)
    about = subject(spec)
    for view in report.VIEWS:
        check(report.view(model_report(about), report.ReportOptions(view)))
    for view in memory.VIEWS:
        result = inference_memory(spec, about.ledger, about.work, "bf16", "int8")
        check(memory.view(result, memory.MemoryOptions(view)))
    if about.ledger.caches:
        check(growth_pages.view(growth(spec, about.ledger, 1, "bf16", 64)))
    for phase in PHASES if spec.decoder else PHASES[:1]:
        found = context(spec, phase, 64)
        check(context_pages.view(found))
        check(chart(found))


def test_several_models() -> None:
    specs = [load(name) for name in MODELS]
    check(comparison.difference_view(model_difference(*specs[:2])))
    check(comparison.view(model_comparison(specs)))
    models = dict(zip(MODELS, specs, strict=True))
    check(costs.view(workload_costs(models, batch=1, seq=64, dtype="bf16")))


def test_names_that_are_words_stay() -> None:
    """Layers, and models, may be called as headings are."""
    norm, attention = {"kind": "rmsnorm"}, {"kind": "gqa", "n_heads": 2}
    ffns = [{"kind": "plain", "d_ff": 8 * (i + 1), "activation": "gelu"} for i in range(len(NAMES))]
    layers = [
        {"name": name, "norm": norm, "attention": attention, "ffn": ffn} for name, ffn in zip(NAMES, ffns, strict=True)
    ]
    stack = {"runs": [{"count": len(NAMES), "pattern": layers}]}
    document = {"name": "total", "vocab_size": 9, "n_ctx": 16, "d_model": 8, "decoder": stack}
    one, other = load(document), load(document | {"name": "head"})
    shown = CHINESE.within(report.view(model_report(subject(one)), report.ReportOptions("layers")))
    assert [row[1] for row in shown.blocks[0].rows[1:5]] == list(NAMES)
    columns = CHINESE.within(comparison.view(model_comparison([one, other]), None)).blocks[0].columns
    assert [column.heading for column in columns[1:]] == ["total", "head"]
