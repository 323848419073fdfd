"""`--set`: what it changes, and that the page says so."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from archcalc.ledger.build import build
from archcalc.sources import load

Good = Callable[..., str]


def total(good: Good, name: str, *settings: str) -> int:
    options = [word for setting in settings for word in ("--set", setting)]
    found: dict[str, Any] = json.loads(good("report", name, "-f", "json", *options))
    return int(found["params"]["total"])


def test_layers(good: Good) -> None:
    per_layer = 12 * 12288**2 + 13 * 12288
    assert total(good, "gpt3") - total(good, "gpt3", "n_layers=48") == 48 * per_layer


def test_the_tail_of_a_path(good: Good) -> None:
    narrower = 96 * (49152 - 1000) * (2 * 12288 + 1)
    assert total(good, "gpt3") - total(good, "gpt3", "ffn.d_ff=1000") == narrower
    assert total(good, "gpt3", "decoder.runs.0.pattern.0.ffn.d_ff=1000") == total(good, "gpt3", "d_ff=1000")


def test_a_head_of_its_own(good: Good) -> None:
    assert total(good, "gpt3", "head.tied=false") - total(good, "gpt3") == 50257 * 12288


def test_a_mapping_of_another_kind_takes_the_place(good: Good) -> None:
    assert total(good, "gpt3") - total(good, "gpt3", "norm={kind: rmsnorm}") == 96 * 2 * 12288


def test_prediction_modules(good: Good) -> None:
    assert total(good, "deepseek-v3", "n_mtp=1") > total(good, "deepseek-v3")


def test_the_last_of_two_wins(good: Good) -> None:
    assert total(good, "gpt3", "n_layers=3", "n_layers=48") == total(good, "gpt3", "n_layers=48")


def test_several_that_need_each_other(good: Good) -> None:
    assert total(good, "gpt3", "n_heads=7", "n_kv_heads=7", "d_head=128") > 0


def test_huge_sizes_stay_exact(good: Good) -> None:
    size = 2**32
    settings = (f"d_model={size}", f"vocab_size={size}", "n_layers=1000", "n_heads=1", "n_kv_heads=1", f"d_ff={size}")
    d, layers = size, 1000
    expected = layers * (6 * d * d + 10 * d) + d * d + 2048 * d + 2 * d
    assert total(good, "gpt3", *settings) == expected


@pytest.mark.parametrize(
    ("setting", "title"),
    [
        ("n_layers=48", "GPT-3 175B with n_layers=48"),
        ("head.tied=false", "GPT-3 175B with head.tied=false"),
        ("decoder.final_norm=null", "GPT-3 175B with decoder.final_norm=null"),
        ("norm={kind: rmsnorm}", "GPT-3 175B with norm={…}"),
        ("ffn.activation=silu", "GPT-3 175B with ffn.activation=silu"),
        ("title=Mine", "Mine"),
        ("note=hi", "GPT-3 175B"),
        ("claims=[]", "GPT-3 175B"),
    ],
)
def test_title_says_what_was_changed_of_the_architecture(setting: str, title: str, good: Good) -> None:
    assert good("report", "gpt3", "--set", setting).splitlines()[0] == title


def test_values_are_read_as_yaml(good: Good) -> None:
    assert good("report", "gpt3", "--set", "name='x: y'").splitlines()[2].startswith("x: y · decoder")


def test_it_holds_in_every_command_that_takes_it(good: Good) -> None:
    expected = build(load("tiny", {"n_layers": 9})).total()
    set_9 = ("--set", "n_layers=9", "-f", "json")
    assert json.loads(good("explain", "tiny", "total", *set_9))["formulas"][0]["value"] == expected
    assert json.loads(good("compare", "tiny", "tiny", *set_9))[1]["params"]["total"] == expected
    assert json.loads(good("verify", "tiny", *set_9))[0]["parameters"] == expected
    params = {row["figure"]: row for row in json.loads(good("diff", "tiny", "tiny", *set_9))["params"]}
    assert params["total"]["left"] == build(load("tiny")).total()
    assert params["total"]["right"] == expected
