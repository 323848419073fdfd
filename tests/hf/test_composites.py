"""Configs of several parts: the text model is counted exactly, and the first line says what is left out."""

from __future__ import annotations

import json
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from click.testing import CliRunner

import archcalc
from archcalc.analysis.transformers_report import transformers_report
from archcalc.checkpoint import open_checkpoint
from archcalc.cli.main import cli
from archcalc.errors import InputError
from archcalc.hf import composites, extract, tensor_map
from archcalc.hf.classes import resolve
from archcalc.hf.reference import quiet
from archcalc.ledger.build import build

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
@pytest.mark.parametrize("model_type", ["llava", "aya_vision", "internvl"])
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


@pytest.mark.parametrize(("flags", "is_tied"), [({}, False), ({"inner": True}, True), ({"outer": True}, True)])
def test_files_of_mistral3_without_a_flag_hold_a_head(flags: dict[str, bool], is_tied: bool) -> None:
    """Its class ties the head by default, and Mistral Small 3.1, whose file says nothing, is 24.0B with its own."""
    text = LLAVA["text_config"] | ({composites.TIE: flags["inner"]} if "inner" in flags else {})
    outer = {composites.TIE: flags["outer"]} if "outer" in flags else {}
    spec = archcalc.load({"model_type": "mistral3", "text_config": text, "vision_config": {}} | outer)
    assert spec.head is not None
    assert spec.head.tied is is_tied


@pytest.mark.parametrize("name", sorted(composites.TWINS))
def test_a_twin_has_the_tensors_of_the_text_class(name: str) -> None:
    """Sizes that are nobody's default, and the class's own defaults for the rest."""
    if name not in transformers.CONFIG_MAPPING:
        pytest.skip("only custom code has it")
    sizes = {"num_hidden_layers": 2, "hidden_size": 96, "num_attention_heads": 4, "num_key_value_heads": 2}
    sizes |= {"vocab_size": 99, "intermediate_size": 40, "moe_intermediate_size": 24, "num_experts": 6}
    sizes |= {"num_experts_per_tok": 2} | ({"head_dim": 24} if name == "hunyuan_vl_text" else {})
    with quiet(), torch.device("meta"):
        text = text_class(name)(transformers.CONFIG_MAPPING[name](pad_token_id=0, **sizes))
    whole = next(whole for whole, each in composites.all_of_them().items() if each.text == name)
    config = {"model_type": whole, "text_config": {"model_type": name} | sizes, composites.TIE: True}
    ours = {row.name: row.shape for row in build(archcalc.load(config)).tensors() if row.kind != "buffer"}
    shapes = tensor_map(resolve(config)[0]).shapes(ours)
    assert Counter(shapes.values()) == Counter(tuple(parameter.shape) for parameter in text.parameters())


def test_paddleocr_rotates_halves() -> None:
    """Its keys are ERNIE's, which interleaves; transformers' class rotates as LLaMA's does."""
    text = {"model_type": "paddleocr_vl_text", "use_bias": True}
    spec = archcalc.load({"model_type": "paddleocr_vl", "text_config": text})
    layer = spec.decoder.runs[0].pattern[0]
    assert (layer.attention.position.interleaved, layer.attention.q_bias, layer.ffn.bias) == (False, True, True)
    assert (spec.d_model, layer.attention.d_head, layer.attention.position.theta) == (1024, 128, 500_000)


def text_class(model_type: str) -> Any:
    """Return transformers' class of a text model without a head."""
    config = transformers.CONFIG_MAPPING[model_type]
    module = import_module(config.__module__.replace("configuration_", "modeling_"))
    classes = [each for name, each in vars(module).items() if name.endswith("TextModel") and isinstance(each, type)]
    return next(each for each in classes if each.config_class is config)


def test_the_first_line_says_what_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAVA))
    text = CliRunner().invoke(cli, ["report", str(tmp_path)]).output
    assert text.startswith("llava: the text model alone, without vision_config\n")
    assert "the engine transformers of report counts all of llava" in " ".join(text.split())
    whole = json.loads(
        CliRunner().invoke(cli, ["report", str(tmp_path), "-f", "json", "--engine", "transformers"]).output
    )
    ours = json.loads(CliRunner().invoke(cli, ["report", str(tmp_path), "-f", "json"]).output)
    assert ours["whole"] == whole
    assert "The whole model, counted by transformers" in text
    alone = CliRunner().invoke(cli, ["report", str(tmp_path), "-f", "json", "--no-whole"]).output
    assert json.loads(alone) == {key: value for key, value in ours.items() if key != "whole"}
    assert (
        whole["params"]["by_module"]["model.language_model"] + whole["params"]["by_module"]["lm_head"]
        == (ours["params"]["total"])
    )


def test_a_whole_that_transformers_refuses_is_noted(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAVA | {"vision_config": {"model_type": "no such tower"}}))
    result = CliRunner().invoke(cli, ["report", str(tmp_path)])
    assert result.exit_code == 0
    assert result.stderr.startswith("archcalc: transformers does not count the whole model: ")
    assert "The whole model" not in result.stdout


def test_sizes_of_the_text_at_the_top_are_refused_where_the_class_reads_none() -> None:
    flat = {"model_type": "llava", "num_hidden_layers": 2}
    with pytest.raises(InputError, match=r"num_hidden_layers: found 2; expected text_config.num_hidden_layers"):
        transformers_report(flat)


def test_its_checkpoint_is_not_loaded(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAVA))
    with pytest.raises(InputError, match="model_type: a text model with other parts is counted, not loaded"):
        open_checkpoint(str(tmp_path))


def test_the_data_are_those_of_transformers() -> None:
    with open(composites.FILE, encoding="utf-8") as file:
        assert file.read() == extract.composites(), "run python -m archcalc.hf"
    with open(composites.TWINS_FILE, encoding="utf-8") as file:
        assert file.read() == extract.twins(), "run python -m archcalc.hf"
