"""Modules for multi-token prediction that files hold: totals that the hub counts of the published files."""

from __future__ import annotations

from typing import Any

import pytest

import archcalc
from archcalc.analysis.model_report import model_report
from archcalc.analysis.model_workload import ModelWorkload
from archcalc.hf.spellings import MTP_LAYERS
from archcalc.ledger.build import build
from archcalc.spec.workload import workload
from tests.hf import oracle

# Parameters of the class, of these and the module, and of every tensor in the published files.
PUBLISHED = {
    "DeepSeek-R1": (671_026_404_352, 682_636_472_320, 684_489_845_504),
    "GLM-4.5": (352_797_814_784, 356_785_884_416, 358_337_791_296),
    "GLM-4.5-Air": (106_852_245_504, 109_227_304_960, 110_468_824_832),
}
SERVED = {
    "zai-org/GLM-5": (743_911_199_232, 753_864_119_552, 753_864_139_008),
    "XiaomiMiMo/MiMo-7B-Base": (7_622_619_136, 7_833_409_536, 7_833_409_536),
    "Qwen/Qwen3.5-27B": (26_895_998_464, 27_320_697_856, 27_320_697_856),
}


def totals(config: dict[str, Any]) -> tuple[int | None, ...]:
    report = archcalc.report(archcalc.load(config))
    with_mtp: Any = report.get("with_mtp", {})
    return report["params"]["total"], with_mtp.get("total"), with_mtp.get("as_stored")


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_tensors_of_published_files(name: str) -> None:
    assert totals(oracle.published()[name]["config"]) == PUBLISHED[name]


@pytest.mark.parametrize("name", SERVED)
def test_the_tensors_of_served_files(name: str) -> None:
    assert totals(oracle.served()[name]["config"]) == SERVED[name]


def test_no_module_is_counted_where_the_config_counts_none() -> None:
    assert totals(oracle.published()["Kimi-K2"]["config"])[1:] == (None, None)
    assert [MTP_LAYERS.n_modules({"num_nextn_predict_layers": n}) for n in (0, -1, 65, "1", True)] == [0] * 5
    assert MTP_LAYERS.n_modules({}) == 0


def test_a_module_has_the_last_attention_of_its_own_and_one_like_it_is_as_large() -> None:
    """Qwen's last layer may be linear attention; its module is not. Two modules are twice as large."""
    config = oracle.served()["Qwen/Qwen3.5-27B"]["config"]["text_config"] | {"tie_word_embeddings": False}
    longer = config | {"num_hidden_layers": 66, "layer_types": [*config["layer_types"], *["linear_attention"] * 2]}
    total, with_one, _ = totals(longer)
    assert with_one is not None
    assert total is not None
    assert with_one - total == 27_320_697_856 - 26_895_998_464
    assert totals(longer | {"mtp_num_hidden_layers": 2})[1] == total + 2 * (with_one - total)


def test_the_module_is_that_of_the_spec() -> None:
    spec = archcalc.load("deepseek-v3")
    assert archcalc.load("deepseek-v3", {"n_mtp": 1}).decoder is not None
    inside = build(archcalc.load("deepseek-v3", {"n_mtp": 1})).total()
    assert archcalc.report(spec)["with_mtp"]["total"] == inside


def test_the_report_lists_them_beside_the_total() -> None:
    spec = archcalc.load("deepseek-v3")
    rows = model_report(ModelWorkload(spec, build(spec), workload(spec), "bf16")).totals
    assert [row.figure for row in rows[:3]] == ["total", "with_mtp", "with_mtp_as_stored"]
    kimi = archcalc.load(oracle.published()["Kimi-K2"]["config"])
    rows = model_report(ModelWorkload(kimi, build(kimi), workload(kimi), "bf16")).totals
    assert not any("mtp" in row.figure for row in rows)
