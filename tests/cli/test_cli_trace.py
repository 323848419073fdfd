"""`archcalc trace`: what is printed, in every form and both languages."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch

from archcalc.run.loading.source import open_source
from tests.run.decoding.chat_model import save_chat_model


def test_the_worked_example_comes_out_as_printed_where_it_can(good: Callable[..., str]) -> None:
    found = json.loads(good("trace", "happy", "--format", "json"))
    assert found["tokens"] == {"ids": ["<SOS>", "我", "很"]}
    held = {one["step"]: one for one in found["published"]}
    assert [name for name, one in held.items() if not one["is_so"]] == [
        "layers.0.attn_norm.normalised",
        "layers.0.ffn_norm.normalised",
        "probabilities",
    ]
    assert all("why" in one for one in held.values() if not one["is_so"])
    assert held["layers.0.attn_norm.normalised"]["found"] == pytest.approx([-0.340, 1.359, -1.019], abs=5e-4)
    assert held["probabilities"]["found"] == pytest.approx([0.032, 0.106, 0.064, 0.783, 0.014], abs=5e-4)
    assert held["choice"]["found"] == [3]


def test_every_number_is_the_models_own(good: Callable[..., str]) -> None:
    found = json.loads(good("trace", "happy", "--ids", "0,1", "--position", "0", "--format", "json"))
    model = open_source("happy").checkpoint.load()
    steps = {one["name"]: one for one in found["steps"]}
    torch.testing.assert_close(torch.tensor(steps["logits"]["value"]), model(torch.tensor([[0, 1]]))[0])
    assert steps["layers.0.attn.scores"]["value"][0][0][1] is None, "hidden: −∞, which JSON does not know"
    assert found["position"] == 0
    assert found["published"] == [], "printed of another text"


@pytest.mark.parametrize(("lang", "says"), [("en", "Where it cannot be so"), ("zh", "不可能如此之处")])
def test_both_languages_say_everything(lang: str, says: str, good: Callable[..., str]) -> None:
    printed = good("trace", "happy", "--lang", lang)
    assert says in printed
    page = good("trace", "happy", "--lang", lang, "-f", "html")
    assert f'<html lang="{lang}">' in page
    assert "0.659" in page
    assert "0.099" in page


def test_a_large_model_is_told_by_norms(good: Callable[..., str], tmp_path: Any) -> None:
    folder = str(save_chat_model(tmp_path / "talker"))
    found = json.loads(good("trace", folder, "--prompt", "once upon", "--summary", "-f", "json"))
    (step,) = [one for one in found["steps"] if one["name"] == "layers.1.resid_post"]
    assert "value" not in step
    whole = json.loads(good("trace", folder, "--prompt", "once upon", "--full", "-f", "json"))
    (full,) = [one for one in whole["steps"] if one["name"] == "layers.1.resid_post"]
    last = torch.tensor(full["value"][-1])
    assert step["norm"] == pytest.approx(float(last.norm()), rel=1e-5)
    assert step["largest"][0]["index"] == int(last.abs().argmax())


@pytest.mark.parametrize(
    ("told", "says"),
    [
        (["happy", "--position", "3"], "position: found 3; allowed: 0 to 2"),
        (["happy", "--ids", "0,9"], "prompt: found id 9; allowed: ids from 0 to 4, 1 to 4 of them"),
        (["happy", "--ids", "0,1,1,1,1"], "prompt: has 5 tokens"),
        (["gpt2", "--ids", "1"], "gpt2: has no weights"),
        (["happy", "--random-weights"], "--prompt, --ids: neither"),
        (["happy", "--quantize", "int8"], "found a model that is not packed"),
    ],
)
def test_what_cannot_be_is_one_line(told: list[str], says: str, cli: Callable[..., Any]) -> None:
    found = cli("trace", *told)
    assert (found.code, found.err.count("\n")) == (2, 1)
    assert says in found.err
