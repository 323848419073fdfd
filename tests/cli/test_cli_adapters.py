"""`archcalc memory` with adapters: by options, from a file beside its base model, and as SOURCE."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from archcalc.cli.main import run

LORA = {"peft_type": "LORA", "r": 8, "target_modules": ["c_attn"], "base_model_name_or_path": "gpt2"}


def printed(capsys: pytest.CaptureFixture[str], *args: str) -> dict[str, Any]:
    assert run(["memory", *args, "--format", "json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def error(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    assert run(["memory", *args]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    return err


def written(folder: Path, **changes: Any) -> str:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(LORA | changes), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("args", "trainable"),
    [
        ("--lora 8", 1_179_648),
        ("--lora 8 --targets c_attn", 294_912),
        ("--lora 8 --targets .*c_attn", 294_912),
        ("--lora 8 --targets q,k,v", 442_368),
        ("--lora 8 --names archcalc", 1_327_104),
        ("--dora 8 --targets c_attn", 294_912 + 12 * 2304),
        ("--vera 256 --targets c_attn", 12 * (2304 + 256)),
        ("--ia3", 12 * (2304 + 3072)),
        ("--ia3 --targets c_attn", 12 * 2304),
        ("--prefix-tuning 20", 20 * 2 * 12 * 768),
        ("--prompt-tuning 20", 20 * 768),
    ],
)
def test_methods(args: str, trainable: int, capsys: pytest.CaptureFixture[str]) -> None:
    found = printed(capsys, "gpt2", *args.split())
    assert found["trainable"] == sum(row["parameters"] for row in found["adapters"]) == trainable
    assert found["total_bytes"] == sum(part["bytes"] for part in found["parts"])
    assert found["naming"] == ("archcalc" if "q,k,v" in args or "archcalc" in args else "library")


def test_fixed_projections_are_stored(capsys: pytest.CaptureFixture[str]) -> None:
    """As wide as the widest module, in fp32: 4 · 256 · (768 + 2,304) bytes."""
    found = printed(capsys, "gpt2", "--vera", "256", "--targets", "c_attn", "--dtype", "bf16")
    assert found["shared"] == 256 * (768 + 2304)
    assert found["frozen_bytes"] == 2 * 124_439_808 + 4 * found["shared"]


def test_a_file_beside_its_base_and_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, rank_pattern={"h.0.attn.c_attn": 4}, lora_alpha=32, target_modules=["c_attn", "Wqkv"])
    beside = printed(capsys, "gpt2", "--adapter", path)
    assert beside["trainable"] == 11 * 8 * 3072 + 4 * 3072
    assert (beside["not_found"], beside["without_effect"]) == (["Wqkv"], ["lora_alpha"])
    assert printed(capsys, path) == printed(capsys, str(tmp_path)) == beside
    other = printed(capsys, "gpt2", "--set", "n_layers=6", "--adapter", str(tmp_path))
    assert other["trainable"] == 5 * 8 * 3072 + 4 * 3072


def test_biases_are_trained_in_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = printed(capsys, "gpt2", "--adapter", written(tmp_path, bias="lora_only"))
    assert found["trained_biases"] == 12 * 2304
    assert found["parameters"] == 124_439_808 + 294_912
    assert found["trainable"] == 294_912 + 12 * 2304
    assert (found["adapters_bytes"], found["gradients_bytes"]) == (4 * 294_912, 4 * found["trainable"])


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        ("--lora 4 --ia3", "--lora and --ia3 exclude each other"),
        ("--train --dora 4", "--train and --dora exclude each other"),
        ("--ia3 --past 3", "--past has no effect with --ia3"),
        ("--prefix-tuning 4 --targets q", "--targets has no effect with --prefix-tuning"),
        ("--vera 0", "--vera: found 0; expected an integer from 1"),
        ("--prompt-tuning 0", "--prompt-tuning: found 0"),
        ("--dora 4 --names archcalc", "--names: our own names are for LoRA of one rank, and DoRA needs the library's"),
        (
            "--lora 4 --targets c_atn",
            "--targets: no module of GPT2LMHeadModel matches 'c_atn' (did you mean 'c_attn'?)",
        ),
        ("--lora 4 --targets attn", "--targets: transformer.h.0.attn is no module that LoRA adapts"),
        ("--adapter nowhere.json", "nowhere.json: cannot be read (No such file or directory)"),
    ],
)
def test_errors(args: str, problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert problem in error(capsys, "gpt2", *args.split())


def test_errors_of_files_name_their_keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, target_modules=["q_proj"])
    assert f"{path}: target_modules: no module of GPT2LMHeadModel matches 'q_proj'" in error(capsys, path)
    path = written(tmp_path, base_model_name_or_path="no-such-model")
    assert f"{path}: base_model_name_or_path: its base model cannot be read (no-such-model:" in error(capsys, path)
    path = written(tmp_path, base_model_name_or_path=None)
    assert f"{path}: base_model_name_or_path: names no base model. Give it as SOURCE" in error(capsys, path)
    path = written(tmp_path, layer_replication=[[0, 2]])
    assert f"{path}: layer_replication: found a list, which changes shapes" in error(capsys, "gpt2", "--adapter", path)


def test_the_page_says_what_was_counted(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["memory", "deepseek-v3", "--lora", "8"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "adapters as peft 0.21 attaches them to DeepseekV3ForCausalLM of transformers" in shown
    assert "without adapters: model.layers.*.mlp.gate_proj, " in shown
    assert "the saved activations of a step, also those of adapters, are left out" in shown
