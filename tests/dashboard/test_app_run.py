"""The page that runs a model: which models, the same text as the command line, a distribution that follows its cuts."""

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
from archcalc.dashboard.models import MOST_LEVELS, runnable
from archcalc.dashboard.serve import MODELS_VARIABLE

PAGE = Path(__file__).with_name("app.py")


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
    """A folder as --models names one, with a checkpoint at its first and second level."""
    folder = tmp_path / "models"
    for name in ("mine", "below/other"):
        shutil.copytree(str(presets.weights_path("tiny")), folder / name)
    monkeypatch.setenv(MODELS_VARIABLE, str(folder))
    return folder


def test_models_are_what_ships_and_what_lies_in_the_folder(models: Path) -> None:
    found = runnable()
    assert found["tiny"] == "tiny"
    assert {name for name in found if "/" in found[name]} == {"mine", os.path.join("below", "other")}
    assert found["mine"] == str(models / "mine")


def test_nothing_beside_the_folder_can_be_run(models: Path) -> None:
    outside = models.parent / "outside"
    shutil.copytree(models / "mine", outside)
    (models / "link").symlink_to(outside)
    (models / "mine.gguf").symlink_to(outside / "model.safetensors")
    deep = models.joinpath(*"abcd"[: MOST_LEVELS + 1])
    shutil.copytree(outside, deep)
    assert set(runnable()) - set(presets.names()) == {"mine", os.path.join("below", "other")}
    for name in ("../outside", str(outside), "mine/../../outside"):
        page = run_page(run_model=name)
        assert page.selectbox(key="run_model").value == "tiny"
        assert not page.exception


def written(page: AppTest) -> str:
    """The text, which stands below the lines to copy."""
    return str(page.code[2].value)


def test_the_text_is_the_command_lines(models: Path) -> None:
    page = run_page(run_seed="7", run_max_tokens="12", run_top_k="40", run_model="mine", run_prompt="And the king")
    page.button(key="run_generate").click().run()
    assert not page.exception
    source = str(models / "mine")
    options = ["--max-tokens", "12", "--seed", "7", "--temperature", "0.8", "--top-k", "40", "--quiet"]
    told = CliRunner().invoke(cli, ["generate", source, "--prompt", "And the king", *options])
    assert written(page) == told.stdout.rstrip("\n")
    text = archcalc.generate(source, "And the king", max_tokens=12, seed=7, temperature=0.8, top_k=40).text
    assert written(page) == "And the king" + text


def kept(page: AppTest) -> str:
    return next(caption.value for caption in page.caption if "can be sampled" in caption.value)


def test_cuts_redraw_the_distribution_and_leave_the_text() -> None:
    page = run_page(run_max_tokens="6")
    page.button(key="run_generate").click().run()
    before, text = kept(page), written(page)
    assert before.startswith("2,048 tokens")
    page.number_input(key="run_top_k").set_value(3).run()
    assert kept(page).startswith("3 tokens")
    page.slider(key="run_place").set_value(4).run()
    page.slider(key="run_min_p").set_value(1.0).run()
    assert kept(page).startswith("1 tokens")
    assert written(page) == text


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ({"run_model": "happy", "run_prompt": "sad"}, "'sad' has no tokens in the vocabulary"),
        ({"run_temperature": "0.0", "run_top_k": "5"}, "has no effect at temperature 0"),
        ({"run_prompt": "a " * 1500}, "fewer than the context's 256"),
    ],
)
def test_mistakes_are_one_line_in_place(query: dict[str, str], told: str) -> None:
    page = run_page(**query)
    buttons: Any = [button for button in page.button if button.key == "run_generate"]
    if buttons:
        buttons[0].click().run()
    assert not page.exception
    assert len(page.error) == 1
    assert told in page.error[0].value
    assert page.text_area(key="run_prompt_text").value == query.get("run_prompt", "In the beginning")


def test_a_tokenizers_tokens_are_those_of_the_model() -> None:
    page = run_page(run_view="tokenize", run_text="In the beginning")
    assert not page.exception
    told = CliRunner().invoke(cli, ["tokenize", str(presets.weights_path("tiny")), "--text", "In the beginning"]).stdout
    (line,) = [line for line in told.splitlines() if "│" in line]
    assert line.strip() in unescape("".join(one.proto.body for one in page.get("html")))


def test_text_too_long_for_the_link_stays_out_of_it_and_the_page_says_so() -> None:
    page = run_page(run_view="tokenize")
    page.text_area(key="run_text_text").set_value("word " * 1000).run()
    assert any("more than the 4,096" in caption.value for caption in page.caption)
    assert "run_text" not in page.query_params
