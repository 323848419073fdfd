"""`archcalc trace`: what is printed, in every form and both languages."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
import torch

from archcalc.run.loading.source import open_source
from tests.run.decoding.chat_model import save_chat_model


def trace(good: Callable[..., str], *arguments: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(good("trace", *arguments, "--format", "json"))
    return result


def test_the_worked_example_is_as_published_where_it_can_be(good: Callable[..., str]) -> None:
    result = trace(good, "happy")
    assert [row["token"] for row in result["tokens"]] == ["<SOS>", "我", "很"]
    published = {row["path"]: row for row in result["published"]}
    assert [path for path, row in published.items() if row["verdict"] == "different"] == [
        "layers.0.attn_norm.normalized",
        "layers.0.ffn_norm.normalized",
        "probabilities",
    ]
    assert all(row["reason"] for row in published.values() if row["verdict"] == "different")
    assert published["layers.0.attn_norm.normalized"]["computed"] == pytest.approx([-0.340, 1.359, -1.019], abs=5e-4)
    assert published["probabilities"]["computed"] == pytest.approx([0.032, 0.106, 0.064, 0.783, 0.014], abs=5e-4)
    assert published["choice"]["computed"] == [3]


def test_every_number_is_the_models_own(good: Callable[..., str]) -> None:
    result = trace(good, "happy", "--ids", "0,1", "--position", "0")
    model = open_source("happy").checkpoint.load()
    logits = model(torch.tensor([[0, 1]]))[0]
    torch.testing.assert_close(torch.tensor(result["values"]["logits"]), logits)
    assert result["values"]["layers.0.attn.scores"][0][0][1] is None, "masked: −∞, which JSON does not know"
    assert result["position"] == 0
    assert result["published"] == [], "published for another text"
    best = [row["id"] for row in result["next_tokens"]]
    assert best == logits[0].argsort(descending=True).tolist()
    assert sum(row["probability"] for row in result["next_tokens"]) == pytest.approx(1)


def test_csv_has_every_step_under_its_full_name(good: Callable[..., str]) -> None:
    rows = list(csv.DictReader(io.StringIO(good("trace", "happy", "--format", "csv"))))
    steps = trace(good, "happy")["steps"]
    assert [row["path"] for row in rows] == [step["path"] for step in steps]
    (values,) = [row for row in rows if row["path"] == "layers.0.attn.values"]
    assert values["expression"] == "mix(layers.0.attn.pattern, layers.0.attn.v)"
    assert values["excerpt"] == "[[0.800, 1.200, 0.400]]"
    assert "mix(attn.pattern, attn.v)" in good("trace", "happy"), "in the table of the layer, without its prefix"


@pytest.mark.parametrize(("lang", "text"), [("en", "Why a published value differs"), ("zh", "公布值不同的原因")])
def test_both_languages_say_everything(lang: str, text: str, good: Callable[..., str]) -> None:
    assert text in good("trace", "happy", "--lang", lang)
    page = good("trace", "happy", "--lang", lang, "-f", "html")
    assert f'<html lang="{lang}">' in page
    assert "0.659" in page
    assert "0.099" in page


def test_a_large_trace_has_norms_and_largest_numbers(good: Callable[..., str], tmp_path: Any) -> None:
    arguments = (str(save_chat_model(tmp_path / "talker")), "--prompt", "once upon")
    summary, full = trace(good, *arguments, "--summary"), trace(good, *arguments, "--full")
    assert summary["values"] == {}
    assert full["largest"] == []
    path = "layers.1.resid_post"
    last = torch.tensor(full["values"][path][-1])
    for result in (summary, full):
        (step,) = [row for row in result["steps"] if row["path"] == path]
        assert step["norm"] == pytest.approx(float(last.norm()), rel=1e-5)
    largest = [row for row in summary["largest"] if row["path"] == path]
    assert [row["index"] for row in largest] == last.abs().argsort(descending=True)[:5].tolist()
    assert [row["value"] for row in largest] == pytest.approx([float(last[row["index"]]) for row in largest])


@pytest.mark.parametrize(
    ("told", "says"),
    [
        (["happy", "--position", "3"], "position: found 3; expected 0 to 2"),
        (["happy", "--ids", "0,9"], "prompt: found id 9; expected 1 to 4 ids from 0 to 4"),
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
