"""The page Compare: its tables equal those of the command line."""

from __future__ import annotations

import pytest

import archcalc
from archcalc.units import exact
from tests.dashboard.app import command, html, json_output, open_page, python_result


def test_the_chosen_architecture_is_compared_with_presets() -> None:
    at = open_page("compare", model="gpt3-175b", compare_models=["llama-3-8b", "mistral-7b"])
    line = command(at)
    assert line == "archcalc compare gpt3-175b llama-3-8b mistral-7b"
    found = json_output(line)
    assert [one["name"] for one in found] == ["gpt3-175b", "llama-3-8b", "mistral-7b"]
    assert all(exact(one["params"]["total"]) in html(at) for one in found)
    assert python_result(at) == found
    at.toggle(key="compare_own").set_value(False).run()
    assert command(at) == "archcalc compare llama-3-8b mistral-7b"
    at.toggle(key="compare_own").set_value(True)
    at.selectbox(key="model").set_value("mistral-7b").run()
    assert command(at) == "archcalc compare llama-3-8b mistral-7b", "a duplicate is compared once"


@pytest.mark.parametrize("n", [1, 7])
def test_fewer_than_two_or_more_than_six_models_are_refused(n: int) -> None:
    names = archcalc.presets.names()[:n]
    at = open_page("compare", compare_models=names, compare_own="false")
    assert [warning.value for warning in at.warning] == [f"Choose two to six architectures; found {n}."]
    assert not at.code
    assert "<table" not in html(at)


def test_an_architecture_with_changed_fields_is_a_file_in_the_command() -> None:
    link = {"from": "text", "yaml": "base: gpt2\nname: wide\nd_ff: 4096\n", "set": "n_layers=6"}
    at = open_page("compare", compare_models="gpt2", **link)
    assert command(at) == "archcalc compare ./wide.yaml gpt2"
    assert any("./wide.yaml" in caption.value for caption in at.caption)
    own = archcalc.load({"base": "gpt2", "name": "wide", "d_ff": 4096}, {"n_layers": 6})
    assert exact(archcalc.report(own)["params"]["total"]) in html(at)


def test_a_diff_equals_the_command_line() -> None:
    at = open_page("compare", model="gpt2", set="n_layers=6", compare_models=["gpt2", "gpt3-125m"], compare_view="diff")
    at.selectbox(key="compare_left").set_value("gpt3-125m")
    at.selectbox(key="compare_right").set_value("gpt2").run()
    assert command(at) == "archcalc diff gpt3-125m gpt2 --set n_layers=6"
    found = json_output(command(at))
    assert python_result(at) == found
    (total,) = [row for row in found["params"] if row["figure"] == "total"]
    assert exact(total["right"]) in html(at)
    assert "n_layers" in {field["field"].rpartition(".")[2] for field in found["fields"]}
    # A model that is no longer compared is not a side of the diff.
    at.multiselect(key="compare_models").set_value(["gpt2"]).run()
    assert at.selectbox(key="compare_left").value == "gpt2"


def test_costs_equal_the_report_of_each_model_and_errors_name_the_model() -> None:
    at = open_page("compare", model="gpt3-175b", compare_models="llama-3-8b", compare_view="costs", compare_batch="4")
    for line in command(at).splitlines():
        found = json_output(line)
        assert found["workload"] == {"batch": 4, "seq": 2048, "past": 0, "dtype": "bf16"}
        assert exact(found["flops"]["train_step"]) in html(at)
        assert exact(found["memory"]["kv_cache_bytes"]) in html(at)
    at.number_input(key="compare_seq").set_value(4096).run()
    assert at.error[0].value.replace("\\", "").startswith("gpt3-175b: seq: 4,096 tokens")


def test_bars_are_counts_or_shares_on_either_scale() -> None:
    at = open_page("compare", compare_view="bars", compare_of="share", compare_scale="log")
    assert any("share" in caption.value for caption in at.caption)
    assert at.query_params["compare_scale"] in ("log", ["log"])
