"""Keys that a class does not know are ignored and reported; those that it knows and we do not read are refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

import archcalc
from archcalc.cli.main import cli, run
from archcalc.errors import InputError
from archcalc.hf import extract, from_config, model_types, upstream
from archcalc.spec.document import decode
from archcalc.words import translator
from tests.hf.hf_configs import LLAMA, LLAMA3

BASE = {"model_type": "llama"} | LLAMA
GPT2 = {"model_type": "gpt2", "n_layer": 2}


def test_the_data_is_what_transformers_says() -> None:
    with open(upstream.FILE, encoding="utf-8") as file:
        assert file.read() == extract.to_json_lines(extract.class_data(model_types())), "run python -m archcalc.hf"


def test_every_model_type_that_is_read_is_known() -> None:
    assert set(model_types()) <= set(upstream.model_types())
    assert all(upstream.keys(name) and upstream.classes(name) for name in model_types())


def test_one_line_is_decoded() -> None:
    assert upstream.keys("llama")["head_dim"] == [None, 128]
    assert upstream.keys("gpt2")["scale_attn_by_inverse_layer_idx"] == [False]
    assert upstream.keys("lama") == upstream.classes("lama") == {}
    assert upstream.classes("llama")["LlamaModel"] == "Model"
    assert "llama" in upstream.types_of("LlamaModel")
    assert upstream.types_of("Nothing") == upstream.types_of('x"') == []


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "qwen2", "use_mrope": False},
        {"model_type": "gemma2", "sliding_window_size": 4096},
        {"model_type": "llama", "badwordsids": [[0]]},
        {"model_type": "gpt2", "n_special": 0},
        {"model_type": "gpt2", "predict_special_tokens": True},
        {"model_type": "llama", "attention_probs_dropout_prob": 0.1},
        {"model_type": "marian", "output_projection": 3},
        {"model_type": "llama", 3: 4},
    ],
    ids=lambda config: str(list(config)[1]),
)
def test_a_key_that_the_class_does_not_know_is_ignored_and_reported(config: dict) -> None:
    key = list(config)[1]
    spec = decode(from_config(config))
    assert spec.about.provenance.ignored == (str(key),)
    plain = decode(from_config({"model_type": config["model_type"]}))
    assert archcalc.report(spec)["params"] == archcalc.report(plain)["params"]
    assert archcalc.report(spec)["provenance"]["ignored"] == [str(key)]
    assert plain.about.provenance.ignored == ()


def test_a_nested_key_is_reported_by_its_path() -> None:
    spec = decode(from_config(BASE | {"rope_scaling": LLAMA3 | {"facto": 1}}))
    assert spec.about.provenance.ignored == ("rope_scaling.facto",)


def test_what_may_be_a_misspelling_says_which_default_stands() -> None:
    spec = decode(from_config({"model_type": "llama", "hiden_size": 512}))
    assert list(map(str, spec.about.provenance.notes)) == [
        "ignored: hiden_size",
        "assumed: the class LlamaForCausalLM; the default of hidden_size, which the file may mean by hiden_size",
    ]
    assert archcalc.report(spec)["provenance"]["assumed"][1].startswith("the default of hidden_size")


SLIP = BASE | {"num_key_value_head": 1, "use_mrope": False}
SAID = "num_key_value_head is not read (did you mean num_key_value_heads?)"


def test_a_misspelled_key_is_a_warning_of_every_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Once a run, of a base too; not for a key that is merely unknown."""
    (tmp_path / "config.json").write_text(json.dumps(SLIP))
    (tmp_path / "mine.yaml").write_text("base: ./config.json\nname: mine\n")
    config, mine = str(tmp_path / "config.json"), str(tmp_path / "mine.yaml")
    for args in (["report"], ["memory", "-f", "json"], ["diff", config], ["sweep", "--over", "n_layers=1,2"]):
        assert run([args[0], config, *args[1:]]) == 0
        assert capsys.readouterr().err == f"archcalc: warning: {config}: {SAID}\n"
    assert run(["flops", mine]) == 0
    assert capsys.readouterr().err.count(SAID) == 1
    assert run(["report", config, "--lang", "zh"]) == 0
    assert "did you mean" not in capsys.readouterr().err


def test_python_logs_a_misspelled_key(caplog: pytest.LogCaptureFixture) -> None:
    archcalc.load(SLIP)
    assert [record.getMessage() for record in caplog.records] == [SAID]
    archcalc.load(BASE | {"use_mrope": False})
    assert len(caplog.records) == 1


def test_notes_are_in_the_language_of_the_reader() -> None:
    spec = decode(from_config(SLIP))
    text = " ".join(map(translator("zh"), spec.about.provenance.notes))
    assert not {"ignored", "assumed", "the", "which", "class"}.intersection(re.findall(r"[a-z]+", text))
    assert {"use_mrope", "num_key_value_heads"} <= {*re.findall(r"\w+", text, re.ASCII)}


def test_the_report_says_it_once(tmp_path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(BASE | {"use_mrope": False, "n_special": 0}))
    text = CliRunner().invoke(cli, ["report", str(path)]).output
    assert text.count("ignored: use_mrope, n_special") == 1
    data = json.loads(CliRunner().invoke(cli, ["report", str(path), "-f", "json"]).output)
    assert data["provenance"]["ignored"] == ["use_mrope", "n_special"]


def test_a_base_passes_nothing_of_its_file_on(tmp_path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(BASE | {"use_mrope": False}))
    (tmp_path / "mine.yaml").write_text("base: ./config.json\nname: mine\n")
    assert archcalc.load(tmp_path / "mine.yaml").about.provenance.ignored == ()


def test_a_known_key_at_its_default_passes() -> None:
    assert decode(from_config(GPT2 | {"reorder_and_upcast_attn": False})).about.provenance.ignored == ()


def test_every_setting_that_is_not_supported_is_named_at_once() -> None:
    config = {"model_type": "persimmon", "head_dim": 99, "qk_layernorm": "x", "pruned_heads": {"0": [1]}}
    with pytest.raises(InputError) as caught:
        from_config(config)
    line = str(caught.value)
    assert line.startswith(
        "2 settings are not supported: pruned_heads: found a mapping; expected {} or null. head_dim: "
    )
    assert "head_dim: found 99; expected null" in line
