"""The page Run: models, the text of the command line, the distribution of a token."""

from __future__ import annotations

import os
import shutil
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from streamlit.testing.v1 import AppTest

import archcalc
from archcalc import presets
from archcalc.cli.main import cli
from archcalc.dashboard.models import MAX_DEPTH, MODELS_VARIABLE, runnable_models


def run_page(**query: str) -> AppTest:
    page = AppTest.from_function(_page, default_timeout=600)
    for name, value in query.items():
        page.query_params[name] = value
    return page.run()


def _page() -> None:
    from archcalc.dashboard import session
    from archcalc.dashboard.pages import run

    session.choose_language()
    run.page()


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder for --models with a checkpoint at its first and second level."""
    folder = tmp_path / "models"
    for name in ("mine", "below/other"):
        shutil.copytree(str(presets.weights_path("tiny")), folder / name)
    monkeypatch.setenv(MODELS_VARIABLE, str(folder))
    return folder


def test_models_are_presets_and_those_of_the_folder(models: Path) -> None:
    found = runnable_models()
    assert found["tiny"] == "tiny"
    assert {name for name in found if "/" in found[name]} == {"mine", os.path.join("below", "other")}
    assert found["mine"] == str(models / "mine")


def test_models_outside_the_folder_cannot_be_run(models: Path) -> None:
    outside = models.parent / "outside"
    shutil.copytree(models / "mine", outside)
    (models / "link").symlink_to(outside)
    (models / "mine.gguf").symlink_to(outside / "model.safetensors")
    deep = models.joinpath(*"abcd"[: MAX_DEPTH + 1])
    shutil.copytree(outside, deep)
    assert set(runnable_models()) - set(presets.names()) == {"mine", os.path.join("below", "other")}
    for name in ("../outside", str(outside), "mine/../../outside"):
        page = run_page(run_model=name)
        assert page.selectbox(key="run_model").value == "tiny"
        assert not page.exception


def generated_text(page: AppTest) -> str:
    """Return the text, which is below the lines to copy."""
    return str(page.code[2].value)


def test_the_text_equals_the_command_line(models: Path) -> None:
    page = run_page(run_seed="7", run_max_tokens="12", run_top_k="40", run_model="mine", run_prompt="And the king")
    page.button(key="run_generate").click().run()
    assert not page.exception
    source = str(models / "mine")
    options = ["--max-tokens", "12", "--seed", "7", "--temperature", "0.8", "--top-k", "40", "--quiet"]
    result = CliRunner().invoke(cli, ["generate", source, "--prompt", "And the king", *options])
    assert generated_text(page) == result.stdout.rstrip("\n")
    text = archcalc.generate(source, "And the king", max_tokens=12, seed=7, temperature=0.8, top_k=40).text
    assert generated_text(page) == "And the king" + text


def candidate_count(page: AppTest) -> str:
    return next(caption.value for caption in page.caption if "can be sampled" in caption.value)


def test_sampling_options_change_the_distribution_but_not_the_text() -> None:
    page = run_page(run_max_tokens="6")
    page.button(key="run_generate").click().run()
    before, text = candidate_count(page), generated_text(page)
    assert before.startswith("2,048 tokens")
    page.number_input(key="run_top_k").set_value(3).run()
    assert candidate_count(page).startswith("3 tokens")
    page.slider(key="run_place").set_value(4).run()
    page.slider(key="run_min_p").set_value(1.0).run()
    assert candidate_count(page).startswith("1 tokens")
    assert generated_text(page) == text


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"run_model": "happy", "run_prompt": "sad"}, "'sad' has no tokens in the vocabulary"),
        ({"run_temperature": "0.0", "run_top_k": "5"}, "has no effect at temperature 0"),
        ({"run_prompt": "a " * 1500}, "fewer than the context's 256"),
    ],
)
def test_an_error_is_one_line_in_place(query: dict[str, str], message: str) -> None:
    page = run_page(**query)
    buttons: Any = [button for button in page.button if button.key == "run_generate"]
    if buttons:
        buttons[0].click().run()
    assert not page.exception
    assert len(page.error) == 1
    assert message in page.error[0].value
    assert page.text_area(key="run_prompt_text").value == query.get("run_prompt", "In the beginning")


def test_tokens_equal_the_command_line() -> None:
    page = run_page(run_view="tokenize", run_text="In the beginning")
    assert not page.exception
    output = (
        CliRunner().invoke(cli, ["tokenize", str(presets.weights_path("tiny")), "--text", "In the beginning"]).stdout
    )
    (line,) = [line for line in output.splitlines() if "│" in line]
    assert line.strip() in unescape("".join(one.proto.body for one in page.get("html")))


def test_a_long_text_is_not_in_the_url_and_a_note_says_so() -> None:
    page = run_page(run_view="tokenize")
    page.text_area(key="run_text_text").set_value("word " * 1000).run()
    assert any("at most 4,096" in caption.value for caption in page.caption)
    assert "run_text" not in page.query_params
