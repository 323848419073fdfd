"""Configs of several parts: the text model is counted exactly, and the first line says what is left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import archcalc
from archcalc.analysis.transformers_report import transformers_report
from archcalc.checkpoint import open_checkpoint
from archcalc.cli.main import cli
from archcalc.errors import InputError
from archcalc.hf import composites, extract

# Configs of published and default models as the hub or transformers has them, with the parameters that transformers
# builds for the language model and its head; keys that change no count are left out.
CASES: dict[str, tuple[dict[str, Any], int]] = json.loads(Path(__file__).with_name("composites.json").read_text())
LLAVA = {
    "model_type": "llava",
    "architectures": ["LlavaForConditionalGeneration"],
    "text_config": {"model_type": "llama", "vocab_size": 96, "hidden_size": 32, "num_attention_heads": 4}
    | {"num_hidden_layers": 2, "intermediate_size": 40},
    "vision_config": {"model_type": "clip_vision_model", "hidden_size": 32, "num_hidden_layers": 2}
    | {"num_attention_heads": 4, "intermediate_size": 40, "image_size": 28, "patch_size": 14},
}


@pytest.mark.parametrize("name", CASES)
def test_the_text_model_is_that_of_transformers(name: str) -> None:
    config, total = CASES[name]
    assert archcalc.report(archcalc.load(config))["params"]["total"] == total


@pytest.mark.parametrize("outer", [None, True, False])
@pytest.mark.parametrize("inner", [None, True, False])
@pytest.mark.parametrize("model_type", ["llava", "mistral3", "internvl"])
def test_the_head_is_tied_as_transformers_does(model_type: str, outer: bool | None, inner: bool | None) -> None:
    tie = composites.TIE
    text = LLAVA["text_config"] | ({} if inner is None else {tie: inner})
    config = {"model_type": model_type, "text_config": text, "vision_config": {}} | (
        {} if outer is None else {tie: outer}
    )
    ours = archcalc.report(archcalc.load(config))["params"]["total"]
    whole = transformers_report(config)
    head = {row.module: row.parameters for row in whole.parts}.get("lm_head", 0)
    assert ours == head + {row.module: row.parameters for row in whole.parts}["model.language_model"]


def test_the_first_line_says_what_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAVA))
    text = CliRunner().invoke(cli, ["report", str(tmp_path)]).output
    assert text.startswith("llava: the text model alone, without vision_config\n")
    assert "the engine transformers of report counts all of llava" in " ".join(text.split())
    whole = json.loads(
        CliRunner().invoke(cli, ["report", str(tmp_path), "-f", "json", "--engine", "transformers"]).output
    )
    ours = json.loads(CliRunner().invoke(cli, ["report", str(tmp_path), "-f", "json"]).output)
    assert (
        whole["params"]["by_module"]["model.language_model"] + whole["params"]["by_module"]["lm_head"]
        == (ours["params"]["total"])
    )


def test_its_checkpoint_is_not_loaded(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAVA))
    with pytest.raises(InputError, match="model_type: a text model with other parts is counted, not loaded"):
        open_checkpoint(str(tmp_path))


def test_the_data_are_those_of_transformers() -> None:
    with open(composites.FILE, encoding="utf-8") as file:
        assert file.read() == extract.composites(), "run python -m archcalc.hf"
