"""What transformers counts of models that are not read: totals of the oracle, labels, bounds, refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from click.testing import CliRunner

import archcalc
from archcalc.analysis.transformers_report import component, transformers_report
from archcalc.cli.main import cli
from archcalc.cli.main import run as run_cli
from archcalc.errors import InputError, MissingExtraError, RefusedError
from archcalc.hf import extract, meta_model, model_types, upstream
from tests.hf import oracle

# Model types that are not worth a family.
NOT_CARRIED = ("blt", "funnel", "perceiver", "prophetnet", "reformer")
LINES = [name for name, line in oracle.defaults().items() if line["model_type"] in NOT_CARRIED]
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 40}
VIT = {"model_type": "vit"} | SMALL
# Another model type: its vision and text towers, and both projections.
CLIP = {"model_type": "clip", "text_config": SMALL, "vision_config": SMALL, "projection_dim": 24}
WHISPER = {"model_type": "whisper", "d_model": 32, "encoder_attention_heads": 4, "decoder_attention_heads": 4}
LABEL = "counted by transformers, not derived; no formulas"


@pytest.fixture
def vit(tmp_path: Path) -> str:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(VIT))
    return str(path)


def run(*arguments: str) -> str:
    result = CliRunner().invoke(cli, ["report", *arguments, "--engine", "transformers"])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("name", LINES)
def test_totals_are_those_of_the_oracle(name: str) -> None:
    line = oracle.defaults()[name]
    stated = {"model_type": line["model_type"], "architectures": [line["class"]]}
    found = transformers_report(line["config"] | stated)
    assert (found.class_name, found.total("total")) == (line["class"], line["total_params"])
    assert sum(row.parameters for row in found.components) == line["total_params"]
    assert sum(row.parameters for row in found.parts) == line["total_params"]
    assert found.total("trainable") == line["total_params"] - (99_512_064 if line["model_type"] == "blt" else 0)


def test_every_type_that_is_not_carried_is_counted() -> None:
    assert {name.split()[0] for name in LINES} == set(NOT_CARRIED)
    assert not set(NOT_CARRIED) & set(model_types())


@pytest.mark.parametrize("config", [VIT, CLIP, WHISPER])
def test_a_count_is_that_of_a_real_model(config: dict[str, Any]) -> None:
    found = archcalc.report(config, engine="transformers", dtype="fp32")
    rest = {name: value for name, value in config.items() if name != "model_type"}
    model = getattr(transformers, found["provenance"]["class_name"])(
        transformers.AutoConfig.for_model(config["model_type"], **json.loads(json.dumps(rest)))
    )
    total = sum(parameter.numel() for parameter in model.parameters())
    assert found["params"]["total"] == sum(found["params"]["by_component"].values()) == total
    assert found["params"]["trainable"] == sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert found["memory"] == {"dtype": "fp32", "weights_bytes": 4 * total}


def test_without_a_class_the_first_that_suits_the_config_is_counted() -> None:
    assert transformers_report({"model_type": "reformer"}).class_name == "ReformerForMaskedLM"


def test_a_tied_head_is_counted_apart() -> None:
    config = archcalc.load({"model_type": "gpt2"})
    ours, theirs = archcalc.report(config)["params"], archcalc.report(config, engine="transformers")["params"]
    assert {name: theirs[name] for name in ("total", "untied")} == {name: ours[name] for name in ("total", "untied")}
    assert theirs["by_component"]["attention"] == ours["by_component"]["attention"]
    assert theirs["by_component"]["ffn"] == ours["by_component"]["ffn"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("model.layers.0.self_attn.q_proj.weight", "attention"),
        ("encoder.layer.0.attention.output.LayerNorm.weight", "norm"),
        ("encoder.layer.0.output.dense.weight", "ffn"),
        ("embeddings.position_embeddings.weight", "position"),
        ("backbone.layers.0.mixer.conv1d.weight", "mixer"),
        ("lm_head.weight", "head"),
        ("logit_scale", "other"),
    ],
)
def test_names_tell_the_component(name: str, expected: str) -> None:
    assert component(name) == expected


@pytest.mark.parametrize("form", ["table", "md", "html"])
def test_pages_say_who_counted(form: str, vit: str) -> None:
    text = run(vit, "--format", form)
    assert LABEL in text
    assert "ViTForMaskedImageModeling" in text or "ViTModel" in text or "ViTForImageClassification" in text


def test_data_say_who_counted(vit: str) -> None:
    data = json.loads(run(vit, "--format", "json"))
    assert set(data["kinds"].values()) == {"counted by transformers"}
    assert data["provenance"]["note"] == LABEL
    assert data["provenance"]["transformers"] == transformers.__version__
    assert "flops" not in data
    header, *rows = run(vit, "--format", "csv").splitlines()
    assert header == "component,parameters,share,kind"
    assert all(row.endswith(",counted by transformers") for row in rows if row[0].isalpha() and "kind" not in row)


def test_code_of_a_repository_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        pytest.fail("remote code")

    monkeypatch.setattr("transformers.dynamic_module_utils.get_class_from_dynamic_module", refuse)
    remote = {"auto_map": {"AutoConfig": "evil--evil.Evil", "AutoModel": "evil--evil.Evil"}}
    plain, stated = transformers_report(VIT), transformers_report(VIT | remote | {"architectures": ["Evil"]})
    assert plain == stated
    with pytest.raises(InputError, match="model_type: found 'evil'; expected a model type of transformers 5"):
        transformers_report({"model_type": "evil"} | remote)


@pytest.mark.parametrize(
    "config",
    [
        {"hidden_size": "wide"},
        {"hidden_size": -4},
        {"architectures": ["LlamaForCausalLM"]},
        {"num_hidden_layers": None},
        {"image_size": 10**30},
    ],
    ids=str,
)
def test_a_strange_config_is_one_line(config: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        transformers_report(VIT | config)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("config: transformers refuses it: ")


def test_counts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"^vision_config\.num_hidden_layers: found 1000000000; expected 100,000 at"):
        transformers_report(CLIP | {"vision_config": SMALL | {"num_hidden_layers": 10**9}})
    monkeypatch.setattr(meta_model, "MAX_PARAMETERS", 10)
    with pytest.raises(RefusedError, match="it has too many tensors"):
        transformers_report(VIT)


def test_a_large_buffer_in_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Real(transformers.ViTModel):
        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.register_buffer("table", torch.zeros(9, device="cpu"))

    monkeypatch.setattr(meta_model, "_classes", lambda config, settings: [Real])
    assert transformers_report(VIT).total("buffers") == 9
    monkeypatch.setattr(meta_model, "MAX_REAL_ELEMENTS", 8)
    with pytest.raises(RefusedError, match="config: table needs real memory"):
        transformers_report(VIT)


def test_without_transformers_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archcalc.extras.find_spec", lambda package: None)
    with pytest.raises(MissingExtraError, match=r"^counting with transformers needs the extra 'oracle': pip install"):
        archcalc.report(VIT, engine="transformers")


def test_the_refusal_of_a_type_offers_it(vit: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["report", vit]) == 2
    line = "'vit' is a model of transformers that is not read yet; `report` counts its parameters with --engine "
    assert line in capsys.readouterr().err
    with pytest.raises(InputError) as caught:
        archcalc.load({"model_type": "vitt"})
    assert "counts" not in str(caught.value)


def test_the_refusal_of_a_class_offers_it() -> None:
    config = {"model_type": "seamless_m4t", "architectures": ["SeamlessM4TForSpeechToText"]}
    with pytest.raises(InputError, match="'SeamlessM4TForSpeechToText' is a class of transformers that is not read;"):
        archcalc.load(config)


def test_a_workload_is_refused(vit: str) -> None:
    with pytest.raises(InputError, match=r"^seq: found with `engine` transformers, which counts no FLOPs"):
        archcalc.report(VIT, engine="transformers", seq=5)
    with pytest.raises(InputError, match=r"^engine: found 'torch'; expected archcalc, transformers$"):
        archcalc.report(VIT, engine="torch")
    assert run_cli(["report", vit, "--engine", "transformers", "--set", "n_layers=3"]) == 2


def test_the_list_of_types_is_that_of_transformers() -> None:
    with open(upstream.TYPES_FILE, encoding="utf-8") as file:
        assert file.read() == extract.all_model_types(), "run python -m archcalc.hf"
